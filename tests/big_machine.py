# SPDX-License-Identifier: GPL-2.0-only
"""A machine of 1024 CPUs and 64 nodes, and the runner on it: a simulation.

Nobody here has such a machine. What the runner reads of /proc and /sys is a tree of files in the
form that the kernel has them; what the module would have counted comes from FakeDevice. All the
rest is the runner's own code. As a program (TREE RESULT [CPUS TIMED]), it is a run: it writes
RESULT, and says on stdout in JSON how long that took and how much memory.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fake_device import FakeDevice
from page_alloc_bench.runner import options, workload
from page_alloc_bench.runner.command_line import parameters
from page_alloc_bench.runner.kernel import host_facts, memory, memory_breakdown, procfs
from page_alloc_bench.runner.measuring.bench import Bench
from page_alloc_bench.runner.measuring.findlimit import measure
from page_alloc_bench.runner.result import summary
from page_alloc_bench.runner.result.document import Document

CPUS, NODES = 1024, 64
MOST_BYTES = 20_000_000  # of JSON, with default options
MEMORY_KB = 12 << 30  # 12 TiB
_ORDERS = 11
_ZONES = [(0, "DMA"), (0, "DMA32"), *((node, "Normal") for node in range(NODES))]
_FLAGS = " ".join(f"feature_{number}" for number in range(120))


def node_of(cpu: int) -> int:
    """Return the node of a CPU: threads of one core are half of all CPUs apart."""
    return cpu % (CPUS // 2) // (CPUS // 2 // NODES)


def make_tree(root: Path) -> Path:
    """Write the files that the runner reads, and return root."""
    for name, text in _files().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def ran(tree: Path) -> tuple[Path, dict[str, Any]]:
    """Run this as a program on a tree; return the result's file, and what it says on stdout."""
    output = tree / "result.json"
    done = subprocess.run(
        [sys.executable, __file__, tree, output],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return output, json.loads(done.stdout)


def _files() -> dict[str, str]:
    cpu, node = "sys/devices/system/cpu", "sys/devices/system/node"
    everything = f"0-{CPUS - 1}\n"
    files = {
        f"{cpu}/online": everything,
        f"{cpu}/present": everything,
        f"{cpu}/isolated": "\n",
        f"{node}/online": f"0-{NODES - 1}\n",
        f"{node}/has_memory": f"0-{NODES - 1}\n",
        "proc/meminfo": _meminfo(),
        "proc/vmstat": "".join(f"counter_{n} {n * 10**9}\n" for n in range(180)) + "oom_kill 7\n",
        "proc/buddyinfo": "".join(_buddyinfo()),
        "proc/zoneinfo": "".join(_zoneinfo()),
        "proc/cpuinfo": "".join(_cpuinfo(n) for n in range(CPUS)),
        "proc/cmdline": "quiet\n",
        "proc/loadavg": "0.10 0.20 0.30 1/12345 6789\n",
        "proc/uptime": "1000.00 900000.00\n",
        "proc/swaps": "Filename Type Size Used Priority\n",
        "proc/sys/kernel/tainted": "0\n",
        "proc/self/status": f"Mems_allowed_list:\t0-{NODES - 1}\n",
        "dev/kmsg": "",
    }
    for number in range(NODES):
        own = [n for n in range(CPUS) if node_of(n) == number]
        files[f"{node}/node{number}/cpulist"] = procfs.format_list(own) + "\n"
        files[f"{node}/node{number}/distance"] = " ".join(
            "10" if n == number else "21" for n in range(NODES)
        )
        files[f"{node}/node{number}/meminfo"] = "".join(
            f"Node {number} {name}: {kb} kB\n"
            for name, kb in (("MemTotal", MEMORY_KB // NODES), ("MemFree", MEMORY_KB // NODES // 2))
        )
    for number in range(CPUS):
        files[f"{cpu}/cpu{number}/cpufreq/scaling_governor"] = "performance\n"
    return files


def _meminfo() -> str:
    lists = ("Active(anon)", "Inactive(anon)", "Active(file)", "Inactive(file)")
    sizes = {
        "MemTotal": MEMORY_KB,
        "MemFree": MEMORY_KB - (64 << 20),
        "MemAvailable": MEMORY_KB - (70 << 20),
        **dict.fromkeys(lists, 1 << 20),
        "Unevictable": 0,
        "Slab": 1 << 23,
        "KernelStack": 1 << 18,
        "PageTables": 1 << 18,
        "SwapTotal": 0,
        "CommitLimit": MEMORY_KB,
        "Committed_AS": 0,
    }
    return "".join(f"{name}: {kb} kB\n" for name, kb in sizes.items())


def _buddyinfo() -> Iterator[str]:
    for node, zone in _ZONES:
        counts = "".join(f"{10**6 >> order:>7}" for order in range(_ORDERS))
        yield f"Node {node}, zone {zone:>8} {counts}\n"


def _zoneinfo() -> Iterator[str]:
    """Yield /proc/zoneinfo as mm/vmstat.c, zoneinfo_show_print() writes it."""
    for node, zone in _ZONES:
        yield f"Node {node}, zone {zone:>8}\n  pages free     1000000\n        boost    0\n"
        yield "        min      5000\n        low      6000\n        high     7000\n  pagesets\n"
        for cpu in range(CPUS):
            yield f"    cpu: {cpu}\n              count: {cpu % 100}\n"
            yield "              high:  1680\n              batch: 63\n"
            yield "  vm stats threshold: 125\n"
        yield "  node_unreclaimable:  0\n  start_pfn:           1048576\n"


def _cpuinfo(cpu: int) -> str:
    return (
        f"processor\t: {cpu}\nvendor_id\t: GenuineIntel\nmodel name\t: A processor of servers\n"
        f"flags\t\t: {_FLAGS}\nbogomips\t: 5000.00\n\n"
    )


@contextmanager
def readings_from(tree: Path) -> Iterator[None]:
    """Have the runner read /proc and /sys in tree."""
    real = procfs.read
    procfs.read = lambda path: real(f"{tree}{path}")
    try:
        yield
    finally:
        procfs.read = real


class _Quiet:
    """A reporter that nobody listens to."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments, **_named: None


class _Signals:
    @contextmanager
    def deferred(self) -> Iterator[None]:
        yield


def _measure(tree: Path) -> measure.Limit:
    """Return what a child would have got; all that is read of the machine is read."""
    before = memory_breakdown.now(str(tree))
    memory.free_bytes(enough=1 << 60, root=str(tree))
    got = before.free - (1 << 30)
    return measure.Limit(
        available_bytes=got, rss_bytes=got, oom_rss_bytes=got, duration_s=60.0, release_s=1.0,
        constraint="CONSTRAINT_NONE", oom_free_bytes=1 << 30, oom_free_pcp_bytes=1 << 28,
        mem_available_bytes=got, before=before, child_page_tables_bytes=got >> 9, warnings=(),
        at_kill=dataclasses.replace(before, free=1 << 30, user=before.user + got),
    )  # fmt: skip


def run(
    tree: Path,
    output: Path,
    cpu_count: int = CPUS,
    timed: int = 200_000,
    *,
    device_of: Callable[..., FakeDevice] = FakeDevice,
    on_case_end: Callable[[Document], object] = lambda _document: None,
) -> Document:
    """Measure as a run with default options does, and write the result.

    timed: operations of each kind that each CPU times.
    """
    cpus = list(range(cpu_count))
    asked = options.parse([])
    document = Document(
        {
            "tool_version": "0",
            "started_at": "2026-01-01T00:00:00Z",
            "bundle": {},
            "python": host_facts.python(),
            "kernel": host_facts.kernel(),
            "machine": host_facts.machine(cpus),
            "cpus": cpus,
            "seed": asked.seed,
            "parameters": parameters.of_run(asked),
        }
    )  # fmt: skip
    measure.measure = lambda *_arguments, **_named: _measure(tree)
    anything: Any = _Quiet()
    signals: Any = _Signals()
    device: Any = device_of({cpu: node_of(cpu) for cpu in cpus}, timed=timed)
    bench = Bench(
        options=asked, cpus=cpus, device=device, document=document, reporter=anything,
        signals=signals, on_case_end=lambda: on_case_end(document),
    )  # fmt: skip
    for each in workload.chosen(asked):
        each.run(bench)
    document.end(complete=True, reason=None, exit_code=0)
    with output.open("w", encoding="utf-8") as file:
        file.writelines(document.chunks())
    return document


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(tree: Path, output: Path, *size: int) -> None:
    """Be the program."""
    # What a child inherits of its parent's maximum is not its own.
    if os.environ.get("BIG_MACHINE") is None:
        pid = os.fork()
        if pid:
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "BIG_MACHINE": "1"})
    begun, before = time.monotonic(), _peak_kib()
    with readings_from(tree):
        document = run(tree, output, *size)
    after, told = _peak_kib(), summary.render(document)
    json.dump(
        {
            "seconds": time.monotonic() - begun,
            "before_kib": before,
            "peak_kib": after,
            "with_summary_kib": _peak_kib(),
            "summary": told,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
