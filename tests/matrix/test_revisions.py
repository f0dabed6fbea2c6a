# SPDX-License-Identifier: GPL-2.0-only
"""From a git branch to a verdict: real source, real builds, real boots."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

from git_tree import state
from kernel_history import CONFIG, FRAGMENT, HEART, MASK, PAGE_ALLOC, History, work
from page_alloc_bench.campaign import build_cache, kernel_config
from page_alloc_bench.campaign.build_cache import Built
from page_alloc_bench.campaign.kernel_build import Builder
from page_alloc_bench.campaign.revisions import Repository
from waiting import eventually

COMMITS, CULPRIT = 16, 11
# So many that a tick of the timer more is not a tenth of a percent.
ALLOCS = 100_000
LONG = 300_000
KCONFIG = "lib/Kconfig.debug"
WORK = work(20)
REWORDED = [("/* First allocation attempt */", "/* The first attempt to allocate */")]
AT_BOOT = "static int __init planted(void)\n{{\n\t{};\n\treturn 0;\n}}\nlate_initcall(planted);\n\n"


class Done(NamedTuple):
    """What a command said: exit code, stdout, stderr."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def linux(tmp_path_factory: pytest.TempPathFactory) -> History:
    """A kernel's repository with branches off `base`, and `series`, 16 commits on top of it."""
    history = History(tmp_path_factory.mktemp("linux") / "linux.git")
    history.commit("slower", "base", "mm: do some work for each page", {PAGE_ALLOC: WORK})
    history.commit("words", "base", "mm: reword a comment", {PAGE_ALLOC: REWORDED})
    wrong = [(MASK, "\tgpf &= gfp_allowed_mask\n" + MASK)]
    history.commit("broken", "base", "mm: break the build", {PAGE_ALLOC: wrong})
    always = [('config DEBUG_VM\n\tbool "Debug VM"\n\tdepends on DEBUG_KERNEL\n',
               "config DEBUG_VM\n\tdef_bool y\n")]  # fmt: skip
    history.commit("debug", "base", "mm: check always", {KCONFIG: always})
    for name, what in (("panics", 'panic("planted")'), ("hangs", "for (;;)\n\t\tcpu_relax()")):
        edits = [(HEART, AT_BOOT.format(what) + HEART)]
        history.commit(name, "base", f"mm: a kernel that {name}", {PAGE_ALLOC: edits})
    never = [("\nint modules_disabled;\n", "\nint modules_disabled = 1;\n")]
    history.commit("refuses", "base", "module: load none", {"kernel/module/main.c": never})
    history.series(COMMITS, CULPRIT)
    return history


def command(history: History, *words: str, allocs: int = ALLOCS) -> list[str]:
    program = [sys.executable, "-m", "page_alloc_bench.cli", *words, "--exact"]
    program += history.options()
    return [*program, "--", "--alloc-orders", "0", "--exact-allocs", str(allocs)]


def pab(history: History, *words: str, allocs: int = ALLOCS) -> Done:
    done = subprocess.run(
        command(history, *words, allocs=allocs),
        capture_output=True,
        text=True,
        check=False,
        timeout=7200,
        stdin=subprocess.DEVNULL,
    )
    print(done.stdout, done.stderr)
    return Done(done.returncode, done.stdout, done.stderr)


def kernel(history: History, name: str) -> Built:
    """The kernel of a revision, as the commands build it."""
    tree = Repository(history.path)
    asked = kernel_config.asked(CONFIG, [FRAGMENT])
    made = Builder(tree, asked, tree.commit("base")).build(tree.commit(name))
    assert isinstance(made, Built)
    return made


def test_a_patch_that_adds_work_is_a_regression_and_its_function_is_named(
    linux: History, tmp_path: Path
) -> None:
    before = state(linux.path)
    done = pab(linux, "ab", "base", "slower", "--dir", str(tmp_path))
    assert done.code == 1, done
    assert re.search(r"^ planted_work +0\.00 +[\d.]+ +\+[\d.]+ ", done.stdout, re.MULTILINE)
    assert max(map(len, done.stdout.splitlines())) <= 72
    assert state(linux.path) == before
    # The same command has nothing left to do.
    again = pab(linux, "ab", "base", "slower", "--dir", str(tmp_path))
    assert (again.code, again.stdout) == (1, done.stdout)
    assert "boot 1" not in again.stderr


def test_a_patch_that_adds_nothing_is_no_regression(linux: History) -> None:
    done = pab(linux, "ab", "base", "words")
    assert done.code == 0, done
    assert "no regression" in done.stdout


def test_a_patch_that_does_not_build_is_a_result_with_its_reason(
    linux: History, tmp_path: Path
) -> None:
    for _ in range(2):  # the second time from the cache
        done = pab(linux, "ab", "base", "broken", "--dir", str(tmp_path))
        assert done.code == 4, done
        assert "does not build: " in done.stderr
        assert re.search(r"mm/page_alloc\.c:\d+:\d+: error: .gpf. undeclared", done.stderr)
    (verdict,) = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict["verdict"] == "new fails"
    assert "gpf" in verdict["reason"]


@pytest.mark.parametrize(
    ("branch", "said"),
    [
        ("panics", "panicked"),
        ("hangs", "did not get to the guest's first programs"),
        ("refuses", "this kernel loads no modules until the next boot"),
    ],
)
def test_a_kernel_that_does_not_boot_is_a_result_with_its_reason(
    linux: History, branch: str, said: str
) -> None:
    done = pab(linux, "ab", "base", branch)
    assert done.code == 4, done
    assert said in " ".join(done.stderr.split())
    assert "new fails: " in done.stdout
    assert said in " ".join(done.stdout.split())


def test_the_next_revision_compiles_what_has_changed(linux: History) -> None:
    kernel(linux, "base")
    made = kernel(linux, "words")
    log = (made.directory / build_cache.LOG).read_text()
    assert "  CC      mm/page_alloc.o\n" in log
    assert len(re.findall(r"^  CC ", log, re.MULTILINE)) < 30


def test_the_same_tree_gives_the_same_kernel(linux: History) -> None:
    made = kernel(linux, "base")
    first = hashlib.sha256(made.image.read_bytes()).hexdigest()
    kernel(linux, "slower")
    shutil.rmtree(made.directory)
    again = kernel(linux, "base")
    assert again.directory == made.directory
    assert hashlib.sha256(again.image.read_bytes()).hexdigest() == first


def test_options_for_debugging_that_differ_are_refused_before_the_build(
    linux: History, tmp_path: Path
) -> None:
    done = pab(linux, "ab", "base", "debug", "--dir", str(tmp_path))
    assert done.code == 3, done
    assert "CONFIG_DEBUG_VM is n in base, y in debug" in done.stderr
    assert "building debug" not in done.stderr


def test_a_series_is_judged_commit_by_commit(linux: History, tmp_path: Path) -> None:
    tree = Repository(linux.path)
    culprit = tree.commit(f"series~{COMMITS - CULPRIT}")
    span = f"{culprit.sha}~2..{culprit.sha}"
    done = pab(linux, "ab", span, "--each", "--dir", str(tmp_path))
    assert done.code == 1, done
    verdicts = json.loads((tmp_path / "verdict.json").read_text())
    assert [each["verdict"] for each in verdicts] == ["no regression", "regression"]
    assert culprit.short in verdicts[1]["new"]


def test_bisect_finds_the_commit_among_sixteen_in_five_steps(
    linux: History, tmp_path: Path
) -> None:
    before = state(linux.path)
    culprit = Repository(linux.path).commit(f"series~{COMMITS - CULPRIT}")
    done = pab(linux, "bisect", "base", "series", "--dir", str(tmp_path))
    assert done.code == 0, done
    assert done.stdout.startswith(f"{culprit.sha} is the first bad commit")
    assert "planted_work" in done.stdout
    steps = (tmp_path / "steps.jsonl").read_text().splitlines()
    assert 1 <= len(steps) <= 5
    attempts = (tmp_path / "attempts.jsonl").read_text().splitlines()
    # GOOD, BAD, and two boots for each step.
    assert len(attempts) == 2 * (2 + len(steps))
    assert state(linux.path) == before


def test_bisect_without_a_difference_has_nothing_to_find(linux: History) -> None:
    done = pab(linux, "bisect", "base", "words")
    assert done.code == 1, done
    assert "Nothing to find" in done.stdout


def guests(scratch: Path) -> list[str]:
    """The command lines of the guests whose files are below SCRATCH."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if "qemu-system" in line and str(scratch) in line]


def test_an_interrupt_ends_it_and_its_guests_and_the_same_command_goes_on(
    linux: History, tmp_path: Path
) -> None:
    words = ("ab", "base", "words", "--dir", str(tmp_path / "campaign"))
    # Its path has to leave room for the name of a socket.
    scratch = Path(tempfile.mkdtemp(prefix="pab-interrupted."))
    run = subprocess.Popen(
        command(linux, *words, allocs=LONG),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    assert eventually(lambda: bool(guests(scratch)), 1800)
    run.send_signal(signal.SIGINT)
    # A boot takes longer than this.
    assert run.wait(15) == 130
    assert run.stderr
    assert "interrupted" in run.stderr.read()
    assert eventually(lambda: not guests(scratch), 60)
    assert eventually(lambda: not any(scratch.iterdir()), 60)
    scratch.rmdir()
    done = pab(linux, *words, allocs=LONG)
    assert done.code == 0, done
    assert "going on with" in done.stderr
