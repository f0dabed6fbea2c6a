# SPDX-License-Identifier: GPL-2.0-only
"""However a run ends, in whatever phase, it leaves nothing behind and tells no lies.

The guest is small, for a run takes as long as filling its memory does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import lab
from page_alloc_bench.runner import result
from page_alloc_bench.targets.guest import Guest

BUNDLE = "/root/bench.run"
ORDER_4 = ["--alloc-orders=4", "--held=200", "--spread=100"]  # holds up to 75 MiB on four CPUs
ORDER_0 = ["--alloc-orders=0", "--held=200", "--spread=100"]
FREE_SLACK = 12 << 20  # what comes and goes in slab and on lists; a lost order-4 run is 50 MiB


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[Guest]:
    with Guest(kernel="6.1", cpus=4, nodes=2, memory="768M") as guest:
        guest.copy_to(bundle, BUNDLE)
        guest.run([BUNDLE, "--iterations=1", "--quiet", *ORDER_4])  # fills slab and per-CPU lists
        yield guest


@dataclass
class Outcome:
    """What a run gave, and what it left: changed traces, bytes lost, complaints of the kernel."""

    code: int
    out: str
    err: str
    changed: list[Any]
    lost: int
    log: list[str]
    others: Any

    @property
    def document(self) -> dict[str, Any]:
        """The result on stdout, held to its schema."""
        read: dict[str, Any] = json.loads(self.out)
        jsonschema.Draft202012Validator(result.schema()).validate(read)
        return read

    def assert_nothing_left(self) -> None:
        assert self.changed == []
        assert self.log == []
        assert self.lost < FREE_SLACK


def drive(host: Guest, options: list[str], *, at: str, do: str, pause: float = 0.3) -> Outcome:
    """Run the bundle; when stderr shows the text `at`, wait for pause and do the Python in `do`.

    It finds the bundle's process as `run`, and can leave what JSON can say in `others`.
    """
    words = {"COMMAND": [BUNDLE, *options], "AT": at, "DO": do, "PAUSE": pause}
    head = "".join(f"{name} = {value!r}\n" for name, value in words.items())
    return Outcome(**lab.python(host, head + _DRIVER, timeout=600))


_DRIVER = """
import json, os, re, signal, subprocess, tempfile, time

def read(path):
    try:
        return open(path).read()
    except (FileNotFoundError, ProcessLookupError):
        return ""

def pids():
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        comm = read(f"/proc/{pid}/comm").strip()
        if "bench.run" in read(f"/proc/{pid}/cmdline") or comm.startswith(("pab-", "pab_")):
            found[int(pid)] = comm
    return found

def free():
    open("/proc/sys/vm/drop_caches", "w").write("3")
    free = int(re.search(r"MemFree: +(\\d+)", read("/proc/meminfo"))[1]) << 10
    on_cpu_lists = map(int, re.findall(r"^ +count: (\\d+)", read("/proc/zoneinfo"), re.M))
    return free + sum(on_cpu_lists) * os.sysconf("SC_PAGE_SIZE")

def traces():
    places = "/dev/shm", "/var/tmp", "/tmp", "/run", os.getcwd(), "/root"
    return [
        sorted(f"{place}/{name}" for place in places for name in os.listdir(place)),
        sorted(line.split()[0] for line in open("/proc/modules")),
        os.path.exists("/dev/page_alloc_bench"),
        sorted(pids().values()),
    ]

def kernel_log():
    return subprocess.run(["dmesg"], capture_output=True, text=True).stdout.splitlines()

before, free_before, log_before = traces(), free(), kernel_log()[-1:]
others, at, err = None, AT, []
with tempfile.TemporaryFile(dir="/") as out:
    run = subprocess.Popen(COMMAND, stdout=out, stderr=subprocess.PIPE, text=True)
    for line in run.stderr:
        err.append(line)
        if at and at in line:
            at = ""
            time.sleep(PAUSE)
            exec(DO)
    code = run.wait()
    out.seek(0)
    text = out.read().decode()
deadline = time.monotonic() + 60
while traces() != before and time.monotonic() < deadline:
    time.sleep(0.1)
log = kernel_log()
log = log[log.index(log_before[0]) + 1 :] if log_before and log_before[0] in log else log
print(json.dumps({
    "code": code, "out": text, "err": "".join(err), "others": others,
    "changed": [traces(), before] if traces() != before else [],
    "lost": free_before - free(),
    "log": [line for line in log if re.search("WARNING|BUG|Oops", line)],
}))
"""

TWO_SIGNALS = "run.send_signal(signal.{})\ntime.sleep(0.1)\nrun.send_signal(signal.SIGTERM)"


@pytest.mark.parametrize(("name", "code"), [("SIGHUP", 129), ("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_while_idle_gives_a_result_without_the_unfinished_iteration(
    host: Guest, name: str, code: int
) -> None:
    outcome = drive(host, ORDER_4, at="order 4, idle", do=TWO_SIGNALS.format(name))
    document = outcome.document
    assert outcome.code == code, outcome.err
    assert document["run"]["complete"] is False
    assert document["run"]["ended"]["reason"] == f"stopped by {name}"
    assert document["run"]["ended"]["exit_code"] == code
    assert "idle_available_bytes_order4" not in document
    outcome.assert_nothing_left()


def test_a_signal_while_antagonized_keeps_what_was_whole(host: Guest) -> None:
    outcome = drive(
        host,
        ["--iterations=2", *ORDER_4],
        at="order 4, antagonized, iteration 1",
        do=TWO_SIGNALS.format("SIGINT"),
    )
    document = outcome.document
    assert outcome.code == 130, outcome.err
    assert len(document["idle_available_bytes_order4"]) == 2
    assert len(document["antagonized_available_bytes_order4"]) == 1
    assert document["kernel_page_allocs_order4"] == document["kernel_page_frees_order4"]
    assert [phase["name"] for phase in document["run"]["phases"] if not phase["complete"]] == [
        "antagonized"
    ]
    outcome.assert_nothing_left()


@pytest.mark.parametrize("phase", ["idle", "antagonized"])
def test_after_kill_9_every_page_comes_back(host: Guest, phase: str) -> None:
    outcome = drive(host, ["--iterations=1", *ORDER_4], at=f"order 4, {phase}", do="run.kill()")
    assert outcome.code == -9
    outcome.assert_nothing_left()


def test_the_run_cleans_up_although_its_watchdog_was_killed(host: Guest) -> None:
    kill = "[os.kill(pid, 9) for pid, name in pids().items() if name == 'pab-watchdog']"
    outcome = drive(host, ["--iterations=1", *ORDER_0], at="order 0, idle", do=kill)
    assert outcome.code == 0, outcome.err
    assert outcome.document["run"]["complete"] is True
    outcome.assert_nothing_left()


def test_a_child_killed_by_somebody_else_is_a_failure_and_no_figure(host: Guest) -> None:
    kill = """
while not (child := [pid for pid, name in pids().items() if name == "pab-findlimit"]):
    time.sleep(0.01)
os.kill(child[0], 9)
"""
    outcome = drive(host, ["--iterations=1", *ORDER_0], at="order 0, idle", do=kill)
    assert outcome.code == 1
    assert "idle_available_bytes_order0" not in outcome.document
    outcome.assert_nothing_left()


def test_memory_is_small_and_the_same_in_both_phases(host: Guest) -> None:
    """Of runner and watchdog, the child not counted.

    The proportional set size depends on how much the child still shares, and on what of Python's
    text the kernel has just thrown out; what stays the same is the memory that is our own.
    """
    look = """
others = {"Pss": 0, "Anonymous": 0}
for pid, name in pids().items():
    if name != "pab-findlimit" and not name.startswith("pab_"):
        for key in others:
            text = read(f"/proc/{pid}/smaps_rollup")
            others[key] += int(re.search(rf"^{key}: +(\\d+)", text, re.M)[1]) << 10
"""
    seen = [
        drive(host, ["--iterations=1", *ORDER_0], at=f"order 0, {phase}", do=look).others
        for phase in ("idle", "antagonized")
    ]
    assert max(sizes["Pss"] for sizes in seen) <= 25_000_000
    assert abs(seen[0]["Anonymous"] - seen[1]["Anonymous"]) <= 1_000_000


def test_a_stdout_that_nobody_reads_ends_the_run_with_1(host: Guest) -> None:
    command = " ".join([BUNDLE, "--quiet", *ORDER_0])
    done = host.run(["bash", "-c", f"{command} | true; echo ${{PIPESTATUS[0]}}"])
    assert done.stdout == "1\n"
    error = "page-alloc-bench: error: stdout was closed by its reader\n"
    assert lab.said(done.stderr) == error


def test_a_stale_module_is_replaced_with_a_warning(host: Guest) -> None:
    lab.install(host)
    host.run(["insmod", f"{lab.IN_GUEST}/page_alloc_bench.ko"])
    done = host.run([BUNDLE, "--iterations=1", "--quiet", *ORDER_0])
    assert "was loaded already, unused: it has been replaced" in done.stderr
    assert json.loads(done.stdout)["run"]["warnings"]
    assert "page_alloc_bench" not in host.run(["cat", "/proc/modules"]).stdout


def test_a_module_in_use_is_left_alone(host: Guest) -> None:
    lab.install(host)
    host.run(["insmod", f"{lab.IN_GUEST}/page_alloc_bench.ko"])
    done = host.run(f"{BUNDLE} 3</dev/page_alloc_bench", check=False)
    assert done.returncode == 3
    assert "is loaded and in use" in done.stderr
    host.run(["rmmod", "page_alloc_bench"])


def test_too_greedy_an_antagonist_is_refused(host: Guest) -> None:
    done = host.run([BUNDLE, "--held=100000"], check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert "lower --held and --spread" in done.stderr


def test_a_timeout_is_124_with_what_was_whole(host: Guest) -> None:
    options = ["--iterations=1000", "--timeout-s=15", *ORDER_0]
    outcome = drive(host, options, at="order 0, idle", do="")
    document = outcome.document
    assert outcome.code == 124, outcome.err
    assert document["run"]["complete"] is False
    values = document["idle_available_bytes_order0"]
    assert 0 < len(values) < 1000
    assert min(values) > 0.9 * max(values)  # no partial iteration among them
    assert "antagonized_available_bytes_order0" not in document
    outcome.assert_nothing_left()


def test_a_second_copy_is_turned_away_and_the_first_goes_on(host: Guest) -> None:
    second = """
second = subprocess.run(COMMAND, capture_output=True, text=True)
others = [second.returncode, second.stdout, second.stderr]
"""
    outcome = drive(host, ["--iterations=5", *ORDER_0], at="order 0, idle", do=second)
    code, out, err = outcome.others
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "another copy (PID " in err
    assert outcome.code == 0, outcome.err
    assert outcome.document["run"]["complete"] is True
    outcome.assert_nothing_left()
