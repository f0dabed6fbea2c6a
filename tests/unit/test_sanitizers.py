# SPDX-License-Identifier: GPL-2.0-only
"""What the tests on the sanitizers' kernel take for a report, and for a page of ours."""

from __future__ import annotations

import pytest

from sanitize import sanitizers
from sanitize.test_fail_nth import SILENT, injections

BOOT = """\
[    3.130854] Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar
[    3.133561]  memory used by lock dependency info: 6429 kB
[    5.954232] rcu: RCU lockdep checking is enabled.
[    8.917202] page_alloc_bench: loading out-of-tree module taints kernel.
[    8.917203] page_alloc_bench: module verification failed: signature and/or required key missing
[   72.337055] kmemleak: Kernel memory leak detector initialized (mem pool available: 37592)
[   91.670198] smpboot: CPU 1 is now offline
"""
OUT_OF_MEMORY = """\
[  125.215669] pab-findlimit invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE), order=0
[  125.222273] CPU: 3 UID: 0 PID: 179 Comm: pab-findlimit Tainted: G     OE 6.12.118-debug #1
[  125.222843] Hardware name: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.2-debian-1.16.2-1
[  125.223061] Call Trace:
[  125.223131]  <TASK>
[  125.224060]  dump_header+0xfa/0x52f
"""
TRACE = "[  126.000000] Call Trace:"
REPORTS = (
    "[  1.0] BUG: KASAN: slab-use-after-free in pab_open+0x7a/0x90 [page_alloc_bench]",
    "[  1.0] WARNING: possible circular locking dependency detected",
    "[  1.0] BUG: sleeping function called from invalid context at include/linux/sched/mm.h:321",
    "[  1.0] list_del corruption. next->prev should be ffff888042df7890",
    "[  1.0] UBSAN: shift-out-of-bounds in session.c:99:2",
    "[  1.0] INFO: task fuzz:99 blocked for more than 120 seconds.",
    "[  1.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "[  1.0] watchdog: BUG: soft lockup - CPU#1 stuck for 134s! [pab/1:200]",
    "[  1.0] fuzz: page allocation failure: order:0, mode:0xcc0(GFP_KERNEL)",
    "[  1.0] kmemleak: Kernel memory leak detector disabled",
    "[  1.0] ODEBUG: free active (active state 0) object: 00000000",
)
OURS = """\
 post_alloc_hook+0x361/0x430
 alloc_pages_mpol_noprof+0x167/0x4a0
 pab_alloc_timed+0xf/0x20 [page_alloc_bench]
 kthread+0xbd/0x390
nr_base_pages: 16
"""
UNKNOWN = OURS.replace("pab_alloc_timed+0xf/0x20 [page_alloc_bench]", "0xffffffffa000000f")
OTHERS = OURS.replace("pab_alloc_timed+0xf/0x20 [page_alloc_bench]", "do_anonymous_page+0xf/0x20")
SLAB = OURS.replace(" post_alloc_hook", " allocate_slab+0x255/0x420\n post_alloc_hook")
SHADOW = OURS.replace("pab_alloc", "kasan_populate_vmalloc+0x104/0x2d0\n pab_alloc")


def test_reports_are_found_and_a_boot_is_none() -> None:
    assert sanitizers.reports(BOOT) == []
    for line in REPORTS:
        assert sanitizers.reports(f"{BOOT}{line}\n") == [line]


def test_memory_that_runs_out_is_no_mistake_but_what_follows_may_be() -> None:
    assert sanitizers.reports(OUT_OF_MEMORY) == []
    assert sanitizers.reports(f"{OUT_OF_MEMORY}{TRACE}\n") == [TRACE]


@pytest.mark.parametrize(
    ("stack", "found"),
    [(OURS, True), (UNKNOWN, True), (OTHERS, False), (SLAB, False), (SHADOW, False)],
)
def test_pages_of_the_module_are_told_from_others(stack: str, found: bool) -> None:
    text = "\n".join([*[OTHERS] * 100, stack])
    assert len(sanitizers.stacks_of("page_alloc_bench", text)) == found


def test_a_page_owner_that_is_off_is_no_proof() -> None:
    with pytest.raises(AssertionError, match="page_owner is off"):
        sanitizers.stacks_of("page_alloc_bench", "")


FAILURES = """\
[  339.406174] failnth: open 1
[  339.406727] FAULT_INJECTION: forcing a failure.
               name failslab, interval 1, probability 0, space 0, times 0
[  339.406969] Call Trace:
[  339.716326] failnth: open 2
[  340.040380] failnth: open 3
[  340.044329] FAULT_INJECTION: forcing a failure.
               name fail_usercopy, interval 1, probability 0, space 0, times 0
[  340.044550] Call Trace:
"""


def test_what_was_made_to_fail_is_read_from_the_log() -> None:
    assert injections(FAILURES, "open") == ["failslab", SILENT, "fail_usercopy"]
    with pytest.raises(AssertionError, match="KASAN"):
        injections(f"{FAILURES}[  341.0] BUG: KASAN: use-after-free in x\n", "open")
