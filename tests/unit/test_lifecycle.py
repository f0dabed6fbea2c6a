# SPDX-License-Identifier: GPL-2.0-only
"""Signals and the time limit end a run once, and where it does no harm."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from page_alloc_bench.runner.errors import HostUnfitError, Interrupted, TimedOut
from page_alloc_bench.runner.lifetime import claim as single
from page_alloc_bench.runner.lifetime.scratch import KEEP_VARIABLE, VARIABLE, Scratch
from page_alloc_bench.runner.lifetime.signals import STOP_SIGNALS, Signals


@pytest.fixture
def signals() -> Iterator[Signals]:
    before = {signum: signal.getsignal(signum) for signum in (*STOP_SIGNALS, signal.SIGALRM)}
    owner = Signals()
    owner.install()
    yield owner
    owner.finish()
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_a_signal_interrupts_with_the_shells_exit_code(signals: Signals, signum: int) -> None:
    with pytest.raises(Interrupted) as stopped:
        os.kill(os.getpid(), signum)
    assert stopped.value.exit_code == 128 + signum
    assert signal.Signals(signum).name in str(stopped.value)


def test_what_handles_ordinary_failures_does_not_swallow_a_signal(signals: Signals) -> None:
    def swallow() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception:
            pytest.fail("a handler of failures took a signal for one")

    with pytest.raises(Interrupted):
        swallow()


def test_a_second_signal_does_not_disturb_the_cleaning_up(signals: Signals) -> None:
    cleaned = []

    def be_interrupted_twice() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned.append(True)

    with pytest.raises(Interrupted) as stopped:
        be_interrupted_twice()
    assert cleaned
    assert stopped.value.signum == signal.SIGINT


def test_a_deferred_signal_is_raised_after_the_outermost_block(signals: Signals) -> None:
    done = []

    def work() -> None:
        with signals.deferred():
            with signals.deferred():
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("inner")
            done.append("outer")

    with pytest.raises(Interrupted):
        work()
    assert done == ["inner", "outer"]


def test_nothing_is_raised_once_all_is_said_and_done(signals: Signals) -> None:
    signals.set_timeout(0.01)
    signals.finish()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.05)


def test_a_signal_can_still_stop_the_delivery_of_the_result(signals: Signals) -> None:
    with pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGINT)
    signals.rearm()
    with pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_is_let_into_a_deferred_block_where_that_asks_for_it(signals: Signals) -> None:
    with signals.deferred():
        signals.let_in()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            signals.let_in()
    signals.rearm()
    with signals.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        signals.finish()  # nobody asked: it has come too late to matter


def test_the_timeout_goes_on_for_the_delivery_of_the_result(signals: Signals) -> None:
    signals.set_timeout(0.2)
    signals.finish()
    time.sleep(0.25)  # cleaning up takes as long as it takes
    signals.rearm()
    with pytest.raises(TimedOut) as stopped:
        time.sleep(10)
    assert stopped.value.exit_code == 124


def test_a_timeout_that_is_over_does_not_cost_the_result(signals: Signals) -> None:
    signals.set_timeout(0.01)
    with pytest.raises(TimedOut):
        time.sleep(10)
    signals.finish()
    signals.rearm()
    time.sleep(0.05)


def test_the_timeout_ends_a_sleep_with_124(signals: Signals) -> None:
    signals.set_timeout(0.05)
    with pytest.raises(TimedOut, match=r"--timeout-s=0\.05") as stopped:
        time.sleep(10)
    assert stopped.value.exit_code == 124


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        Signals().install()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGALRM):
            signal.signal(signum, signal.default_int_handler if signum == 2 else signal.SIG_DFL)
        signal.signal(signal.SIGHUP, before)


@pytest.fixture
def own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run beside each other, and beside a real run."""
    monkeypatch.setattr(single, "ADDRESS", f"\0page-alloc-bench-test-{os.getpid()}")


def test_a_second_copy_is_refused_and_told_who_runs(own_address: None) -> None:
    with single.claim(), pytest.raises(HostUnfitError, match=rf"\(PID {os.getpid()}"):
        single.claim()


def test_the_claim_ends_with_its_last_holder(own_address: None) -> None:
    claim = single.claim()
    inherited = socket.fromfd(claim.fileno(), claim.family, claim.type)
    claim.close()
    with pytest.raises(HostUnfitError):
        single.claim()
    inherited.close()
    single.claim().close()


def test_scratch_is_removed_with_all_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page-alloc-bench.1234"
    (path / "deep").mkdir(parents=True)
    path.chmod(0o700)
    monkeypatch.setenv(VARIABLE, str(path))
    Scratch.from_environment().remove()
    assert list(tmp_path.iterdir()) == []


def test_scratch_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page-alloc-bench.1234"
    path.mkdir(mode=0o700)
    monkeypatch.setenv(VARIABLE, str(path))
    monkeypatch.setenv(KEEP_VARIABLE, "")
    scratch = Scratch.from_environment()
    scratch.keep_it()
    scratch.remove()
    assert path.is_dir()
    assert os.environ[KEEP_VARIABLE]


def test_what_the_environment_claims_to_be_scratch_is_not_removed_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    shared = tmp_path / "page-alloc-bench.shared"
    shared.mkdir()
    shared.chmod(0o755)
    link = tmp_path / "page-alloc-bench.link"
    link.symlink_to(home)
    for path in (home, shared, link):
        monkeypatch.setenv(VARIABLE, str(path))
        Scratch.from_environment().remove()
    monkeypatch.setenv(VARIABLE, "")
    Scratch.from_environment().remove()
    assert {path.name for path in tmp_path.iterdir()} == {home.name, shared.name, link.name}
