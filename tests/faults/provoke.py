# SPDX-License-Identifier: GPL-2.0-only
"""Runs in a guest: start a bundle, do it wrong at a chosen moment, and say what became of it all.

Reads a request as JSON from stdin, and writes an account as JSON to stdout. The request:

    command   the words that start the bundle
    moments   where to do it, [[phase, order], …]; phases are those of the result, and "writing"
    fault     a function of FAULTS, called at each moment
    output    the file that the result goes to, if not to stdout
    unread    whether stdout is read only when the bundle has ended
    timeout_s what it was given as --timeout-s

A phase that would be over too soon is held: findlimit's child is stopped, or one of the
antagonist's workers starved, until the fault has been done, and nobody reads the result before.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from in_guest import (
    CLEAN_S,
    LAST_CPU,
    await_clean,
    free_bytes,
    kernel_log,
    loaded,
    make_hog,
    named,
    processes,
    read,
    say,
    set_online,
    spare_the_kernel,
    traces,
    write,
)

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = "/root/bench.run"
GROUP = "/sys/fs/cgroup/next-run"
CROWDED = "/mnt/crowded"
PIPE_BYTES = 4096
STOP_S = 30.0
MOST_S = 600
COMPLAINT = re.compile(r"WARNING|BUG|Oops|INFO: |general protection|lockup")
# What comes and goes with the page cache is given back first. Run in little memory of its own, it
# takes a second to fill.
NEXT_RUN = ("--iterations=1", "--alloc-orders=0", "--held=10", "--spread=10", "--quiet",
            "--accept=memory-cgroup")  # fmt: skip


class Run:
    """A bundle at work, and what it has said so far."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.started = time.monotonic()
        self.said = ""
        self.told: list[object] = []  # what else the fault has to say
        self.others: list[subprocess.Popen[bytes]] = []  # what it started, and has to end
        self._hogs = [make_hog() for phase, _ in request["moments"] if phase == "steady_wait"]
        self._hogging: subprocess.Popen[bytes] | None = None
        self._held: list[int] = []
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.out = reader
        self.process = subprocess.Popen(
            request["command"], stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE
        )  # fmt: skip
        os.close(writer)

    # How far it is

    def await_line(self, text: str) -> None:
        """Read what it says until it says this."""
        while text not in self.said:
            if not self._hear():
                raise RuntimeError(f"it ended without {text!r}; it said:\n{self.said}")

    def _hear(self) -> bool:
        data = os.read(self.process.stderr.fileno(), 65536)
        self.said += data.decode()
        return bool(data)

    def arrive(self, phase: str, order: int) -> None:
        """Return when the run is in the middle of a phase."""
        if phase == "steady_wait":
            self._starve_a_worker(order)
        line = {"writing": "results"}.get(phase, phase.replace("_", " "))
        self.await_line(f"order {order}, {line} (")
        if phase == "writing":
            if self.request["output"]:
                return  # a file takes it at once: what is to be in its way has to be there before
            self._await(lambda: not loaded())
            time.sleep(0.5)
        elif phase != "steady_wait":
            self._hold_child()

    def _hold_child(self) -> None:
        """Keep findlimit's child, and with it the phase, from ending before the fault is done."""
        self._await(self._populating)
        for pid in self._held:
            os.kill(pid, signal.SIGSTOP)

    def _populating(self) -> bool:
        there = [pid for pid in self._held if os.path.exists(f"/proc/{pid}")]
        self._held = there or named("pab-findlimit")  # which takes long
        pages = [read(f"/proc/{pid}/statm").split() for pid in self._held]
        return any(len(numbers) > 1 and int(numbers[1]) > 15000 for numbers in pages)

    def _await(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + CLEAN_S
        while not reached():
            if time.monotonic() > deadline:
                raise RuntimeError(f"nothing came of it; it said:\n{self.said}")
            time.sleep(0.01)

    def _starve_a_worker(self, order: int) -> None:
        """Leave a worker no time at all, from findlimit's end on: steady state does not come."""
        first, last = self.request["orders"][0], self.request["orders"][-1]
        if order != first:
            self.await_line(f"order {order}, configure (")
        else:
            self.await_line(f"order {last}, idle (")
            if ["idle", last] not in self.request["moments"]:
                self._await(lambda: named("pab-findlimit"))
        spare_the_kernel()
        children = [f"/proc/{pid}" for pid in named("pab-findlimit")]
        self._await(lambda: not any(map(os.path.exists, children)))  # quick, as steady state is
        self._hogging = self._hogs.pop()
        self._hogging.send_signal(signal.SIGCONT)

    @property
    def is_hogging(self) -> bool:
        """Whether a worker of the last CPU is kept from getting anywhere."""
        return self._hogging is not None

    def go_on(self) -> None:
        """Let go of what was held."""
        for pid in self._held:
            with contextlib.suppress(ProcessLookupError):  # the fault may have been its end
                os.kill(pid, signal.SIGCONT)
        self._held = []
        if self._hogging:
            self._hogging.kill()
            self._hogging.wait()
            self._hogging = None

    # Its end

    def end(self) -> dict[str, object]:
        """Return its exit code, and all that it wrote, once it is over."""
        out, streams = b"", {self.process.stderr.fileno()}
        if self.out >= 0 and not self.request["unread"]:
            streams.add(self.out)
        while streams:
            for stream in select.select(list(streams), [], [])[0]:
                data = os.read(stream, 65536)
                if not data:
                    streams.discard(stream)
                elif stream == self.out:
                    out += data
                else:
                    self.said += data.decode()
        code = self.process.wait()
        while self.request["unread"] and (data := os.read(self.out, 65536)):
            out += data
        self._await(lambda: not processes())
        return {"code": code, "out": self._written() or out.decode(), "err": self.said}

    def _written(self) -> str:
        """Return what it has written to a file, and take that away."""
        path = self.request["output"]
        text = read(path) if path else ""
        if text:
            os.unlink(path)
        return text


# The faults: each is done to a run in the middle of a phase.


def send(name: str) -> Callable[[Run], None]:
    return lambda run: run.process.send_signal(getattr(signal, name))


def two_signals(name: str) -> Callable[[Run], None]:
    """Somebody impatient sends another one while the first is being dealt with.

    Of two that come before Python gets to look at either, the second is taken first.
    """

    def fault(run: Run) -> None:
        send(name)(run)
        time.sleep(0.5)
        if run.process.poll() is None:
            send("SIGTERM")(run)

    return fault


def kill(name: str) -> Callable[[Run], None]:
    def fault(run: Run) -> None:
        pids = named(name)
        assert pids, f"there is no {name} to kill"
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    return fault


def close_stdout(run: Run) -> None:
    os.close(run.out)
    run.out = -1


def cut_connection(run: Run) -> None:
    """Kill the client, as a network that fails does sooner or later: sshd sees the end of TCP."""
    run.process.kill()
    time.sleep(1)  # sshd has to see it, and the runner that nobody listens, in this very phase


def fill_disk(_run: Run) -> None:
    path = f"{CROWDED}/filler"
    with open(path, "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(65536))
        except OSError:
            # The result's first part shall fit, and the rest not.
            filler.truncate(os.path.getsize(path) - 8192)


def take_cpu_away(run: Run) -> None:
    """Take the CPU of a worker offline for a while: not that of a hog, which keeps it."""
    cpu = LAST_CPU - 1 if run.is_hogging else LAST_CPU
    set_online(cpu, 0)
    time.sleep(1)
    set_online(cpu, 1)


def take_cpu_for_good(_run: Run) -> None:
    set_online(LAST_CPU, 0)


def start_another(run: Run) -> None:
    run.told.append(say(BENCH, *NEXT_RUN))


def force_rmmod(run: Run) -> None:
    """Debian's kernels have CONFIG_MODULE_FORCE_UNLOAD: they take the module from its users."""
    forced = subprocess.Popen(
        ["rmmod", "-f", "page_alloc_bench"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    run.others.append(forced)
    plain = say("rmmod", "page_alloc_bench")
    time.sleep(1)
    run.told.append([forced.poll(), *plain])


def offer_another_victim(run: Run) -> None:
    """Make another process a better victim for the OOM killer than the child."""
    hold = (
        "open('/proc/self/oom_score_adj', 'w').write('1000')\n"
        "held = bytearray(b'x') * (20 << 20)\nprint(flush=True)\nimport time; time.sleep(600)"
    )
    (child,) = named("pab-findlimit")
    victim = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE)
    victim.stdout.readline()
    write(f"/proc/{child}/oom_score_adj", 0)
    run.go_on()
    run.told.append([victim.wait(CLEAN_S), victim.pid])


def stop_for_long(run: Run) -> None:
    """Let the child end meanwhile."""
    run.process.send_signal(signal.SIGSTOP)
    run.go_on()
    time.sleep(STOP_S)
    run.process.send_signal(signal.SIGCONT)


def hold_until_timeout(run: Run) -> None:
    """Keep the phase from ending, so that --timeout-s ends it: its time began before this.

    Where a worker gets no time, what has been stopped ends only once that goes on.
    """
    deadline = time.monotonic() + run.request["timeout_s"] + 1
    while run.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)


def look_at_memory(run: Run) -> None:
    """No fault: what the run takes of the memory that it measures, findlimit's child left out."""
    sizes = {"Pss": 0, "Anonymous": 0}
    for pid, name in processes().items():
        rollup = "" if name == "pab-findlimit" else read(f"/proc/{pid}/smaps_rollup")
        for key in sizes:
            found = re.search(rf"^{key}: +(\d+)", rollup, re.M)
            sizes[key] += int(found[1]) * 1024 if found else 0
    run.told.append(sizes)


FAULTS: dict[str, Callable[[Run], None]] = {
    "SIGINT": two_signals("SIGINT"),
    "SIGTERM": send("SIGTERM"),
    "SIGHUP": two_signals("SIGHUP"),
    "SIGKILL": send("SIGKILL"),
    "kill the watchdog": kill("pab-watchdog"),
    "kill the child": kill("pab-findlimit"),
    "close stdout": close_stdout,
    "cut the connection": cut_connection,
    "fill the disk": fill_disk,
    "time out": hold_until_timeout,
    "take a CPU away": take_cpu_away,
    "take a CPU for good": take_cpu_for_good,
    "start another copy": start_another,
    "rmmod -f": force_rmmod,
    "offer another victim": offer_another_victim,
    "stop the runner": stop_for_long,
    "look at its memory": look_at_memory,
}


# What is left afterwards


def next_run() -> list[object]:
    """Return the exit code of a run right now, and whether it was complete."""
    write("/sys/fs/cgroup/cgroup.subtree_control", "+memory")
    os.makedirs(GROUP, exist_ok=True)
    write(f"{GROUP}/memory.max", 96 << 20)
    enter = f"echo $$ > {GROUP}/cgroup.procs; exec {BENCH} {' '.join(NEXT_RUN)}"
    code, out, err = say("sh", "-c", enter)
    complete = json.loads(str(out))["run"]["complete"] if code == 0 else None
    return [code, complete, err]


def main() -> None:
    signal.alarm(MOST_S)  # whatever hangs: end with an error that the test shows
    request = json.loads(sys.stdin.read())
    if request["fault"] == "fill the disk":
        os.makedirs(CROWDED, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24M", "tmpfs", CROWDED], check=True)
    before, free, log_before = traces(), free_bytes(), kernel_log()[-1:]
    write("/proc/sys/kernel/sched_rt_runtime_us", -1)  # or the hog leaves others a twentieth
    fault, run = FAULTS[request["fault"]], Run(request)
    try:
        for phase, order in request["moments"]:
            run.arrive(phase, order)
            arrived_s = time.monotonic() - run.started
            fault(run)
            run.go_on()
        account = run.end()
    finally:
        run.go_on()
        set_online(LAST_CPU, 1)
    if request["fault"] == "fill the disk":
        account["disk"] = sorted(os.listdir(CROWDED))
        subprocess.run(["umount", CROWDED], check=True)
    changed, back = await_clean(before, free)
    log = kernel_log()
    log = log[log.index(log_before[0]) + 1 :] if log_before and log_before[0] in log else log
    json.dump(
        {
            **account,
            "arrived_s": arrived_s,
            "told": run.told,
            "others": [[other.wait(CLEAN_S), other.stderr.read().decode()] for other in run.others],
            "changed": changed,
            "back": back,
            "log": [line for line in log if COMPLAINT.search(line)],
            "next": next_run(),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
