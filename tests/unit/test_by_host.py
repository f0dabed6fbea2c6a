# SPDX-License-Identifier: GPL-2.0-only
"""Hosts of any kind that measured both sides: each is compared with itself, and all decide."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import recorded
from comparing import DOCUMENTS, copy, run
from page_alloc_bench.analysis.verdict import signed_rank
from page_alloc_bench.analysis.verdict.interval import Sample

HOSTS = 12
MEMORY = ("--metric", "idle_available_bytes_order*")
ALLOW_ALL = ("--allow-difference", "*")
# What is not timed: this is read many times.
UNTIMED = [
    {name: of for name, of in document.items() if "_latenc" not in name} for document in DOCUMENTS
]
Change = Callable[[int, str, recorded.Document], recorded.Document]


def crossed(
    place: Path,
    change: Change | None = None,
    *,
    first: Callable[[int], bool] = lambda h: h % 2 == 0,
) -> tuple[Path, Path]:
    """Two runs of each host, of which each is another machine; first: whether base came first.

    change: gives what a host measured of a side, "base" or "new".
    """
    sides: dict[str, list[recorded.Document]] = {"base": [], "new": []}
    for host in range(HOSTS):
        for side, made in sides.items():
            document = recorded.plant_memory(copy(UNTIMED[host]), 1 + host % 4)
            noise = np.random.default_rng(host + 100 * (side == "new")).normal(0, 0.004)
            document = recorded.plant_memory(document, 1 + noise)
            later = (side == "base") != first(host)
            document["run"] |= {
                "host_id": f"host{host:02}",
                "boot_id": f"{host}-{side}",
                "started_at": f"2026-11-0{host % 4 + 1}T{10 + later}:00:00Z",
                "seed": 1000 * (side == "new") + host,
            }
            made.append(change(host, side, document) if change else document)
    base, new = (recorded.write(place / side, made) for side, made in sides.items())
    return base, new


def slower(_host: int, side: str, document: recorded.Document) -> recorded.Document:
    return recorded.plant_memory(document, 0.95) if side == "new" else document


def test_a_loss_shows_over_hosts_that_are_not_alike(tmp_path: Path) -> None:
    base, new = crossed(tmp_path, slower)
    among_all = run(base, "--vs", new, *MEMORY, *ALLOW_ALL)
    assert among_all.exit_code == 2, among_all.output
    by_host = run(base, "--vs", new, "--by-host", *MEMORY)
    assert by_host.exit_code == 1, by_host.output
    assert "base 12 hosts, new 12 hosts" in by_host.output


def test_hosts_that_show_no_loss_say_so(tmp_path: Path) -> None:
    base, new = crossed(tmp_path)
    assert run(base, "--vs", new, "--by-host", *MEMORY).exit_code == 0


@pytest.mark.parametrize("failed", ["base", "new"])
def test_a_host_that_failed_leaves_the_verdict_of_the_others(tmp_path: Path, failed: str) -> None:
    base, new = crossed(tmp_path, slower)
    (tmp_path / failed / "03.json").unlink()
    ended = run(base, "--vs", new, "--by-host", *MEMORY)
    assert ended.exit_code == 1, ended.output
    assert "base 11 hosts, new 11 hosts" in ended.output
    assert "one side only is there of them: hosts host03" in " ".join(ended.output.split())


def test_where_all_hosts_begin_with_one_side_nothing_can_be_told(tmp_path: Path) -> None:
    base, new = crossed(tmp_path, slower, first=lambda _host: True)
    ended = run(base, "--vs", new, "--by-host", *MEMORY)
    assert ended.exit_code == 2
    assert "Let half of the hosts begin with the other side" in " ".join(ended.output.split())
    assert run(base, "--vs", new, "--by-host", "--accept-order", *MEMORY).exit_code == 1


def test_several_runs_of_a_host_are_one_observation(tmp_path: Path) -> None:
    base, new = crossed(tmp_path, slower)
    for path in sorted(new.iterdir()):
        document = recorded.plant_memory(json.loads(path.read_text()), 1.0005)
        document["run"] |= {"seed": document["run"]["seed"] + 5000, "boot_id": path.name}
        path.with_suffix(".again.json").write_text(json.dumps(document))
    ended = run(base, "--vs", new, "--by-host", *MEMORY)
    assert ended.exit_code == 1, ended.output
    assert "base 12 hosts, new 12 hosts (24 runs)" in ended.output


def of_two_kinds(host: int, side: str, document: recorded.Document) -> recorded.Document:
    document["run"]["machine"]["cpu_model"] = f"Model {host % 2}"
    return slower(host, side, document) if host % 2 else document


@pytest.mark.parametrize("form", ["text", "markdown", "table"])
def test_each_kind_of_machine_has_its_own_changes(tmp_path: Path, form: str) -> None:
    base, new = crossed(tmp_path, of_two_kinds)
    told = run(base, "--vs", new, "--by-host", *MEMORY, "--format", form).output
    assert "6 host(s) of: Model 0" in told
    assert "6 host(s) of: Model 1" in told
    of_first, of_second = told.split("6 host(s) of: Model 1")
    assert "idle memory, order 0: -5" in of_second
    assert "idle memory, order 0: -5" not in of_first.split("of: Model 0")[1]


def test_a_fact_that_changed_on_one_host_is_refused(tmp_path: Path) -> None:
    def swapped(host: int, side: str, document: recorded.Document) -> recorded.Document:
        if (host, side) == (5, "new"):
            document["run"]["machine"]["cpus_used"] = "0"
        return document

    base, new = crossed(tmp_path, swapped)
    ended = run(base, "--vs", new, "--by-host", *MEMORY)
    assert ended.exit_code == 3
    assert "machine.cpus_used" in ended.output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"host_id": None}, "does not say of which host it is"),
        ({"host_id": "another"}, "no host measured both sides: compare without --by-host"),
    ],
)
def test_hosts_that_cannot_be_paired_are_told(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    def changed(_host: int, side: str, document: recorded.Document) -> recorded.Document:
        if side == "new":
            document["run"] |= change
        return document

    ended = run(*vs(crossed(tmp_path, changed)), "--by-host")
    assert ended.exit_code == 3
    assert said in ended.output


def vs(sides: Sequence[Path]) -> tuple[Path, str, Path]:
    return sides[0], "--vs", sides[1]


@pytest.mark.parametrize(("left", "said"), [(1, "1 host is"), (5, "5 hosts are")])
def test_too_few_hosts_have_no_interval(tmp_path: Path, left: int, said: str) -> None:
    base, new = crossed(tmp_path, slower)
    for path in [*sorted(base.iterdir())[left:], *sorted(new.iterdir())[left:]]:
        path.unlink()
    ended = run(base, "--vs", new, "--by-host", "--accept-order", *MEMORY)
    assert ended.exit_code == 2
    assert f"{said} too few for an interval (2 figures need 7)." in " ".join(ended.output.split())


def sides(differences: Any) -> tuple[Sample, Sample]:
    values = np.asarray(differences, float)
    return Sample(values * 0, values * 0), Sample(values, values)


@pytest.mark.parametrize("hosts", [2, 5, 6, 9, 20, 60])
def test_the_test_is_that_of_scipy(hosts: int) -> None:
    values = np.random.default_rng(hosts).normal(0.4, 1, hosts)
    known = stats.wilcoxon(values, method="exact").pvalue
    assert signed_rank.test(*sides(values)) == pytest.approx(known, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_ties_and_nothings_are_tested_as_all_signs_would(seed: int) -> None:
    values = np.random.default_rng(seed).integers(-2, 4, 9).astype(float)
    every = stats.PermutationMethod(n_resamples=np.inf)  # type: ignore[arg-type]
    known = stats.wilcoxon(values, zero_method="pratt", method=every).pvalue
    assert signed_rank.test(*sides(values)) == pytest.approx(known, rel=1e-9)


@pytest.mark.parametrize("hosts", [6, 7, 10, 25])
def test_the_interval_holds_what_the_test_does_not_reject(hosts: int) -> None:
    alpha = 0.05
    values = np.random.default_rng(hosts).normal(0.4, 1, hosts)
    change = signed_rank.shift(*sides(values), alpha)
    for truth in np.linspace(float(change.low) - 0.5, float(change.high) + 0.5, 41):
        rejected = stats.wilcoxon(values - truth, method="exact").pvalue <= alpha
        assert rejected == (not change.low < truth < change.high)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    values = rng.laplace(size=(20_000, 10))
    change = signed_rank.shift(*sides(values), 0.05)
    covered = float(np.mean((change.low <= 0) & (change.high >= 0)))
    assert covered == pytest.approx(1 - 2 * 25 / 2**10, abs=0.005)  # the next level below 5 %
