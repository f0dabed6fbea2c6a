# SPDX-License-Identifier: GPL-2.0-only
"""Runs that outlive their connection, over real connections that really drop.

The guest is small, for a run takes as long as filling its memory does.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import by_schema
import lab
from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S, in_a_guest

pytestmark = pytest.mark.seconds(25)
BUNDLE = "/home/bench/bench.run"
OPTIONS = ["--iterations=1", "--alloc-orders=4", "--held=200", "--spread=100", "--sample-size=1000"]
LONG = ["--iterations=12", *OPTIONS[1:]]  # a minute and more
ENDLESS = ["--iterations=1000", *OPTIONS[1:]]
PHASES = ("idle", "antagonized")
KEPT = "/run/page-alloc-bench"
FREE_SLACK = 12 << 20  # what comes and goes in slab and on lists; a lost order-4 run is 50 MiB
# Files, modules, devices and processes that a run makes; what the kernel complains of.
TRACES = """
import json, os, re, subprocess

def read(path):
    try:
        return open(path).read()
    except (FileNotFoundError, ProcessLookupError):
        return ""

places = "/dev/shm", "/var/tmp", "/tmp", "/run", "/root", "/home/bench"
processes = [
    comm for pid in filter(str.isdigit, os.listdir("/proc"))
    if (comm := read(f"/proc/{pid}/comm").strip()).startswith(("pab-", "pab_"))
    or "bench.run" in read(f"/proc/{pid}/cmdline")
]
log = subprocess.run(["dmesg"], capture_output=True, text=True).stdout.splitlines()
print(json.dumps([
    sorted(f"{place}/{name}" for place in places for name in os.listdir(place)),
    sorted(line.split()[0] for line in open("/proc/modules")),
    os.path.exists("/dev/page_alloc_bench"),
    sorted(processes),
    [line for line in log if re.search("WARNING|BUG|Oops", line)],
]))
"""


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[Guest]:
    with Guest(kernel="6.1", cpus=4, nodes=2, memory="768M") as guest:
        guest.copy_to(bundle, BUNDLE)
        guest.run([BUNDLE, "--quiet", *OPTIONS])  # fills slab and per-CPU lists
        free = lab.free_bytes(guest)
        yield guest
        assert free - lab.free_bytes(guest) < FREE_SLACK


@pytest.fixture
def clean(host: Guest) -> Iterator[Guest]:
    """The host, which must be as it was when the test is over."""
    before = lab.python(host, TRACES)
    yield host
    if host.run(["test", "-e", KEPT], check=False).returncode == 0:  # of a test that failed
        host.run(f"{BUNDLE} --stop; {BUNDLE} --attach >/dev/null", check=False)
    left = None
    for _ in range(5):
        left = lab.python(host, TRACES)
        if left == before:
            break
    assert left == before


def connect(
    host: Guest, *words: str, user: str = "root", tty: bool = False
) -> subprocess.Popen[str]:
    """Run a command over a connection of its own, which dies with the process returned."""
    ssh, *options = host.ssh_options("ssh", user)
    return subprocess.Popen(
        [ssh, "-S", "none", "-tt" if tty else "-T", *options, "guest", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def status(host: Guest) -> dict[str, Any]:
    done = host.run([BUNDLE, "--status"], check=False)
    told: dict[str, Any] = json.loads(done.stdout)
    codes = {"running": 0, "ended": 10, "killed": 11, "none": 12}
    assert (done.returncode, done.stderr) == (codes[told["state"]], "")
    return told


def reach(host: Guest, phase: str) -> int:
    """Wait until the run is in that phase; return its PID."""
    text = host.run(
        f"until grep {phase} {KEPT}/state; do sleep 0.2; done", timeout=PATIENCE_S
    ).stdout
    return int(json.loads(text.splitlines()[0])["pid"])


def detach(host: Guest, *options: str, before: str = "") -> None:
    """Start a run; it must begin."""
    done = host.run(
        f"{before} {BUNDLE} --detach {' '.join(options)}", check=False, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "--status looks at it" in done.stderr


def document(text: str) -> dict[str, Any]:
    """A result, held to its schema."""
    read: dict[str, Any] = json.loads(text)
    by_schema.hold(read)
    return read


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.attempt(
    "connections of --detach and --attach cut",
    "the run goes on; its result is fetched later",
    "a whole run",
)
def test_a_run_outlives_its_connections(clean: Guest, tty: bool) -> None:
    """Started by an ordinary user through sudo; --attach is cut off, and comes back."""
    starter = connect(clean, "sudo", BUNDLE, "--detach", *LONG, user="bench", tty=tty)
    out, err = starter.communicate(timeout=PATIENCE_S)
    assert starter.returncode == 0, err
    said = re.search(r"the run goes on as PID (\d+): --status looks at it", out + err)
    assert said, out + err

    attached = connect(clean, "sudo", BUNDLE, "--attach", user="bench", tty=tty)
    stream = attached.stdout if tty else attached.stderr
    assert stream is not None
    while "order 4, idle" not in stream.readline():
        assert attached.poll() is None
    attached.kill()
    attached.communicate()
    attaching = "ps -eo args | grep -q '[b]ench.run --attach'"
    told = clean.run(
        f"while {attaching}; do sleep 0.2; done; {BUNDLE} --status", timeout=PATIENCE_S
    ).stdout
    assert (json.loads(told)["state"], json.loads(told)["pid"]) == ("running", int(said[1]))

    done = clean.run([BUNDLE, "--attach"], check=False)
    assert done.returncode == 0, done.stderr
    read = document(done.stdout)
    assert read["run"]["complete"] is True
    assert len(read["antagonized_available_bytes_order4"]) == 12
    for line in ("order 4, idle, iteration 12 of 12", "allocations/s per CPU"):
        assert line in done.stderr
    assert status(clean)["state"] == "none"


def test_what_is_measured_is_what_an_ordinary_run_measures(clean: Guest) -> None:
    """It takes no more memory, nor does what it was started by."""
    ordinary = json.loads(clean.run([BUNDLE, "--quiet", *OPTIONS]).stdout)
    detach(clean, *OPTIONS)
    clean.run(f"until [ -s {KEPT}/result ]; do sleep 0.5; done", timeout=PATIENCE_S)
    detached = json.loads(clean.run([BUNDLE, "--attach", "--quiet"]).stdout)
    name = "idle_available_bytes_order4"
    assert detached[name][0] == pytest.approx(ordinary[name][0], rel=0.03)


def test_it_is_small_and_holds_on_to_little(clean: Guest) -> None:
    detach(clean, *ENDLESS)
    pid = reach(clean, "idle")
    code = f"""
import json, os, re
def pss(pid):
    text = open(f"/proc/{{pid}}/smaps_rollup").read()
    return int(re.search(r"^Pss: +(\\d+)", text, re.M)[1]) << 10
children = open("/proc/{pid}/task/{pid}/children").read().split()
dogs = [pid for pid in children if "pab-watchdog" in open(f"/proc/{{pid}}/comm").read()]
used = sum(os.stat(f"{KEPT}/{{name}}").st_blocks * 512 for name in os.listdir("{KEPT}"))
size = sum(map(pss, [{pid}, *dogs]))
print(json.dumps([size, len(dogs), used, os.stat("{KEPT}").st_mode & 0o777]))
"""
    size, dogs, used, mode = lab.python(clean, code)
    assert (dogs, mode) == (1, 0o700)
    assert size <= 25_000_000
    assert used <= 16 << 10
    clean.run([BUNDLE, "--stop"])
    clean.run([BUNDLE, "--attach"], check=False)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.attempt("--stop", "ends with 143; what was whole is in the result", "{phase}")
def test_stop_leaves_a_clean_host_and_a_truthful_partial_result(clean: Guest, phase: str) -> None:
    detach(clean, *LONG)
    pid = reach(clean, phase)
    done = clean.run([BUNDLE, "--stop"], check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"waiting for PID {pid} to end" in done.stderr
    assert "the host is clean" in done.stderr
    assert "page_alloc_bench" not in clean.run(["cat", "/proc/modules"]).stdout
    told = status(clean)
    assert (told["state"], told["exit_code"], told["host_is_clean"]) == ("ended", 143, True)
    done = clean.run([BUNDLE, "--attach"], check=False)
    assert done.returncode == 143
    read = document(done.stdout)
    assert read["run"]["complete"] is False
    assert read["run"]["ended"]["reason"] == "stopped by SIGTERM"
    values = {name: read.get(f"{name}_available_bytes_order4", []) for name in PHASES}
    assert len(values[phase]) < 12
    assert len(values["idle"]) == 12 or phase == "idle"
    for whole in filter(None, values.values()):
        assert min(whole) > 0.9 * max(whole)  # no partial iteration among them


@pytest.mark.attempt(
    "--stop of a run whose connection hangs", "ends with 143; nothing left", "a whole run"
)
def test_stop_ends_an_ordinary_run_whose_connection_hangs(clean: Guest) -> None:
    ordinary = connect(clean, BUNDLE, "--output-path", "/run/result.json", *ENDLESS)
    clean.run(
        "until grep -q page_alloc_bench /proc/modules; do sleep 0.2; done", timeout=PATIENCE_S
    )
    assert (status(clean)["state"], status(clean)["detached"]) == ("running", False)
    ordinary.send_signal(signal.SIGSTOP)
    assert clean.run([BUNDLE, "--stop"], check=False).returncode == 0
    assert status(clean)["state"] == "none"
    assert document(clean.run(["cat", "/run/result.json"]).stdout)["run"]["complete"] is False
    clean.run(["rm", "/run/result.json"])
    ordinary.send_signal(signal.SIGCONT)
    ordinary.communicate()
    assert ordinary.returncode == 143


@pytest.mark.parametrize("python", ["", "embedded"])
@pytest.mark.attempt(
    "SIGKILL to a detached run", "host clean; what it said can be fetched", "a whole run"
)
def test_after_kill_9_the_host_is_clean_and_the_words_remain(clean: Guest, python: str) -> None:
    detach(clean, *ENDLESS, before=f"PAGE_ALLOC_BENCH_PYTHON={python}")
    pid = reach(clean, "idle")
    clean.run(["kill", "-9", str(pid)])
    assert in_a_guest(lambda: status(clean)["host_is_clean"])
    told = status(clean)
    assert (told["state"], told["exit_code"]) == ("killed", 137)
    done = clean.run([BUNDLE, "--attach"], check=False)
    assert (done.returncode, done.stdout) == (137, "")
    assert "order 4, idle" in done.stderr
    assert "was killed" in done.stderr


def test_by_the_embedded_python_it_is_the_same(clean: Guest) -> None:
    detach(clean, *OPTIONS, before="PAGE_ALLOC_BENCH_PYTHON=embedded")
    done = clean.run([BUNDLE, "--attach"], check=False)
    assert done.returncode == 0, done.stderr
    assert document(done.stdout)["run"]["python"]["embedded"] is True


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ([], 3, "vm.panic_on_oom is 1"),
        ([*OPTIONS, "--accept=panic-on-oom", "--output-path=/none/x"], 2, "cannot write to"),
        (["--accept=panic-on-oom", "--alloc-orders=40"], 2, "order 40 is too large"),
        (["--iterations=0"], 2, "is not a whole number"),
        (["--accept=panic-on-oom", "--held=10000000", "--spread=1"], 3, "lower --held"),
    ],
)
def test_what_is_refused_is_refused_at_once(
    clean: Guest, options: list[str], code: int, text: str
) -> None:
    clean.run(["sysctl", "-q", "vm.panic_on_oom=1"])
    try:
        done = clean.run([BUNDLE, "--detach", *options], check=False)
    finally:
        clean.run(["sysctl", "-q", "vm.panic_on_oom=0"])
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr
    assert status(clean)["state"] == "none"


def test_a_module_that_is_in_use_is_told_at_once(clean: Guest) -> None:
    lab.install(clean)
    clean.run(["insmod", f"{lab.IN_GUEST}/page_alloc_bench.ko"])
    done = clean.run(f"{BUNDLE} --detach 3</dev/page_alloc_bench", check=False)
    assert done.returncode == 3
    assert "is loaded and in use" in done.stderr
    clean.run(["rmmod", "page_alloc_bench"])


def test_only_root_may_look_and_no_second_one_starts(clean: Guest) -> None:
    clean.run("true", user="bench")  # a connection made while memory is short may take too long
    detach(clean, *ENDLESS)
    pid = reach(clean, "idle")
    clean.run(["kill", "-STOP", str(pid)])  # a run that fills memory makes all else here slow
    for verb in ("--status", "--attach", "--stop"):
        done = clean.run([BUNDLE, verb], user="bench", check=False)
        assert (done.returncode, done.stdout) == (3, "")
        assert "only root can look at a run on this host, or end it" in done.stderr
    assert clean.run(["ls", KEPT], user="bench", check=False).returncode != 0
    for words in (["--detach"], []):
        done = clean.run([BUNDLE, *words, *OPTIONS], check=False)
        assert (done.returncode, done.stdout) == (3, "")
        assert f"(PID {pid})" in done.stderr
    clean.run([BUNDLE, "--stop"])
    done = clean.run([BUNDLE, "--detach", *OPTIONS], check=False)
    assert done.returncode == 3
    assert "has not been fetched" in done.stderr
    assert clean.run(f"{BUNDLE} --attach >/dev/null", check=False).returncode == 143
