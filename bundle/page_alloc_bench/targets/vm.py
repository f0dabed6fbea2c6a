# SPDX-License-Identifier: GPL-2.0-only
"""Run a bundle in a throwaway guest, over the same scp, ssh and sudo as on a real host."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from page_alloc_bench import outputs
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets import root as roots
from page_alloc_bench.targets.cache import note
from page_alloc_bench.targets.fitted import Fitted
from page_alloc_bench.targets.guest import BOOT_S, Guest
from page_alloc_bench.targets.kernels import FetchedKernel
from page_alloc_bench.targets.process import TargetError

STDOUT = Path("-")
_USER = "bench"
_REMOTE = "/home/bench/bench.run"
_PIDFILE = "/tmp/bench.pid"  # noqa: S108 (in the guest)
ASK_S = 60.0  # how often the guest is asked whether it lives
_HANGS_S = 600.0  # without an answer: even an OOM storm on an emulated CPU is over by then
_GRACE_S = 60.0  # for a run that was told to stop to write what it has
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TROUBLE = ("WARNING:", "BUG:", "Oops", "general protection fault")


class Interrupted(BaseException):
    """A signal asked this process to end; not an Exception, so that nothing else handles it."""

    def __init__(self, signum: int):
        super().__init__(signum)
        self.signum = signum


def run_bundle(
    bundle: Path,
    bench_args: Sequence[str],
    *,
    kernel: Fitted | FetchedKernel | str = kernels.DEFAULT,
    root: str = roots.DEFAULT,
    cpus: int | None = None,
    nodes: int | None = None,
    memory: str = "2G",
    output: Path | None = None,
    console: Path | None = None,
    cmdline_extra: str = "",
    icount: bool = False,
    boot_timeout: float = BOOT_S,
    accel: str = "tcg",
) -> int:
    """Run BUNDLE with BENCH_ARGS in a new guest and return its exit status.

    The JSON goes to OUTPUT, or to this process's stdout; progress and summary go to stderr as they
    come. OUTPUT appears whole or not at all, and not when the run wrote nothing; a device or a pipe
    is written to. CONSOLE gets the guest's serial log, however the run ended. The other parameters
    are those of Guest.

    A signal is passed on to the run, whose partial result is still brought back; the exit status
    is then 128 + the signal. Raises UsageError for arguments that cannot work, OutputError for what
    cannot be written, and TargetError when the guest or the connection, not the benchmark, failed.
    """

    def work() -> int:
        outputs.refuse_twins((output or STDOUT, console))
        with result_file(output or STDOUT) as stdout, opened(console) as log:
            guest = Guest(
                kernel,
                cpus,
                nodes,
                memory,
                cmdline_extra=cmdline_extra,
                icount=icount,
                root=root,
                boot_timeout=boot_timeout,
                accel=accel,
            )
            note(f"booting {guest.kernel.release} in QEMU")
            try:
                with guest:
                    note(f"the guest was ready after {guest.boot_seconds:.1f} s")
                    return _run(guest, bundle, bench_args, stdout)
            finally:
                if log:
                    log.write(guest.console().encode(errors="replace"))

    return interruptible(work)


def interruptible(work: Callable[[], int]) -> int:
    """Return what WORK returns, or 128 + the signal that ended it; it cleans up before."""
    try:
        with _signals_raised():
            return work()
    except Interrupted as interrupted:
        return 128 + interrupted.signum


def _run(guest: Guest, bundle: Path, bench_args: Sequence[str], stdout: int) -> int:
    """Copy BUNDLE into GUEST, run it, and return its exit status."""
    guest.copy_to(bundle, _REMOTE, user=_USER)
    words = shlex.join(["sudo", "./bench.run", *bench_args])
    # No terminal: with one, the guest would mix the JSON and the progress.
    process = guest.popen(
        f"chmod +x {_REMOTE} && echo $$ >{_PIDFILE} && exec {words}",
        user=_USER,
        stdout=stdout,
        # The terminal's Ctrl-C must not take the connection away before the result is here.
        start_new_session=True,
    )
    try:
        status = await_end(guest, process)
    except Interrupted as interrupted:
        _stop(guest, process, interrupted.signum)
        raise
    if status == 255:
        guest.raise_if_unreachable(_USER)
    report_trouble(guest.dmesg())
    return status


def await_end(guest: Guest, process: subprocess.Popen[bytes]) -> int:
    """Return PROCESS's exit status; raise TargetError when the guest shows no sign of life.

    A guest that is out of memory may take long to answer, but it answers in the end.
    """
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(ASK_S)
            guest.run(["true"], timeout=_HANGS_S)
    except TargetError:
        process.kill()
        process.wait()
        raise


def _stop(guest: Guest, process: subprocess.Popen[bytes], signum: int) -> None:
    """Pass SIGNUM on to the run and wait for it to write what it has; a second signal gives up."""
    name = signal.Signals(signum).name
    note(f"{name}: asking the run in the guest to stop (again to give up)")
    try:
        # To sudo, which passes it on.
        stop = f"kill -s {name.removeprefix('SIG')} $(cat {_PIDFILE})"
        guest.run(stop, check=False, timeout=_GRACE_S)
        process.wait(_GRACE_S)
    except Interrupted:
        note("giving up: the run's partial result is lost")
    except (TargetError, subprocess.TimeoutExpired) as error:
        note(f"the run did not stop as it should:  {error}")
    finally:
        process.kill()
        process.wait()


def report_trouble(log: str) -> None:
    """Show what a guest's kernel complained about in its LOG: a benchmark must not cause any."""
    lines = [line for line in log.splitlines() if any(word in line for word in _TROUBLE)]
    if lines:
        note("the guest's kernel complained:\n" + "\n".join(lines[:10]))


@contextlib.contextmanager
def _signals_raised() -> Iterator[None]:
    """Turn the signals that end a process into Interrupted, so that the guest is removed in order.

    Only the main thread can set handlers; elsewhere signals keep doing what they did.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(signum: int, _frame: FrameType | None) -> None:
        raise Interrupted(signum)

    # Under nohup a hang-up stays ignored.
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    taken = [signum for signum in _SIGNALS if not (nohup and signum == signal.SIGHUP)]
    before = {signum: signal.signal(signum, handler) for signum in taken}
    try:
        yield
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)


@contextlib.contextmanager
def result_file(output: Path) -> Iterator[int]:
    """Yield the file descriptor that takes a run's stdout; see run_bundle() about OUTPUT."""
    file = outputs.OutputFile(output)
    try:
        yield file.stream.fileno()
    finally:
        if os.fstat(file.stream.fileno()).st_size:
            file.commit()
        else:
            file.discard()


@contextlib.contextmanager
def opened(console: Path | None) -> Iterator[BinaryIO | None]:
    """Yield where the serial console is written, if that is asked for, however the run ends."""
    if console is None:
        yield None
        return
    file = outputs.OutputFile(console)
    try:
        yield file.stream
    finally:
        file.commit()
