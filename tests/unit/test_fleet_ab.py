# SPDX-License-Identifier: GPL-2.0-only
"""Two kernels on many hosts: the order of the boots, how hosts are reached, and what all show."""

from __future__ import annotations

import fcntl
import functools
import json
import shlex
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import recorded
from page_alloc_bench.analysis.verdict import signed_rank
from page_alloc_bench.analysis.verdict.interval import Sample
from page_alloc_bench.campaign.timed.plan import schedule
from page_alloc_bench.cli.fleet import fleet as command
from page_alloc_bench.fleet import by_ssh, crossover, crossover_verdict
from page_alloc_bench.fleet.crossover import Crossover
from page_alloc_bench.fleet.journal import Journal
from page_alloc_bench.fleet.outcome import FleetError

HOSTS = tuple(f"host{number:02}" for number in range(10))
BOOTS = 4
FLEETS = 1500


def test_half_of_the_hosts_drawn_by_chance_measure_base_first() -> None:
    drawn = set()
    for seed in range(20):
        seeds = crossover.seeds(HOSTS, seed, BOOTS)
        assert seeds == crossover.seeds(HOSTS[::-1], seed, BOOTS)
        earlier = {host for host in HOSTS if lag(schedule(BOOTS, seeds[host])) > 0}
        assert len(earlier) == len(HOSTS) / 2
        drawn.add(frozenset(earlier))
    assert len(drawn) > 15


def lag(order: list[str]) -> float:
    """By how many boots new is later than base, by the median."""
    places = [[at for at, each in enumerate(order) if each == side] for side in ("base", "new")]
    return float(np.median(places[1]) - np.median(places[0]))


@functools.cache
def orders() -> NDArray[np.bool_]:
    """Which boots are of new: for each fleet and host, as they are drawn."""
    seeds = [crossover.seeds(HOSTS, fleet, BOOTS) for fleet in range(FLEETS)]
    return np.array(
        [[[side == "new" for side in schedule(BOOTS, of[host])] for host in HOSTS] for of in seeds]
    )


def simulated(effect: float, drift: float) -> NDArray[np.float64]:
    """What fleets of hosts show: the difference of the log medians of each host.

    Hosts differ much more than their boots, whose noise is 1. drift: in each host, from its first
    boot to its last.
    """
    rng = np.random.default_rng(1)
    new = orders()
    values = rng.normal(0, 50, (*new.shape[:2], 1)) + rng.normal(0, 1, new.shape)
    values += drift * np.linspace(0, 1, new.shape[2]) + effect * new
    sides = [np.median(values[new == of].reshape(*new.shape[:2], -1), -1) for of in (False, True)]
    return np.asarray(sides[1] - sides[0])


def shown(differences: NDArray[np.float64]) -> NDArray[np.bool_]:
    """In which fleets the interval of the change, of 95 %, has no 0 in it."""
    values = np.asarray(differences, float)
    change = signed_rank.shift(Sample(values * 0, values * 0), Sample(values, values), 0.05)
    return np.asarray((change.low > 0) | (change.high < 0))


@pytest.mark.parametrize("drift", [0.0, 1.0, 3.0])
def test_no_change_is_called_one_in_at_most_one_fleet_of_twenty(drift: float) -> None:
    assert np.mean(shown(simulated(0, drift))) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / FLEETS)


def test_a_change_of_two_standard_deviations_is_found() -> None:
    spread = float(np.std(simulated(0, 0)))
    assert np.mean(shown(simulated(2 * spread, 0))) >= 0.95


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, ["ssh"]),
        (
            {"ansible_host": "10.0.0.1", "ansible_port": 2222, "ansible_user": "root"},
            ["ssh", "-p", "2222", "-l", "root", "-oHostName=10.0.0.1"],
        ),
        ({"ansible_ssh_private_key_file": "/k 1"}, ["ssh", "-i", "/k 1"]),
        (
            {"ansible_ssh_common_args": "-o 'ProxyCommand=nc %h'", "ansible_ssh_extra_args": "-4"},
            ["ssh", "-o", "ProxyCommand=nc %h", "-4"],
        ),
    ],
)
def test_hosts_are_reached_as_the_inventory_says(
    variables: dict[str, object], words: list[str]
) -> None:
    assert shlex.split(by_ssh.command(variables)) == words


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ansible_password": "x"}, "password"),
        ({"ansible_connection": "local"}, "reached by local"),
        ({"ansible_host": "{{ other }}"}, "ansible_host is a template"),
    ],
)
def test_what_ssh_cannot_do_alone_is_told(variables: dict[str, object], said: str) -> None:
    with pytest.raises(FleetError, match=said):
        by_ssh.command(variables)


class Fleet:
    """Hosts for which a shell command stands for `ab --host`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.said: list[str] = []

    def run(self, at_once: int = 9, **commands: str) -> dict[str, tuple[str, str]]:
        journal = Journal(self.place)
        journal.begin({"hosts": []})
        words = {host: ["sh", "-c", command] for host, command in commands.items()}
        Crossover(journal, words, at_once, self.said.append).run(sleep=lambda _s: None)
        return {host: (e["outcome"], e["reason"]) for host, e in journal.hosts.items()}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "fleet")


def test_what_fails_on_one_host_stops_no_other(fleet: Fleet) -> None:
    said = "echo 'error: it was so' >&2; echo '  try: help' >&2"
    assert fleet.run(
        none="exit 0", worse="exit 1", unknown="exit 2", refused=f"{said}; exit 3",
        down=f"{said}; exit 5", killed="kill -9 $$",
    ) == {
        "none": ("ok", ""), "worse": ("ok", ""), "unknown": ("ok", ""),
        "refused": ("refused", "it was so"), "down": ("failed", "it was so"),
        "killed": ("failed", "ab --host was ended by signal 9"),
    }  # fmt: skip
    assert "refused: refused: it was so" in fleet.said


def test_a_kernel_that_fails_is_an_outcome_and_trouble_is_tried_again(fleet: Fleet) -> None:
    place = crossover.directory(fleet.place, "worse")
    place.mkdir(parents=True)
    lines = [{"side": "base", "end": "panic"}, {"side": "new", "end": "panic", "reason": "Oops\nx"}]
    (place / "attempts.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    runs = fleet.place / "runs"
    count = f"echo x >>{runs}"
    outcomes = {"worse": ("new-fails", "panic: Oops"), "fine": ("ok", "")}
    first = fleet.run(worse="exit 4", fine="exit 2", down="exit 5")
    assert first == {**outcomes, "down": ("failed", "it said nothing")}
    again = fleet.run(worse=count, fine=count, down="exit 0")
    assert again == {**outcomes, "down": ("ok", "")}
    assert not runs.exists()


def test_no_more_hosts_at_once_than_asked_for(fleet: Fleet) -> None:
    fleet.place.mkdir()
    going = fleet.place / "going"
    command = f"echo + >>{going}; sleep 0.05; echo - >>{going}"
    assert set(fleet.run(2, **dict.fromkeys("abcde", command)).values()) == {("ok", "")}
    number = most = 0
    for line in going.read_text().splitlines():
        number += 1 if line == "+" else -1
        most = max(most, number)
    assert most == 2


def test_one_that_a_killed_controller_has_left_is_waited_for(fleet: Fleet) -> None:
    place = crossover.directory(fleet.place, "a")
    place.mkdir(parents=True)
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def end() -> None:
            (place / "free").touch()
            fcntl.flock(lock, fcntl.LOCK_UN)

        threading.Timer(0.3, end).start()
        assert fleet.run(a=f"[ -e {place}/free ]") == {"a": ("ok", "")}
    assert "a: another process still works for it: it is waited for" in fleet.said


def kept(place: Path, host: str, factor: float) -> None:
    """The directory of a host whose comparison is over."""
    directory = crossover.directory(place, host)
    lines = []
    untimed = {k: v for k, v in recorded.documents(recorded.BASE)[0].items() if "_latenc" not in k}
    for at, side in enumerate(schedule(BOOTS, crossover.seeds(HOSTS, 1, BOOTS)[host])):
        number = sum(line["side"] == side for line in lines) + 1
        noise = np.random.default_rng([HOSTS.index(host), at]).normal(1, 0.003)
        document = recorded.plant_memory(untimed, noise * (factor if side == "new" else 1))
        # Copies of one disk share the machine-id.
        document["run"] = json.loads(json.dumps(document["run"])) | {
            "host_id": "the same", "boot_id": f"{host}-{at}", "seed": at,
            "started_at": f"2026-11-01T{10 + at}:00:00Z",
        }  # fmt: skip
        path = directory / side / f"{number:04}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
        lines.append({"side": side, "number": number, "end": "ok", "file": f"{side}/{path.name}"})
    (directory / "plan.json").write_text("{}")
    (directory / "attempts.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))


@pytest.mark.parametrize(("factor", "code"), [(0.95, 1), (1.0, 0)])
def test_the_verdict_is_of_the_hosts_that_measured_both(
    tmp_path: Path, factor: float, code: int
) -> None:
    whole, failed = HOSTS[:8], HOSTS[8:]
    for host in whole:
        kept(tmp_path, host, factor)
    made = crossover_verdict.compared(tmp_path, whole, {"only": ["idle_available_bytes_order*"]})
    known = dict.fromkeys(whole, ("ok", "")) | dict.fromkeys(failed, ("failed", "dark"))
    text, ended = crossover_verdict.tell(tmp_path, made, known)
    assert ended == code, text
    assert "base 8 hosts (32 runs), new 8 hosts (32 runs)" in text
    assert [line.split() for line in text.splitlines()[-2:]] == [
        [host, "failed", "dark"] for host in failed
    ]
    assert (tmp_path / "verdict.txt").read_text() == text
    document = json.loads((tmp_path / "verdict.json").read_text())
    assert Counter(each["outcome"] for each in document["hosts"].values()) == {"ok": 8, "failed": 2}
    # A kernel that fails on one host has no "no regression".
    known[failed[0]] = ("new-fails", "panic")
    assert crossover_verdict.tell(tmp_path, made, known)[1] == (code or 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a,", "--base", "x", "--new", "y"], "give --yes"),
        (["a,", "--new", "y", "--yes"], "give --base"),
        (["a,", "--base", "x", "--yes"], "give --new"),
        (["a,", "--base", "x", "--new", "y", "--boots", "20"], "--boots"),
    ],
)
def test_what_is_not_to_be_done_is_refused(tmp_path: Path, arguments: list[str], said: str) -> None:
    place = tmp_path / "x"
    ended = CliRunner().invoke(command, ["ab", "--dir", str(place), *arguments])
    assert ended.exit_code != 0
    assert said in ended.output
    assert not place.exists()


@pytest.mark.parametrize("verb", ["collect", "stop"])
def test_a_comparison_is_no_run_that_could_be_collected(tmp_path: Path, verb: str) -> None:
    Journal(tmp_path).begin({"hosts": [], "ab": []})
    ended = CliRunner().invoke(command, [verb, "--dir", str(tmp_path)])
    assert ended.exit_code == 2
    assert "is of `fleet ab`" in ended.output
