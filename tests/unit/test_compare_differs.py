# SPDX-License-Identifier: GPL-2.0-only
"""What differs between two sides is what is compared, or listed, or the comparison is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import recorded
from comparing import DOCUMENTS, INVALIDATING, Change, available, compared, copy, run, run_of
from page_alloc_bench.analysis import compare as engine
from page_alloc_bench.analysis import format_text
from page_alloc_bench.analysis.compare import Comparison
from page_alloc_bench.cli import main
from reporting import brief


def test_the_command_line_is_what_is_compared_if_the_kernel_is_the_same(real: Comparison) -> None:
    assert {(d.name, d.kind) for d in real.differences} == {
        ("kernel.cmdline", "meant"),
        ("init_on_alloc", "meant"),
    }


def test_another_kernel_is_what_is_compared(side: Any) -> None:
    def other(document: recorded.Document) -> None:
        document["run"]["kernel"].update(release="6.2.0", version="#2")
        document["run"]["kernel"]["config"]["sha256"] = "0" * 64
        document["run"]["kernel"]["cmdline"] = "BOOT_IMAGE=/vmlinuz-6.2 quiet init_on_alloc=1"

    found = {d.name: d.kind for d in compared(side(0, 6), side(6, 12, other)).differences}
    # The bundle has no module for 6.2.0, so what compiled it is not known.
    assert found.pop("tool.compiler") == "other"
    assert found == {
        "kernel.cmdline": "other",
        "kernel.release": "meant",
        "kernel.version": "meant",
        "kernel.config": "meant",
    }


@pytest.mark.parametrize(
    ("base", "new", "refused"),
    [(839, 839, False), (839, 810, False), (839, 530, True), (530, 839, True)],
)
def test_memory_that_others_hold_on_one_side_is_refused(
    base: int, new: int, refused: bool, side: Any
) -> None:
    """By mlock, a balloon or a pool of huge pages, it looks like a regression of the kernel."""
    sides = side(0, 6, available(base)), side(6, 12, available(new))
    if not refused:
        assert compared(*sides).differences == ()
        return
    with pytest.raises(engine.RefusedError, match=r"machine\.memory_available$") as error:
        compared(*sides)
    (found,) = error.value.differences
    assert (found.base, found.new) == ((f"{base + 10} MiB",), (f"{new + 10} MiB",))
    assert compared(*sides, allow=["machine.memory_available"]).differences[0].allowed


def test_memory_that_others_hold_during_one_run_is_refused_too(side: Any) -> None:
    base = side(0, 6, available(839))
    (base / "03.json").write_text(json.dumps(copy(DOCUMENTS[3], available(530))))
    with pytest.raises(engine.RefusedError) as error:
        compared(base, side(6, 12, available(839)))
    (found,) = error.value.differences
    assert (found.base, found.within) == (("540..849 MiB",), True)


@pytest.mark.parametrize(
    ("base", "new", "differs"),
    [(0, 12288, False), (12288, 0, False), (0, 4096, False), (512, 12800, False), (0, 12800, True)],
)
def test_what_our_own_module_taints_the_kernel_with_is_no_difference(
    base: int, new: int, differs: bool, side: Any
) -> None:
    """Out of tree and unsigned: so it is after the first run of a boot."""
    comparison = compared(
        side(0, 6, run_of("kernel/taint", base)), side(6, 12, run_of("kernel/taint", new))
    )
    assert [d.name for d in comparison.differences] == ["kernel.taint"] * differs


def test_modules_of_others_that_taint_the_kernel_are_a_difference(side: Any) -> None:
    plain, tainting = (run_of("kernel/tainting_modules", names) for names in ([], ["nvidia"]))
    (found,) = compared(side(0, 6, plain), side(6, 12, tainting)).differences
    assert (found.name, found.kind, found.new) == ("kernel.tainting_modules", "other", ("nvidia",))
    # Of a version that did not record them nothing is known.
    assert compared(side(0, 6), side(12, 18, tainting)).differences == ()


@pytest.mark.parametrize("name", INVALIDATING)
def test_what_invalidates_is_refused_unless_it_is_allowed(name: str, side: Any) -> None:
    base, new = side(0, 2), side(6, 8, INVALIDATING[name])
    with pytest.raises(engine.RefusedError) as refused:
        compared(base, new)
    assert name in [d.name for d in refused.value.differences]
    names = [d.name for d in refused.value.differences]
    comparison = compared(base, new, allow=names)
    assert [d.allowed for d in comparison.differences if d.name in names] == [True] * len(names)


def test_incomplete_runs_are_refused_even_if_all_are(side: Any) -> None:
    cut = run_of("complete", False)
    with pytest.raises(engine.RefusedError, match="incomplete"):
        compared(side(0, 6, cut), side(6, 12, cut))
    allowed = compared(side(0, 6, cut), side(6, 12, cut), allow=["incomplete"])
    assert allowed.exit_code == engine.CANNOT_TELL


OTHER = {
    "vm.swappiness": run_of("machine/sysctl_vm/swappiness", "10"),
    "kernel.taint": run_of("kernel/taint", 512),
    "tool.version": run_of("tool_version", "0.2.0"),
    "tool.runner": run_of("bundle/source/runner", "0" * 64),
    "config.HZ": run_of("kernel/config/options/HZ", "1000"),
    "parameters.sample_size": run_of("parameters/sample_size", 5),
    "parameters.accept": run_of("parameters/accept", ["swap"]),
    "thp.defrag": run_of("machine/thp/defrag", "always"),
    "python": run_of("machine/python", "3.13.5"),
    "warnings": run_of("warnings", ["the host was busy"]),
    "parameters.pattern": run_of("parameters/pattern", "antagonist"),
    "kernel.config_options": run_of("kernel/config/options", None),
}


@pytest.mark.parametrize("name", OTHER)
def test_what_else_differs_is_listed_before_what_is_meant(name: str, side: Any) -> None:
    def change(document: recorded.Document) -> None:
        document["run"]["kernel"]["version"] = "#2"
        OTHER[name](document)

    comparison = compared(side(0, 2), side(6, 8, change))
    kinds = [d.kind for d in comparison.differences]
    assert kinds == sorted(kinds, key=["invalidating", "other", "meant"].index)
    assert name in [d.name for d in comparison.differences if d.kind == "other"]
    text = format_text.render(comparison)
    assert text.index(f"differs: {name}") < text.index("compared: kernel.version")
    assert text.index("compared: kernel.version") < text.index("order 0")


def test_a_kernel_that_differs_in_zeroing_too_is_refused(side: Any) -> None:
    def other(document: recorded.Document) -> None:
        document["run"]["kernel"]["version"] = "#2"
        document["run"]["kernel"]["cmdline"] = "init_on_alloc=0"

    with pytest.raises(engine.RefusedError, match=r"comparison: init_on_alloc$"):
        compared(side(0, 6), side(6, 12, other))


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (run_of("parameters/held", 301), {"parameters.held"}),
        (run_of("complete", False), {"incomplete"}),
        (run_of("kernel/version", "#2"), {"kernel.version"}),
        (run_of("kernel/cmdline", "init_on_alloc=1 quiet"), {"kernel.cmdline"}),
    ],
)
def test_runs_of_one_side_must_be_alike(change: Change, names: set[str], side: Any) -> None:
    mixed = side(0, 6)
    (mixed / "00.json").write_text(json.dumps(copy(DOCUMENTS[0], change)))
    with pytest.raises(engine.RefusedError) as refused:
        compared(mixed, side(6, 12))
    assert {d.name for d in refused.value.differences} == names


def test_seeds_and_what_the_kernel_reserves_at_boot_may_differ(side: Any) -> None:
    def other(document: recorded.Document) -> None:
        document["run"]["parameters"].update(seed=99, timeout_s=5.0, stall_s=9)
        document["run"]["machine"]["memory_bytes"] -= 1 << 20
        document["run"]["kernel"]["cmdline"] += " BOOT_IMAGE=/x"

    assert compared(side(0, 6), side(6, 12, other)).differences == ()


def test_a_run_counts_once_even_as_a_copy(side: Any, tmp_path: Path) -> None:
    base, new = side(0, 6), side(5, 12)
    with pytest.raises(engine.CompareError, match=r"side1/00\.json: the same run as .*05\.json"):
        compared(base, new)
    (base / "copy.json").write_text(json.dumps(DOCUMENTS[0], indent=1))
    with pytest.raises(engine.CompareError, match="a run counts once"):
        compared(base, side(6, 12))
    assert run(base / "00.json", base / "00.json", "--vs", new).exit_code == 3


def test_sides_without_a_common_metric_leave_no_verdict(side: Any) -> None:
    """In each format, and the report is made all the same."""

    def change(document: recorded.Document) -> None:
        brief(document)
        for name in [name for name in document if name != "run"]:
            document[name.replace("order", "order1")] = document.pop(name)

    base, new = side(0, 4, brief), side(4, 8, change)
    for name in ("table", "short", "json", "csv", "markdown"):
        done = run(base, "--vs", new, "--format", name)
        assert (done.exit_code, bool(done.stdout)) == (engine.CANNOT_TELL, True), done.stderr
    page = base.parent / "report.html"
    words = ["report", str(base), "--vs", str(new), "-o", str(page)]
    assert CliRunner().invoke(main, words).exit_code == 0
    assert "only one side has idle memory, order 0" in page.read_text()
    done = run(base, "--vs", new)
    said = " ".join(done.stdout.split())
    assert "Cannot tell: only one side has idle memory, order 0" in said
    assert "Measure it on the other too" in said
