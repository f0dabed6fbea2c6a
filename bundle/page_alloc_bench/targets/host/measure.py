# SPDX-License-Identifier: GPL-2.0-only
"""Run a bundle on a host once, with no connection while it measures, and say how that ended."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from page_alloc_bench.runner.kernel import build_identity
from page_alloc_bench.runner.kernel.build_identity import Identity
from page_alloc_bench.targets.host.console import Console
from page_alloc_bench.targets.host.facts import HostKernel
from page_alloc_bench.targets.host.restart import DownError, Restarted, Restarter, Seen
from page_alloc_bench.targets.host.shell import Shell, UnreachableError, checked
from page_alloc_bench.targets.outcome import Outcome, judged
from page_alloc_bench.targets.process import TargetError, tail

PLACE = "/run/page-alloc-bench-ab"  # root's own, of mode 0700, in memory: a restart removes it
_OWN = f"mkdir -m 700 {PLACE} 2>/dev/null; [ -O {PLACE} ] && [ ! -L {PLACE} ] && cd {PLACE}"
_POLL_S = 10.0  # each look starts a shell there
_BEGIN_S, _FETCH_S = 600.0, 900.0
_RUNNING = 0  # exit code of --status


class _TooLongError(Exception):
    """The run is not over in its time."""


@dataclass(frozen=True)
class Measurement:
    """What one boot of a side is: the kernel, more words of its command line, bundle, options.

    timeout: seconds for the restart and the run. build: which build of its release the kernel is.
    """

    kernel: HostKernel
    words: str
    bundle: Path
    options: Sequence[str]
    timeout: float
    build: Identity


def measure(restarter: Restarter, wanted: Measurement) -> Outcome:
    """Restart the host with a kernel, run, and return what came of it. Raises DownError."""
    started = restarter.clock()
    try:
        with Console(restarter.console) as console:
            restarted = restarter.into(wanted.kernel, wanted.words)
            outcome = _of_restart(restarted, wanted, restarter)
            if outcome is None:
                assert restarted.seen is not None
                deadline = started + wanted.timeout
                outcome = _Run(restarter, wanted, restarted.seen.boot_id, deadline).outcome()
            outcome = console.told(outcome)
    except DownError:
        raise
    except (TargetError, OSError) as error:
        outcome = Outcome("infra", reason=str(error))
    seconds = round(restarter.clock() - started, 1)
    return replace(outcome, facts={"seconds": seconds, **outcome.facts})


def _of_restart(restarted: Restarted, wanted: Measurement, restarter: Restarter) -> Outcome | None:
    """Return how it ended where another kernel runs than was asked for; None where the right one.

    A kernel that does not come up is told from one that was never started.
    """
    release, limit = wanted.kernel.release, f"{restarter.back_s:.0f} s"
    seen, default = restarted.seen, restarter.facts["release"]
    if restarted.cycled or seen is None:
        after = f"after --power-hook {seen.release} came up" if seen else "the host is down"
        return Outcome("boot-timeout", reason=f"{release} did not answer within {limit}; {after}")
    if seen.release == release:
        words = [*wanted.words.split(), *restarter.method.marks(wanted.kernel)]
        missing = [word for word in words if word not in seen.cmdline.split()]
        if not missing:
            return _other_build(wanted, seen)
        why = f"{release} came up without {' '.join(missing)} on its command line"
    else:
        why = f"{seen.release} came up, not {release}"
        if restarter.method.entered(wanted.kernel, wanted.words, seen.cmdline):
            why += f": the image of that name is of {seen.release}"
            return Outcome("wrong-kernel", reason=why)
        if seen.release != default:
            return Outcome("wrong-kernel", reason=f"{why}, and the host's default is {default}")
    if restarted.took:
        return Outcome("panic", reason=f"{why}: the kernel was started, and the host restarted")
    return Outcome("wrong-kernel", reason=why)


def _other_build(wanted: Measurement, seen: Seen) -> Outcome | None:
    """Return that another build of the release runs; None where not, or where nobody can tell."""
    verdict = build_identity.compare(wanted.build, seen.build)
    if verdict.same is not False or verdict.by is None:
        return None
    what, its, asked = (
        each[verdict.by] for each in (build_identity.WORDS, seen.build, wanted.build)
    )
    reason = (
        f"another build of {seen.release} came up than was asked for: its {what} is {its}, not "
        f"{asked}"
    )
    return Outcome("wrong-kernel", reason=reason)


class _Run:
    """One run of a bundle. boot: in which one. deadline: when it must be over."""

    def __init__(
        self, restarter: Restarter, wanted: Measurement, boot: str, deadline: float
    ) -> None:
        self._restarter = restarter
        self._shell: Shell = restarter.shell
        self._wanted = wanted
        self._deadline = deadline
        self._boot = boot
        digest = hashlib.sha256(wanted.bundle.read_bytes()).hexdigest()[:16]
        self._bundle = f"bench-{digest}.run"

    def outcome(self) -> Outcome:
        """Run, and return what came of it. Raises TargetError."""
        self._bring()
        code, said = self._begin()
        if code:
            return self._judged(code, said, "")
        try:
            self._await_end()
        except _TooLongError as error:
            return self._hung(str(error))
        except UnreachableError as error:
            return self._lost(str(error))
        if self._restarted():
            return Outcome("panic", reason="the host restarted during the run")
        code, said = self._attach()
        return self._judged(code, said, self._read("result.json"))

    def _bring(self) -> None:
        """See to it that the bundle is there, whole."""
        there = f"{_OWN} && [ -e {self._bundle} ]"
        if self._shell.run(there).code == 0:
            return
        checked(self._shell, f"{_OWN} && rm -f ./*", f"to use {PLACE}")
        self._shell.put(self._wanted.bundle, f"{PLACE}/new")
        checked(self._shell, f"{_OWN} && mv new {self._bundle}", "to keep the bundle")

    def _begin(self) -> tuple[int, str]:
        words = ["--detach", "--output-path", f"{PLACE}/result.json", *self._wanted.options]
        return self._bench(f"rm -f result.json said; sh {self._bundle} {shlex.join(words)}")

    def _attach(self) -> tuple[int, str]:
        return self._bench(f"sh {self._bundle} --attach", timeout=_FETCH_S)

    def _bench(self, command: str, *, timeout: float = _BEGIN_S) -> tuple[int, str]:
        """Return the exit code of a verb of the bundle, and what it said."""
        script = f"{_OWN} || exit\n{command} >/dev/null 2>said\necho $?\ntail -c 20000 said"
        text = checked(self._shell, script, "to start the bundle", timeout=timeout)
        code, _, said = text.partition("\n")
        return int(code), said

    def _await_end(self) -> None:
        """Return when the run is over. Raises _TooLongError and UnreachableError."""
        clock = self._restarter.clock
        answered = clock()
        alive = self._pid()
        # To ask the bundle would start a Python: a shell only looks whether the process is there.
        script = f"cat /proc/sys/kernel/random/boot_id; [ -e /proc/{alive} ]"
        while alive:
            if clock() > self._deadline:
                raise _TooLongError(f"the run was not over within {self._wanted.timeout:.0f} s")
            try:
                answer = self._shell.run(script)
                answered = clock()
                if answer.code or answer.out.strip() != self._boot:
                    return
            except UnreachableError:
                if clock() - answered > self._restarter.back_s:
                    raise
            self._restarter.sleep(_POLL_S)

    def _pid(self) -> int:
        """Return the number of the run's process, 0 where it is over already."""
        answer = self._shell.run(f"{_OWN} && sh {self._bundle} --status", timeout=_BEGIN_S)
        found = re.search(r'"pid": *(\d+)', answer.out)
        return int(found[1]) if answer.code == _RUNNING and found else 0

    def _restarted(self) -> bool:
        # A slow answer is not the end of a run.
        return self._restarter.up().boot_id != self._boot

    def _hung(self, why: str) -> Outcome:
        """End a run that takes too long."""
        log = self._dmesg()
        code, said = self._bench(f"sh {self._bundle} --stop; sh {self._bundle} --attach")
        reason = f"{why}; stopped, it ended with {code}"
        return Outcome("hang-in-run", reason=reason, console=said, log=log)

    def _lost(self, why: str) -> Outcome:
        """Say that the host went away in the run; have it switched off and on."""
        try:
            self._restarter.cycle()
        except DownError as error:
            self._restarter.note(str(error))
        return Outcome("hang-in-run", reason=f"the host did not answer any more: {why}")

    def _read(self, name: str) -> str:
        return self._shell.run(f"cat {PLACE}/{name}", timeout=_FETCH_S).out

    def _dmesg(self) -> str:
        return self._shell.run("dmesg").out

    def _judged(self, code: int, said: str, result: str) -> Outcome:
        log = self._dmesg()
        files = {"result.json": result.encode(), "dmesg": log.encode()}
        made = judged(code, files, tail(said, 5), self._wanted.kernel.release)
        return replace(made, console=said, log=log)
