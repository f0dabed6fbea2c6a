# SPDX-License-Identifier: GPL-2.0-only
"""How a fleet goes on, step by step: the journal is real, what the hosts answer is made up."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from made_up_fleet import (
    BOOT,
    GREETING,
    LOST,
    MARK,
    TIMED_OUT,
    Fleet,
    fetched,
    looked,
    ok,
    removed,
    status,
)
from page_alloc_bench import jsonl
from page_alloc_bench.fleet.engine import FAILED, UNREACHABLE, Ended
from page_alloc_bench.fleet.journal import DETACHED, DRAINED, Journal
from page_alloc_bench.fleet.outcome import FleetError
from page_alloc_bench.fleet.rounds import LIMITS


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_a_whole_run_is_ok(fleet: Fleet) -> None:
    assert fleet.run() == {"a": ("ok", "")}
    assert [name for name, _ in fleet.hosts.plays] == ["begin", "poll", "remove"]
    assert len(fleet.kept) == 1


@pytest.mark.parametrize("task", ["fetch", "stop"])
@pytest.mark.parametrize("end", [(FAILED, TIMED_OUT), (UNREACHABLE, LOST)])
def test_a_host_that_answers_and_gives_no_result_is_given_up(
    fleet: Fleet, task: str, end: tuple[str, dict[str, Any]]
) -> None:
    rc = 0 if task == "stop" else 10
    fleet.hosts.poll = lambda h: [status(h, rc), Ended(h, task, *end)]
    what, reason = fleet.run()["a"]
    assert what == "timeout"
    assert reason.startswith(f"{task} did not come to its end for 0.05 s (")


def test_a_host_that_answers_again_is_not_given_up(fleet: Fleet) -> None:
    """Each silence is shorter than what is allowed, all together are longer."""
    polls = iter(range(400))

    def poll(host: str) -> list[Ended]:
        number = next(polls)
        if number >= 300:
            return [status(host), fetched(host)]
        return [status(host, 0) if number % 3 else Ended(host, "status", UNREACHABLE, LOST)]

    fleet.hosts.poll = poll
    assert fleet.run(lost_s=0.3) == {"a": ("ok", "")}


@pytest.mark.parametrize("rc", [1, 127, 255])
def test_a_state_that_cannot_be_told_is_no_answer(fleet: Fleet, rc: int) -> None:
    """It may be without memory now: no end of the run follows from that."""
    failed = Ended("a", "status", FAILED, {"rc": rc, "stderr": "sh: Cannot fork"})
    answers = iter([[failed]] * 3)
    fleet.hosts.poll = lambda h: next(answers, [status(h), fetched(h)])
    assert fleet.run(lost_s=60.0) == {"a": ("ok", "")}


def test_a_state_that_can_never_be_told_gives_the_host_up(fleet: Fleet) -> None:
    fleet.hosts.poll = lambda h: [Ended(h, "status", FAILED, {"rc": 1, "stderr": "Cannot fork"})]
    what, reason = fleet.run()["a"]
    assert (what, "no answer for 0.05 s" in reason) == ("unreachable", True)
    assert "Cannot fork" in reason


def test_what_a_host_prints_besides_is_not_taken_for_an_answer(fleet: Fleet) -> None:
    hosts = fleet.hosts
    hosts.begin = lambda h: [looked(h, noise=GREETING), ok(h, "detach", GREETING)]
    hosts.poll = lambda h: [status(h, noise=GREETING), fetched(h, noise=GREETING)]
    hosts.remove = lambda h: [removed(h, noise=GREETING)]
    assert fleet.run() == {"a": ("ok", "")}


@pytest.mark.parametrize("stdout", ["", "Your password has expired.", f"{MARK} look 6.1 x86_64"])
def test_an_answer_that_cannot_be_read_fails_this_host_only(fleet: Fleet, stdout: str) -> None:
    good = fleet.hosts.begin
    fleet.hosts.begin = lambda h: [ok(h, "look", stdout)] if h == "odd" else good(h)
    told = fleet.run("odd", "good")
    assert told["good"] == ("ok", "")
    assert told["odd"][0] == "failed"
    assert told["odd"][1].startswith("look: its answer cannot be read")


def test_a_boot_that_cannot_be_read_is_not_another_boot(fleet: Fleet) -> None:
    odd = iter([ok("a", "status", "Last login: today\n{}", 0)])
    good = fleet.hosts.poll
    fleet.hosts.poll = lambda h: [next(odd)] if h == "a" and _left(odd) else good(h)
    assert fleet.run(lost_s=60.0) == {"a": ("ok", "")}


def _left(answers: Iterator[Ended]) -> bool:
    return bool(answers.__length_hint__())  # type: ignore[attr-defined]


def test_to_look_waits_longer_than_a_run_takes_to_begin() -> None:
    """A killed controller has left a shell that begins one; removing stops and fetches it, too."""
    assert LIMITS["look"] >= LIMITS["detach"] + 60
    assert LIMITS["remove"] >= LIMITS["detach"] + LIMITS["stop"] + 60


def test_what_a_killed_controller_began_is_removed_though_looking_takes_too_long(
    fleet: Fleet,
) -> None:
    fleet.journal.record("a", DRAINED)
    hosts = fleet.again()
    hosts.begin = lambda h: [Ended(h, "look", FAILED, TIMED_OUT)]
    assert fleet.run("a", "b") == {
        "a": ("timeout", "look: its time was over"),
        "b": ("timeout", "look: its time was over"),
    }
    assert ("remove", ["a", "b"]) in hosts.plays


def test_what_a_killed_controller_began_is_not_forgotten_where_the_host_is_dark(
    fleet: Fleet,
) -> None:
    fleet.journal.record("a", DRAINED)
    hosts = fleet.again()
    hosts.begin = lambda h: [Ended(h, "look", UNREACHABLE, LOST)]
    hosts.remove = lambda h: [Ended(h, "remove", UNREACHABLE, LOST)]
    told = fleet.run("a", "b")
    assert told["a"][1].endswith("it could not be seen whether the host is clean")
    assert told["b"] == ("unreachable", LOST["msg"])  # nothing was ever brought there


def test_after_the_first_look_a_killed_controller_has_left_nothing(fleet: Fleet) -> None:
    fleet.journal.record("a", DRAINED)
    hosts = fleet.again()
    failed = Ended("a", "copy", FAILED, {"rc": 1, "stderr": "error: no space left"})
    hosts.begin = lambda h: [looked(h), failed]
    hosts.remove = lambda h: [ok(h, "remove", f"\n{MARK} status\n")]  # no bundle is there
    assert fleet.run() == {"a": ("failed", "copy ended with 1: error: no space left")}


def test_the_first_reason_counts(fleet: Fleet) -> None:
    """What the same round tells after it follows from it."""
    other = BOOT.replace("0", "f")
    anew = ok("a", "status", f"\n{MARK} boot {other}\n{{}}", 12)
    gone = Ended("a", "fetch", FAILED, {"rc": 2, "stderr": "sh: cd: no such directory"})
    fleet.hosts.poll = lambda _host: [anew, gone]
    assert fleet.run() == {"a": ("failed", "the host was booted anew during the run")}


@pytest.mark.parametrize("stopped", [True, False])
def test_only_a_run_that_was_stopped_has_taken_too_long(fleet: Fleet, *, stopped: bool) -> None:
    """One that ended by itself, in the round in which its time was over, has failed."""
    fleet.hosts.poll = lambda h: [
        status(h, 0 if stopped else 10),
        *([ok(h, "stop")] if stopped else []),
        fetched(h, complete=False),
    ]
    assert fleet.run(longest_s=0.0)["a"][0] == ("timeout" if stopped else "failed")


def test_a_phase_with_a_name_of_ours_is_no_outcome(fleet: Fleet) -> None:
    text = json.dumps({"phase": "timeout"})
    told = ok("a", "status", f"\n{MARK} boot {BOOT}\n{text}", 10)
    fleet.hosts.poll = lambda h: [told, fetched(h, complete=False)]
    assert fleet.run()["a"][0] == "failed"


# batches and hooks


def test_batches_follow_each_other(fleet: Fleet) -> None:
    hosts = fleet.hosts
    fleet.run("a", "b", "c", "d", "e", batch=2, pause_s=0.01)
    assert [names for name, names in hosts.plays if name == "begin"] == [
        ["a", "b"], ["c", "d"], ["e"],
    ]  # fmt: skip
    order = [name for name, _ in hosts.plays]
    assert order == ["begin", "poll", "remove"] * 3


def test_a_batch_that_was_cut_off_is_ended_first(fleet: Fleet) -> None:
    fleet.journal.record("c", "detached", boot_id=BOOT)
    hosts = fleet.again()
    assert set(fleet.run("a", "b", "c", batch=2).values()) == {("ok", "")}
    assert [names for name, names in hosts.plays if name == "begin"] == [["a"], ["b"]]
    assert ("poll", ["c", "a"]) in hosts.plays or ("poll", ["a", "c"]) in hosts.plays


def hook(place: Path, name: str, extra: str = "") -> str:
    return f'echo {name} "$1" >>{place}/hooks; {extra}'


def hooks_of(place: Path) -> list[str]:
    path = place / "hooks"
    return path.read_text().splitlines() if path.exists() else []


def test_hosts_are_drained_before_and_put_back_after(fleet: Fleet, tmp_path: Path) -> None:
    hosts = fleet.hosts
    good = hosts.begin
    seen: list[list[str]] = []

    def begin(host: str) -> list[Ended]:
        seen.append(hooks_of(tmp_path))
        return good(host)

    hosts.begin = begin
    own = {"drain": hook(tmp_path, "drain"), "undrain": hook(tmp_path, "undrain")}
    assert fleet.run("a b", **own) == {"a b": ("ok", "")}
    assert seen == [["drain a b"]]
    assert hooks_of(tmp_path) == ["drain a b", "undrain a b"]


def test_a_host_that_cannot_be_drained_is_not_measured(fleet: Fleet, tmp_path: Path) -> None:
    own = {"drain": "echo no such node >&2; exit 3", "undrain": hook(tmp_path, "undrain")}
    assert fleet.run(**own) == {"a": ("failed", "drain: it ended with 3: no such node")}
    assert fleet.hosts.plays == []
    assert hooks_of(tmp_path) == ["undrain a"]  # it may be half drained


def test_a_host_that_may_not_be_clean_stays_out_of_service(fleet: Fleet, tmp_path: Path) -> None:
    fleet.hosts.remove = lambda h: [removed(h, clean=h == "good")]
    own = {"drain": "true", "undrain": hook(tmp_path, "undrain")}
    told = fleet.run("bad", "good", **own)
    assert told["bad"][0] == "unclean"
    assert told["bad"][1].endswith("; it stays drained")
    assert hooks_of(tmp_path) == ["undrain good"]


def test_a_host_that_was_never_reached_is_put_back(fleet: Fleet, tmp_path: Path) -> None:
    fleet.hosts.begin = lambda h: [Ended(h, "look", UNREACHABLE, LOST)]
    own = {"drain": "true", "undrain": hook(tmp_path, "undrain")}
    assert fleet.run(**own)["a"] == ("unreachable", LOST["msg"])
    assert hooks_of(tmp_path) == ["undrain a"]


def test_a_host_that_cannot_be_put_back_is_told(fleet: Fleet) -> None:
    told = fleet.run(drain="true", undrain="echo forbidden; exit 1")
    assert told == {"a": ("drained", "undrain: it ended with 1: forbidden")}
    assert len(fleet.kept) == 1


@pytest.mark.parametrize("step", ["draining", "removed"])
def test_hooks_go_on_where_a_controller_was_killed(fleet: Fleet, tmp_path: Path, step: str) -> None:
    facts = {"outcome": "ok", "reason": "", "there": True} if step == "removed" else {}
    fleet.journal.record("a", step, **facts)
    fleet.again()
    own = {"drain": hook(tmp_path, "drain"), "undrain": hook(tmp_path, "undrain")}
    assert fleet.run(**own) == {"a": ("ok", "")}
    wanted = ["drain a", "undrain a"] if step == "draining" else ["undrain a"]
    assert hooks_of(tmp_path) == wanted


def test_as_many_hooks_at_once_as_forks(fleet: Fleet, tmp_path: Path) -> None:
    """Each waits for the other, so that one alone would not come to its end."""
    (tmp_path / "met").mkdir()
    meet = f'touch {tmp_path}/met/"$1"; while [ ! -e {tmp_path}/met/go ]; do sleep 0.05; done'

    def release() -> None:
        while len(list((tmp_path / "met").iterdir())) < 2:
            pass
        (tmp_path / "met/go").touch()

    waiting = threading.Thread(target=release, daemon=True)
    waiting.start()
    assert set(fleet.run("a", "b", drain=meet, forks=2).values()) == {("ok", "")}
    lines = jsonl.read(tmp_path / "fleet.jsonl")
    assert [line["host"] for line in lines if line.get("step") == "draining"] == ["a", "b"]


def left_running(fleet: Fleet) -> None:
    """As a controller leaves hosts that has ended: the run of b is over, that of a is not."""
    for host in "ab":
        fleet.journal.record(host, DETACHED, boot_id=BOOT)
    fleet.journal.record("c", DRAINED)


def test_what_is_over_is_collected_and_nothing_is_waited_for(fleet: Fleet) -> None:
    left_running(fleet)
    fleet.hosts.poll = lambda h: [status(h, 0)] if h == "a" else [status(h), fetched(h)]
    assert fleet.collect(stop=False) == {"b": ("ok", "")}
    assert [name for name, _ in fleet.hosts.plays] == ["poll", "remove"]
    assert fleet.hosts.facts["poll"]["overdue"] == []
    assert fleet.journal.step("a") == DETACHED
    assert fleet.journal.step("c") == DRAINED


def test_runs_are_stopped_and_what_they_have_is_brought(fleet: Fleet) -> None:
    left_running(fleet)
    fleet.hosts.poll = lambda h: [status(h, 0), ok(h, "stop"), fetched(h, complete=h == "b")]
    stopped = fleet.collect(stop=True)
    assert fleet.hosts.facts["poll"]["overdue"] == ["a", "b"]
    assert stopped == {"a": ("stopped", "its run was ended before it was whole"), "b": ("ok", "")}
    assert (fleet.directory / "results/a.json.gz").exists()
    assert fleet.journal.step("c") == DRAINED


def test_a_fleet_that_somebody_waits_for_is_not_stopped(fleet: Fleet) -> None:
    with pytest.raises(FleetError, match=r"end it first, with Ctrl-C: the runs .* go on"):
        Journal(fleet.directory).go_on()
