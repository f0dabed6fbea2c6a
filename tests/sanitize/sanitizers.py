# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel that is made to complain has to say, and whether it still listens."""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import lab
from page_alloc_bench.targets.guest import Guest

# preempt=full: preemption wherever it may be. kasan_multi_shot: every report, not the first alone.
# tsc=reliable: a kernel this slow mistrusts the clock, and falls back to one that is slower yet.
# The others give a guest on a busy host the time it needs before it is called stuck.
CMDLINE = (
    "preempt=full page_owner=on kasan_multi_shot tsc=reliable watchdog_thresh=60 "
    "rcupdate.rcu_cpu_stall_timeout=180"
)
_REPORTS = re.compile(
    r"BUG|WARNING|KASAN|UBSAN|ODEBUG|Oops|corruption|Call Trace:|kmemleak: .*disabled|"
    r"INFO: task .* blocked|INFO: trying to register|detected stall|page allocation failure"
)
# No mistake, though a trace is shown: memory ran out, as it had to (mm/oom_kill.c, dump_header()).
_OOM_REPORT = re.compile(r"invoked oom-killer:.*\n(?:.*\n){0,5}?.*Call Trace:")
_HERE = Path(__file__).parent
_PROGRAMS = tempfile.TemporaryDirectory(prefix="pab-sanitize.")  # goes when the tests end

# Pages that the sanitizers themselves allocate while our code runs (KASAN's shadow of a vmalloc
# area goes only when the kernel gets round to it); pages of slabs, which outlive the object that
# they were allocated for: kmemleak looks after the objects; and page tables of the vmalloc area,
# which the kernel keeps for whoever comes next (mm/vmalloc.c, vunmap_range_noflush()).
_NOT_OURS = re.compile(
    r"stack_depot_save|allocate_slab|new_slab|kmemleak_|kasan_populate_vmalloc"
    r"|__(?:pte_alloc_kernel|pmd_alloc|pud_alloc|p4d_alloc)\b"
)


def reports(log: str) -> list[str]:
    """Return the lines of the kernel's LOG that tell of a mistake."""
    rest = _OOM_REPORT.sub("", log)
    return [line for line in rest.splitlines() if _REPORTS.search(line)]


def assert_all_is_quiet(guest: Guest) -> None:
    """Assert that the kernel has reported nothing since it booted, and still would."""
    log = guest.dmesg()
    assert reports(log) == [], "\n".join([log, "of which a mistake:", *reports(log)])
    # Lockdep, once it has reported anything or lost its trust in the kernel, switches itself off.
    assert re.search(r"debug_locks: +1\n", guest.run("cat /proc/lockdep_stats").stdout)


def forget_old_leaks(guest: Guest) -> None:
    """Have kmemleak report only what is leaked from now on."""
    guest.run("echo scan >/sys/kernel/debug/kmemleak; echo clear >/sys/kernel/debug/kmemleak")


def leaks(guest: Guest) -> str:
    """Return what kmemleak says after two scans; it believes in no leak younger than 5 s.

    Writing fails when it has switched itself off.
    """
    scan = "echo scan >/sys/kernel/debug/kmemleak"
    return guest.run(f"sleep 6 && {scan} && sleep 6 && {scan} && cat /sys/kernel/debug/kmemleak",
                     timeout=600).stdout  # fmt: skip


def pages_of(guest: Guest, module: str) -> list[str]:
    """Return the stack traces of MODULE's by which pages were allocated that are not free yet."""
    stacks = "/sys/kernel/debug/page_owner_stacks/show_stacks"
    return stacks_of(module, guest.run(["cat", stacks], timeout=600).stdout)


def stacks_of(module: str, text: str) -> list[str]:
    """Return the stack traces in page_owner's TEXT that are MODULE's.

    Those of a module that is gone by now have addresses instead of names.
    """
    stacks = text.split("\n\n")
    assert len(stacks) > 100, "page_owner is off"
    ours = re.compile(rf"\[{module}\]|^ *0x[0-9a-f]+", re.MULTILINE)
    return [stack for stack in stacks if ours.search(stack) and not _NOT_OURS.search(stack)]


def free_bytes(guest: Guest) -> int:
    """What the guest has free, once slabs and KASAN's quarantine have given back what they may."""
    guest.run("for file in /sys/kernel/slab/*/shrink; do echo 1 >$file; done", timeout=300)
    return lab.free_bytes(guest)


@functools.cache
def program(name: str) -> Path:
    """Build the static C program NAME of this directory: NAME.c or all of NAME/."""
    directory = _HERE / name
    sources: Sequence[Path] = sorted(directory.glob("*.c")) or [_HERE / f"{name}.c"]
    built = Path(_PROGRAMS.name) / name
    options = ["-static", "-pthread", "-O2", "-Wall", "-Wextra", "-Werror"]
    done = subprocess.run(["gcc", *options, "-o", built, *sources],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return built
