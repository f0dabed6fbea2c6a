# SPDX-License-Identifier: GPL-2.0-only
"""What several tests on real kernels need: our kernel modules and our Python inside a guest."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import tempfile
import time
from concurrent import futures
from pathlib import Path
from typing import Any

from page_alloc_bench.targets import build_root, modules
from page_alloc_bench.targets.guest import Guest
from page_alloc_bench.targets.kernels import FetchedKernel

TOP = Path(__file__).resolve().parents[1]
PACKAGE = TOP / "bundle/page_alloc_bench"
IN_GUEST = "/opt/lab"
INSTALLED = ("kmod", "tests/kmod/floor")
SLOW_CLOCK = ": a clock read costs "  # how a warning of it goes on
# X86_FEATURE_ERMS and X86_FEATURE_REP_GOOD in arch/x86/include/asm/cpufeatures.h: without them the
# kernel clears pages by plain stores, which an emulated CPU does many times faster than rep stos.
CLEAR_FAST = "clearcpuid=297,112"
# What no kernel's log says after a run.
TROUBLE = re.compile(r"WARNING:|BUG:|Oops|KASAN|UBSAN|Call trace:.*page_alloc_bench")
_SCRATCH = tempfile.TemporaryDirectory(prefix="pab-lab.")  # goes when the tests end
_BUILDS = futures.ThreadPoolExecutor(max_workers=2)


def kernel_module(kernel: FetchedKernel, source: str, patterns: str = "") -> Path:
    """Return the module built of the checkout's directory source ("kmod", "tests/kmod/floor").

    patterns: a directory of the checkout with patterns for our module besides its own.
    """
    return kernel_module_soon(kernel, source, patterns).result()


@functools.cache
def kernel_module_soon(kernel: FetchedKernel, source: str, patterns: str) -> futures.Future[Path]:
    """Begin to build what kernel_module() returns."""
    return _BUILDS.submit(_build, kernel, source, patterns)


def _build(kernel: FetchedKernel, source: str, patterns: str) -> Path:
    name = "-".join([kernel.release, *source.split("/"), *patterns.split("/")])
    scratch = Path(_SCRATCH.name) / name
    for directory in {"kmod", source}:
        shutil.copytree(TOP / directory, scratch / directory)
    if patterns:
        shutil.copytree(TOP / patterns, scratch / "kmod/patterns", dirs_exist_ok=True)
    command = ["make", "-C", str(scratch / source), f"KDIR={kernel.kdir}"]
    command.append("CONFIG_DEBUG_INFO_BTF_MODULES=")  # headers with a vmlinux ask for pahole
    if kernel.kernel.cc:
        command.append(f"CC={kernel.kernel.cc}")
    if kernel.kernel.build_root:
        command = build_root.command(command, writable=[scratch], readonly=kernel.trees)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = (scratch / source).glob("*.ko")
    return made


def kernel_modules_soon(kernel: FetchedKernel) -> None:
    """Begin to build what install() needs."""
    for source in INSTALLED:
        kernel_module_soon(kernel, source, "")


def install(guest: Guest) -> None:
    """Put the runner, our module and the floor module into /opt/lab of the guest."""
    guest.run(f"mkdir -p {IN_GUEST}/page_alloc_bench")
    for part in ("__init__.py", "runner"):
        guest.copy_to(PACKAGE / part, f"{IN_GUEST}/page_alloc_bench/")
    for source in INSTALLED:
        guest.copy_to(kernel_module(guest.kernel, source), f"{IN_GUEST}/")


def let_khugepaged_sleep(guest: Guest) -> None:
    """Have khugepaged look once more, and then sleep for weeks.

    At nice 19 beside workers on every CPU it can keep a process's mmap_lock for minutes of an
    emulated machine, and whoever faults a page in waits.
    """
    settings = "/sys/kernel/mm/transparent_hugepage/khugepaged"
    guest.run(f"echo {2**32 - 1} > {settings}/scan_sleep_millisecs")


def give_drivers(guest: Guest, *names: str) -> None:
    """Have modprobe find drivers of the guest's own kernel there, with what they need.

    The roots hold no modules: they are made for any kernel.
    """
    directory = f"/lib/modules/{guest.kernel.release}/kernel"
    guest.run(["mkdir", "-p", directory])
    for module in modules.installed(guest.kernel.modules_dir).needed(names).values():
        guest.copy_to(module, f"{directory}/")
    guest.run(["depmod"])


def python(guest: Guest, code: str, *, user: str = "root", timeout: float = 300) -> Any:
    """Run code in the guest, our runner importable; return what it printed, read as JSON."""
    done = guest.run(["env", f"PYTHONPATH={IN_GUEST}", "python3", "-B", "-"], user=user,
                     input=code, timeout=timeout)  # fmt: skip
    return json.loads(done.stdout)


def floor(guest: Guest, **parameters: int) -> dict[str, int]:
    """Run the floor module; return its parameters and outcome."""
    words = [f"{name}={value}" for name, value in parameters.items()]
    guest.run(["insmod", f"{IN_GUEST}/pab_floor.ko", *words], timeout=300)
    listed = guest.run("cd /sys/module/pab_floor/parameters && grep . *; rmmod pab_floor").stdout
    return {name: int(value) for name, _, value in (row.partition(":") for row in listed.split())}


def free_bytes(guest: Guest) -> int:
    """What the guest has free once nothing is cached, with the lists that each CPU keeps."""
    guest.run("sync; echo 3 > /proc/sys/vm/drop_caches")
    text = guest.run("cat /proc/meminfo /proc/zoneinfo").stdout
    free_kib = re.search(r"^MemFree: +(\d+) kB", text, re.MULTILINE)
    assert free_kib
    on_cpu_lists = map(int, re.findall(r"^ +count: (\d+)", text, re.MULTILINE))
    return int(free_kib[1]) * 1024 + sum(on_cpu_lists) * 4096


def whole_blocks(guest: Guest, order: int = 9) -> int:
    """How many blocks of an order are free in a guest, those in larger ones too."""
    rows = (line.split()[4:] for line in guest.run("cat /proc/buddyinfo").stdout.splitlines())
    return sum(int(n) << i for row in rows for i, n in enumerate(row) if i >= order) >> order


def traces(guest: Guest) -> str:
    """What a run has left behind in a guest, as lines: its module, files and processes."""
    return guest.run(
        "grep page_alloc_bench /proc/modules; ls -d /dev/shm/page-alloc-bench.* /dev/page_alloc*; "
        "ps -eo comm | grep ^pab",
        check=False,
    ).stdout


def await_free(guest: Guest, wanted: float) -> int:
    """What the guest has free, as soon as it is what is wanted, or after a while.

    Up to 12 MiB seem to be missing when the kernel empties the lists of its CPUs between the two
    files that are read; what is lost never comes back.
    """
    deadline = time.monotonic() + 10
    while (free := free_bytes(guest)) < wanted and time.monotonic() < deadline:
        time.sleep(0.5)
    return free


def warnings_but_preflights(result: dict[str, Any]) -> list[str]:
    """What a run warned of, without what was found before it, and without a slow emulated clock."""
    found = tuple(finding["found"] for finding in result["run"]["preflight"])
    return [
        text
        for text in result["run"]["warnings"]
        if not text.startswith(found) and SLOW_CLOCK not in text
    ]


def said(stderr: str) -> str:
    """What a run said on stderr, without that the clock is slow, which differs by boot."""
    return re.sub(rf"^.*warning: .*{SLOW_CLOCK}.*\n(  .*\n)*", "", stderr, flags=re.MULTILINE)
