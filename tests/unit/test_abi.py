# SPDX-License-Identifier: GPL-2.0-only
"""The ABI as Python mirrors it is the ABI as the C compiler sees it."""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from page_alloc_bench.resources import kmod_dir
from page_alloc_bench.runner.module import abi
from page_alloc_bench.runner.result import histogram

STRUCTS = {
    "pab_info": abi.Info,
    "pab_parameter_info": abi.ParameterInfo,
    "pab_operation_info": abi.OperationInfo,
    "pab_pattern_info": abi.PatternInfo,
    "pab_config": abi.Config,
    "pab_progress": abi.Progress,
    "pab_cpu_stats": abi.CpuStats,
    "pab_latency": abi.LatencyRequest,
}
CONSTANTS = {
    "PAB_ABI_VERSION": abi.ABI_VERSION,
    "PAB_HIST_SUB_BITS": histogram.HIST_SUB_BITS,
    "PAB_HIST_MAX_BITS": histogram.HIST_MAX_BITS,
    "PAB_HIST_BUCKETS": histogram.HIST_BUCKETS,
    "PAB_MAX_BLOCKS": abi.MAX_BLOCKS,
    "PAB_MAX_PARAMETERS": abi.MAX_PARAMETERS,
    "PAB_MAX_OPERATIONS": abi.MAX_OPERATIONS,
    "PAB_NAME_SIZE": abi.NAME_SIZE,
    "PAB_GFP_KERNEL": abi.Gfp.KERNEL,
    "PAB_GFP_USER": abi.Gfp.USER,
    "PAB_GFP_NOWAIT": abi.Gfp.NOWAIT,
    "PAB_GFP_ATOMIC": abi.Gfp.ATOMIC,
    "PAB_GFP_COMP": abi.GfpModifier.COMP,
    "PAB_GFP_ACCOUNT": abi.GfpModifier.ACCOUNT,
    "PAB_GFP_ZERO": abi.GfpModifier.ZERO,
    "PAB_GFP_THISNODE": abi.GfpModifier.THISNODE,
    "PAB_GFP_MODIFIERS": sum(abi.GfpModifier),
    "PAB_GFP_COUNT": len(abi.Gfp),
    "PAB_MAX_TIME_ONE_IN": abi.MAX_TIME_ONE_IN,
    "PAB_MAX_SAMPLE": abi.MAX_SAMPLE,
    "PAB_MAX_CPUS_SIZE": abi.MAX_CPUS_SIZE,
    "PAB_STATE_NEW": abi.State.NEW,
    "PAB_STATE_CONFIGURED": abi.State.CONFIGURED,
    "PAB_STATE_RUNNING": abi.State.RUNNING,
    "PAB_STATE_STOPPED": abi.State.STOPPED,
    "PAB_IOC_INFO": abi.IOC_INFO,
    "PAB_IOC_CONFIGURE": abi.IOC_CONFIGURE,
    "PAB_IOC_START": abi.IOC_START,
    "PAB_IOC_STOP": abi.IOC_STOP,
    "PAB_IOC_PROGRESS": abi.IOC_PROGRESS,
    "PAB_IOC_CPU_STATS": abi.IOC_CPU_STATS,
    "PAB_IOC_LATENCY": abi.IOC_LATENCY,
    "PAB_IOC_WATCH_OOM": abi.IOC_WATCH_OOM,
    "PAB_IOC_PATTERN": abi.IOC_PATTERN,
    "PAB_NO_OOM": abi.NO_OOM,
}


def c_program() -> str:
    """A program that prints every constant, size and offset of the header as JSON."""
    lines = [f'P("{name}", (unsigned long long){name});' for name in CONSTANTS]
    for name, mirror in STRUCTS.items():
        lines.append(f'P("{name}", sizeof(struct {name}));')
        for field in mirror._fields_:
            path = f"{name}.{field[0]}"
            lines.append(f'P("{path}", offsetof(struct {name}, {field[0]}));')
            lines.append(f'P("{path}:size", sizeof(((struct {name} *)0)->{field[0]}));')
    body = "\n".join(lines)
    return f"""
        #include <stddef.h>
        #include <stdio.h>
        #include "page_alloc_bench.h"
        #define P(name, value) printf("%s\\"%s\\": %llu", comma, name, \\
                                      (unsigned long long)(value)), comma = ", "
        int main(void) {{ const char *comma = "{{"; {body} puts("}}"); return 0; }}
    """


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    directory = tmp_path_factory.mktemp("abi")
    (directory / "abi.c").write_text(c_program())
    binary = directory / "abi"
    subprocess.run(
        ["gcc", "-Wall", "-Werror", "-I", kmod_dir(), directory / "abi.c", "-o", binary],
        check=True,
    )
    printed: dict[str, int] = json.loads(subprocess.check_output([binary]))
    return printed


def test_constants_and_request_numbers_agree(compiled: dict[str, int]) -> None:
    assert {name: compiled[name] for name in CONSTANTS} == CONSTANTS


@pytest.mark.parametrize("name", STRUCTS)
def test_layout_agrees(compiled: dict[str, int], name: str) -> None:
    mirror: Any = STRUCTS[name]
    assert compiled[name] == ctypes.sizeof(mirror)
    for field, _ in mirror._fields_:
        descriptor = getattr(mirror, field)
        assert compiled[f"{name}.{field}"] == descriptor.offset, field
        assert compiled[f"{name}.{field}:size"] == descriptor.size, field


def test_nothing_in_the_header_is_left_out() -> None:
    header = (kmod_dir() / "page_alloc_bench.h").read_text()
    defines = set(re.findall(r"^#define\s+(PAB_\w+)", header, re.MULTILINE))
    enumerators = set(re.findall(r"^\t(PAB_\w+)", header, re.MULTILINE))
    not_numbers = {"PAB_DEVICE_NAME", "PAB_IOC_MAGIC"}
    assert (defines | enumerators) - not_numbers == set(CONSTANTS)
    assert set(re.findall(r"^struct (\w+) \{", header, re.MULTILINE)) == set(STRUCTS)
    for name, body in re.findall(r"^struct (\w+) \{(.*?)^\};", header, re.MULTILINE | re.DOTALL):
        fields = re.findall(r"^\t(?:__u\d+|struct \w+) +(\w+)(?:\[\w+\])?;", body, re.MULTILINE)
        assert fields == [field for field, _ in STRUCTS[name]._fields_]


def test_device_path_names_the_device() -> None:
    header = (kmod_dir() / "page_alloc_bench.h").read_text()
    assert f'PAB_DEVICE_NAME\t\t"{Path(abi.DEVICE_PATH).name}"' in header


def test_buckets_are_log_linear_and_without_gaps() -> None:
    edges = [histogram.bucket_floor(index) for index in range(histogram.HIST_BUCKETS + 1)]
    assert edges[: 2 << histogram.HIST_SUB_BITS] == list(range(2 << histogram.HIST_SUB_BITS))
    assert edges[-1] == 1 << histogram.HIST_MAX_BITS
    widths = [high - low for low, high in zip(edges, edges[1:])]
    assert all(width * 16 <= max(low, 16) for low, width in zip(edges, widths))
    assert widths == sorted(widths)
