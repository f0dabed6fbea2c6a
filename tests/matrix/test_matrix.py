# SPDX-License-Identifier: GPL-2.0-only
"""The whole job, in brief, on every kernel of the list, each on the host that its row names.

Hosts with a Debian run the bundle with their own Python; those with a busybox with the one that
the bundle embeds.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import by_schema
import lab
from matrix.table import Row, short
from page_alloc_bench.packager.build import EMBEDDED, HOST, BuildRequest, build
from page_alloc_bench.targets import foreign_python, kernels
from page_alloc_bench.targets.appliance import Appliance
from page_alloc_bench.targets.building import tree_request
from page_alloc_bench.targets.guest import Guest
from page_alloc_bench.targets.kernels import FetchedKernel

CPUS = 4
MEMORY = "1G"
BLOCK_BYTES = 300 * 4096  # what a CPU holds of order 0, at most twice that


@pytest.mark.parametrize("kernel", kernels.KERNELS, ids=lambda kernel: kernel.name)
def test_kernel(
    kernel: kernels.Kernel, row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = kernels.fetch(kernel)
    row.release = fetched.release
    bundle = tmp_path / "bench.run"
    request = BuildRequest(
        **vars(tree_request(fetched)),
        output=bundle,
        python=HOST if kernel.root else EMBEDDED,
        fetch_python=foreign_python.fetch,
    )
    built = build(request)
    assert built.warnings == ()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    elsewhere = build(replace(request, output=tmp_path / "again.run", python=HOST))
    monkeypatch.undo()
    assert elsewhere.modules[0].data == built.modules[0].data
    row.compiler = short(built.modules[0].info.compiler)
    nodes = 2 if kernel.numa else 1
    run = on_debian if kernel.root else on_busybox
    document, dmesg, modules = run(fetched, bundle, nodes)
    row.python = document["run"]["machine"]["python"]
    row.nodes = str(len(document["run"]["machine"]["nodes"])) if kernel.numa else "no NUMA"
    check(document, fetched, nodes)
    assert not lab.TROUBLE.search(dmesg), dmesg
    assert "page_alloc_bench" not in modules


def options(kernel: kernels.Kernel) -> str:
    """Return the options of a run that holds as much memory whatever the size of a page."""
    held = BLOCK_BYTES // kernel.page_bytes
    return f"--iterations 1 --held {held} --spread {held}"


def on_debian(fetched: FetchedKernel, bundle: Path, nodes: int) -> tuple[dict[str, Any], str, str]:
    """Run BUNDLE over ssh; return the result, the kernel's log, and the modules left."""
    root = fetched.kernel.root
    assert root
    with Guest(fetched, CPUS, nodes, MEMORY, root=root) as guest:
        guest.copy_to(bundle, "/home/bench/bench.run", user="bench")
        done = guest.run(f"sudo ./bench.run {options(fetched.kernel)}", user="bench", check=False)
        assert done.returncode == 0, done.stderr
        python = guest.run("python3 -c 'import platform; print(platform.python_version())'").stdout
        document = json.loads(done.stdout)
        assert document["run"]["machine"]["python"] == python.strip()
        return document, guest.dmesg(), guest.run("cat /proc/modules").stdout


def on_busybox(fetched: FetchedKernel, bundle: Path, nodes: int) -> tuple[dict[str, Any], str, str]:
    """Run BUNDLE where there is no libc and no Python; return what on_debian does."""
    script = f"""
    ./bench.run {options(fetched.kernel)} --output-path /root/result.json
    status=$?
    cat /proc/modules >/root/modules
    exit $status
    """
    done = Appliance(fetched, CPUS, nodes, MEMORY).run(
        script, {"/root/bench.run": bundle}, ["/root/result.json", "/root/modules"], timeout=600
    )
    assert done.status == 0, done.stderr
    document = json.loads(done.files["/root/result.json"])
    return document, done.dmesg, done.files["/root/modules"].decode()


def check(document: dict[str, Any], fetched: FetchedKernel, nodes: int) -> None:
    """Assert that DOCUMENT is the whole and valid result of a run on that kernel."""
    by_schema.hold(document)
    run = document["run"]
    assert run["complete"] is True
    assert lab.warnings_but_preflights(document) == []
    assert run["kernel"]["release"] == fetched.release
    assert run["kernel"]["page_size_bytes"] == fetched.kernel.page_bytes
    assert run["kernel"]["module_build"]["same"] is True
    assert run["kernel"]["machine"] == {"amd64": "x86_64", "arm64": "aarch64"}[fetched.kernel.arch]
    assert len(run["machine"]["nodes"]) == nodes
    for order in (0, 4):
        assert document[f"idle_available_bytes_order{order}"][0] > 600 << 20
        assert document[f"antagonized_available_bytes_order{order}"][0] > 300 << 20
        allocations = document[f"kernel_page_allocs_per_cpu_order{order}"]
        assert len(allocations) == CPUS
        assert min(allocations) > 300
