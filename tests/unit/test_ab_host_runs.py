# SPDX-License-Identifier: GPL-2.0-only
"""How the restart of a host, and the run on it, can end: with a host that is only pretended."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

import campaigns
import waiting
from page_alloc_bench.targets.host import measure
from page_alloc_bench.targets.host.hook import Hook
from page_alloc_bench.targets.host.method import plain_restart
from page_alloc_bench.targets.host.restart import DownError, StaysError
from page_alloc_bench.targets.host.shell import Answer, UnreachableError
from page_alloc_bench.targets.outcome import Outcome
from page_alloc_bench.targets.process import TargetError
from pretended_host import BUILD_ID, NEW, OLD, VERSION, Host, measured, of, restarter


def test_the_kernel_is_loaded_with_the_present_command_line_before_the_restart() -> None:
    host = Host([NEW.release])
    seen = restarter(host).into(NEW, "init_on_alloc=0").seen
    assert seen is not None
    assert (seen.release, seen.boot_id) == (NEW.release, "boot-1")
    (load,) = [script for script in host.scripts if "kexec -l" in script]
    assert f"'--command-line=root=/dev/vda1 ro quiet init_on_alloc=0' --initrd={NEW.initrd}" in load


def test_a_host_that_goes_on_as_before_is_told_from_one_that_is_down() -> None:
    host = Host([OLD.release] * 2, down=0)
    host.restart = lambda _release: None  # type: ignore[method-assign]
    why = f"box was told to restart, and still runs {OLD.release} after 300 s"
    assert measured(host, hook=True) == ("infra", f"{why}: see there why, and restart it")
    with pytest.raises(StaysError, match=why):
        restarter(host, hook=True).into_default()


def test_what_is_loaded_does_not_outlive_a_failed_order_or_a_plain_restart() -> None:
    host = Host([NEW.release, OLD.release])
    into = restarter(host)
    into.into(NEW)
    into.into_default()
    orders = [script for script in host.scripts if "kexec -" in script]
    assert orders[0].rindex("kexec -u") > orders[0].index("systemctl kexec")
    assert orders[1].index("kexec -u") < orders[1].index("systemctl reboot")


@pytest.mark.parametrize("there", ["reboot", ""])
def test_a_host_without_systemd_restarts_with_what_it_has(there: str, tmp_path: Path) -> None:
    """What the script calls is here in the place of what a host has."""
    trigger, programs = tmp_path / "trigger", tmp_path / "programs"
    programs.mkdir()
    for name in ("sleep", "sync", there or "sync"):
        (programs / name).write_text(f"#!/bin/sh\necho {name} >>{tmp_path}/said\n")
        (programs / name).chmod(0o755)
    script = plain_restart(of(systemd="")).replace("/proc/sysrq-trigger", f">{trigger}")
    done = subprocess.run(["/bin/sh", "-c", f"{script}\nwait"], check=False,
                          env={"PATH": str(programs)}, capture_output=True)  # fmt: skip
    assert done.returncode == 0
    said = (tmp_path / "said").read_text().split()
    assert said[:2] == ["sync", "sleep"]
    assert ("reboot" in said) is bool(there)
    assert (trigger.read_text().split() if trigger.exists() else []) == ([] if there else [*"sub"])


def test_a_kernel_that_dies_and_one_that_was_not_started_are_told_apart() -> None:
    assert measured(Host([OLD.release])) == (
        "panic",
        f"{OLD.release} came up, not {NEW.release}: the kernel was started, and the host restarted",
    )


def test_a_kernel_that_does_not_come_up_is_a_result_with_and_without_a_power_hook() -> None:
    end, why = measured(Host([None]))
    assert (end, "the host is down" in why) == ("boot-timeout", True)
    end, why = measured(Host([None]), hook=True)
    assert (end, "the host is down" in why) == ("boot-timeout", True)


def test_a_console_tells_of_a_panic_and_is_kept(tmp_path: Path) -> None:
    said = tmp_path / "said"
    said.write_text("[ 1.2] Kernel panic - not syncing: VFS: no root\r\n[ 1.2] CPU: 0\n")
    host = Host([None])
    begun = host.restart

    def restart(release: str | None) -> None:
        assert waiting.eventually((tmp_path / "begun").exists)
        begun(release)

    host.restart = restart  # type: ignore[method-assign]
    words = f"cat {said}; touch {tmp_path}/begun; exec sleep 1000"
    end, why = measured(host, console=shlex.join(["sh", "-c", words]))
    assert end == "panic"
    assert why.endswith("its console has: Kernel panic - not syncing: VFS: no root")


def test_a_host_that_does_not_take_the_kernel_is_no_result_of_that_kernel() -> None:
    host = Host([])
    answers = host.run

    def run(script: str, *, timeout: float = 0) -> Answer:
        if "kexec -l" in script:
            raise UnreachableError(f"box: no answer after {timeout:g} s")
        return answers(script, timeout=timeout)

    host.run = run  # type: ignore[method-assign]
    end, why = measured(host)
    assert (end, f"still runs {OLD.release}" in why) == ("infra", True)
    assert host.boots == 0


def test_from_a_kernel_that_cannot_start_the_next_the_host_restarts_plainly_first() -> None:
    host = Host([NEW.release, OLD.release, OLD.release])
    answers = host.run

    def run(script: str, *, timeout: float = 0) -> Answer:
        if "kexec -l" in script and host.release == NEW.release:
            return Answer(1, "", "kexec_load failed: Function not implemented")
        return answers(script, timeout=timeout)

    host.run = run  # type: ignore[method-assign]
    into = restarter(host)
    into.into(NEW)
    assert into.into(OLD).seen is not None
    restarts = [script for script in host.scripts if "systemctl " in script]
    told = [("kexec -l" in each, "systemctl reboot" in each) for each in restarts]
    assert [each for each in told if any(each)] == [(True, False), (False, True), (True, False)]


def test_a_host_that_is_down_ends_it_with_what_to_do() -> None:
    host = Host([None])
    measured(host)
    with pytest.raises(DownError, match=r"switch it off and on.*--power-hook CMD"):
        measured(host)


def test_nothing_is_measured_unless_a_first_restart_works() -> None:
    with pytest.raises(DownError, match="nothing was measured; it is down: switch it off and on"):
        restarter(Host([None])).try_once(OLD)
    with pytest.raises(TargetError, match=f"gave {NEW.release}"):
        restarter(Host([NEW.release])).try_once(OLD)
    # It came back, but with another command line than it was to get.
    with pytest.raises(TargetError, match="nothing was measured"):
        restarter(Host([OLD.release])).try_once(OLD)


def test_a_hook_gets_the_host_and_the_release(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/said\n')
    hook.chmod(0o755)
    host = Host([])
    Hook(f"{hook} --now").restart(host, NEW, "")
    assert (tmp_path / "said").read_text() == f"--now box {NEW.release}\n"
    hook.write_text("#!/bin/sh\necho no such port >&2; exit 7\n")
    with pytest.raises(TargetError, match=r"ended with 7\nno such port"):
        Hook(str(hook)).restart(host, NEW, "")


class Measuring(Host):
    """Plays a host on which a run goes on for so many looks, and what becomes of it.

    ends: what happens in the middle of the run, None for nothing. code: with which it begins.
    """

    def __init__(self, *, ends: str | None = None, code: int = 0, log: str = "") -> None:
        super().__init__([NEW.release])
        self.ends, self.code, self.log = ends, code, log
        self.looks = 3
        document = campaigns.result(1.0)
        document["run"]["kernel"]["release"] = NEW.release
        self.result = json.dumps(document)

    def run(self, script: str, *, timeout: float = 0) -> Answer:
        answer = super().run(script, timeout=timeout)
        if "/proc/4711" in script:
            return self.look(timeout)
        said = {
            "--detach": f"{self.code}\nerror: it is not fit\n",
            "--status": '{"pid": 4711}',
            "--stop": "143\nstopped\n",
            "--attach": "0\nwell done\n",
            "/result.json": self.result,
            "dmesg": self.log,
        }
        known = [text for name, text in said.items() if name in script]
        return Answer(0, known[0]) if known else answer

    def look(self, timeout: float) -> Answer:
        self.looks -= 1
        if self.ends == "restart" and self.looks == 1:
            self.boots, self.release = self.boots + 1, OLD.release
        if self.ends == "silence" and self.looks == 1:
            self.back_at = float("inf")
            raise UnreachableError(f"box: no answer after {timeout} s")
        over = self.looks < 0 and self.ends != "hang"
        return Answer(int(over), f"boot-{self.boots}\n")


def outcome(host: Host, bundle: Path, **more: Any) -> Outcome:
    bundle.write_bytes(b"bundle")
    build = {"version": VERSION, "build_id": BUILD_ID}
    wanted = measure.Measurement(NEW, "", bundle, ("--repeat", "1"), 3600, build)
    return measure.measure(restarter(host, **more), wanted)


def test_a_whole_run_is_an_observation(tmp_path: Path) -> None:
    host = Measuring()
    made = outcome(host, tmp_path / "bench.run")
    assert (made.end, made.reason) == ("ok", "")
    assert made.document == json.loads(host.result)
    (begin,) = [script for script in host.scripts if "--detach" in script]
    assert "--repeat 1" in begin


@pytest.mark.parametrize("slow", [1, 2, 3, 4])
def test_a_host_that_answers_late_once_has_run(slow: int, tmp_path: Path) -> None:
    """It is asked what runs: after the restart until it answers, and at the end of the run."""
    host = Measuring()
    answers, asked = host.run, [0]

    def run(script: str, *, timeout: float = 0) -> Answer:
        if "uname -r" in script:
            asked[0] += 1
            if asked[0] == slow:
                raise UnreachableError(f"box: no answer after {timeout:g} s")
        return answers(script, timeout=timeout)

    host.run = run  # type: ignore[method-assign]
    assert outcome(host, tmp_path / "bench.run").end == "ok"
    assert asked[0] >= slow


@pytest.mark.parametrize(
    ("host", "end", "why"),
    [
        (Measuring(code=3), "refused", "it is not fit"),
        (Measuring(ends="restart"), "panic", "restarted during the run"),
        (Measuring(ends="silence"), "hang-in-run", "did not answer any more"),
        (Measuring(ends="hang"), "hang-in-run", "not over within 3600 s; stopped"),
        (Measuring(log="BUG: unable to handle page fault"), "oops-at-boot", "BUG: unable"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_that_does_not_end_well_has_a_name(
    host: Measuring, end: str, why: str, tmp_path: Path
) -> None:
    made = outcome(host, tmp_path / "bench.run")
    assert made.end == end
    assert why in made.reason
