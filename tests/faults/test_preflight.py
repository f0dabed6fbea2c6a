# SPDX-License-Identifier: GPL-2.0-only
"""The preflight on a real kernel: what is really so is found, and nothing else.

One guest, whose last test makes it refuse modules for the rest of its life.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import by_schema
import lab
from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S

pytestmark = pytest.mark.seconds(6)
BENCH = "/root/bench.run"
# What this guest has for life. Whether its emulated clock is slow differs from boot to boot.
ALWAYS = {"isolated-cpus", "panic-reboot", "init-on-alloc", "init-on-free"}
SOMETIMES = {"clocksource", "load"}
SMALL = "--alloc-orders=0 --held=200 --spread=100"
SHORT = f"--iterations=1 {SMALL} --quiet"


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[Guest]:
    extra = "isolcpus=3 init_on_free=1"
    with Guest(kernel="6.1", cpus=4, nodes=2, memory="1G", cmdline_extra=extra) as guest:
        guest.copy_to(bundle, BENCH)
        yield guest


def report(host: Guest, before: str = "", options: str = "") -> dict[str, Any]:
    """What --preflight says in JSON, before being a command to run it under."""
    done = host.run(f"{before} {BENCH} --preflight {SMALL} {options}", check=False)
    assert done.returncode in (0, 3), done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["fit"] is (done.returncode == 0)
    return told


def found(host: Guest, before: str = "", options: str = "") -> dict[str, str]:
    """The severity of each finding that this guest does not always have."""
    findings = report(host, before, options)["findings"]
    names = {finding["name"] for finding in findings}
    assert names >= ALWAYS
    return {
        finding["name"]: finding["severity"]
        for finding in findings
        if finding["name"] not in ALWAYS | SOMETIMES
    }


@contextmanager
def while_so(host: Guest, do: str, undo: str) -> Iterator[None]:
    try:
        host.run(do)
        yield
    finally:
        host.run(undo)


def test_a_guest_fit_to_run(host: Guest) -> None:
    told = report(host)
    assert told["fit"] is True
    assert found(host) == {}
    by_name = {finding["name"]: finding for finding in told["findings"]}
    assert by_name["isolated-cpus"]["found"].startswith(
        "CPU 3 is isolated, and the run uses none of them"
    )
    assert "init_on_free=1" in by_name["init-on-free"]["found"]


def test_people_get_a_table(host: Guest) -> None:
    told = host.run(f"script -qec '{BENCH} --preflight' /dev/null").stdout.replace("\r", "")
    assert "checks found nothing\na run may begin" in told
    assert "note    isolated-cpus" in told


@pytest.mark.parametrize(
    ("name", "value", "finding", "severity"),
    [
        ("vm.panic_on_oom", 1, "panic-on-oom", "refuse"),
        ("vm.oom_kill_allocating_task", 1, "oom-kill-allocating-task", "refuse"),
        ("vm.overcommit_memory", 2, "overcommit", "refuse"),
        ("kernel.softlockup_panic", 1, "softlockup-panic", "refuse"),
        ("kernel.hung_task_panic", 1, "hung-task-panic", "refuse"),
        ("kernel.panic_on_rcu_stall", 1, "rcu-stall-panic", "refuse"),
        ("kernel.panic_on_warn", 1, "panic-on-warn", "warn"),
        ("vm.nr_hugepages", 16, "hugetlb", "warn"),
    ],
)
@pytest.mark.attempt("{name}={value}", "told ({severity}), by name", "before a run")
def test_sysctls(host: Guest, name: str, value: int, finding: str, severity: str) -> None:
    before = host.run(["sysctl", "-n", name]).stdout.strip()
    with while_so(host, f"sysctl -qw {name}={value}", f"sysctl -qw {name}={before}"):
        assert found(host) == {finding: severity}
    assert found(host) == {}


@pytest.mark.attempt("samples larger than memory", "refused, by name", "before a run")
def test_latencies_that_memory_has_no_room_for(host: Guest) -> None:
    assert found(host, options="--sample-size=4194304") == {"antagonist-size": "refuse"}
    assert found(host, options="--sample-size=4194304 --latencies=none") == {}
    done = host.run(f"{BENCH} {SHORT} --sample-size=4194304", check=False)
    assert done.returncode == 3
    assert "latencies take up to 832 MiB" in done.stderr
    assert host.run("grep ^page_alloc_bench /proc/modules", check=False).stdout == ""


SWAP_ON = (
    "dd if=/dev/zero of=/swapfile bs=1M count=256 status=none && chmod 600 /swapfile "
    "&& mkswap -q /swapfile && swapon /swapfile"
)
SWAP_OFF = "swapoff /swapfile; rm -f /swapfile"
IN_GROUP = "echo $$ > /sys/fs/cgroup/pab/cgroup.procs; exec"
UNGROUP = "rmdir /sys/fs/cgroup/pab"


def group(settings: str) -> str:
    """Make a cgroup with these settings."""
    return (
        "echo '+memory +cpuset' > /sys/fs/cgroup/cgroup.subtree_control; mkdir /sys/fs/cgroup/pab; "
        f"cd /sys/fs/cgroup/pab; {settings}"
    )


def test_swap(host: Guest) -> None:
    with while_so(host, SWAP_ON, SWAP_OFF):
        assert found(host) == {"swap": "warn"}
        assert found(host, options="--no-swap") == {"swap": "note"}
    assert found(host) == {}


@pytest.mark.parametrize(
    ("settings", "findings"),
    [
        ("echo 256M > memory.max", {"memory-cgroup": "refuse"}),
        ("echo 256M > memory.high", {"memory-cgroup": "refuse"}),
        ("echo 1 > memory.oom.group", {"oom-group": "refuse"}),
        ("echo 0 > cpuset.mems", {"cpuset": "refuse"}),
        ("echo 0-1 > cpuset.cpus", {"cpu-affinity": "warn"}),
        ("echo 16G > memory.max", {}),
    ],
)
@pytest.mark.attempt("in a cgroup: {settings}", "told, by name", "before a run")
def test_cgroups(host: Guest, settings: str, findings: dict[str, str]) -> None:
    with while_so(host, group(settings), UNGROUP):
        assert found(host, before=IN_GROUP) == findings


@pytest.mark.parametrize(
    ("unshare", "finding"),
    [("unshare -pf --mount-proc", "pid-namespace"), ("unshare -r", "user-namespace")],
)
@pytest.mark.attempt("{unshare}", "refused, by name", "before a run")
def test_namespaces(host: Guest, unshare: str, finding: str) -> None:
    assert found(host, before=unshare).items() >= {finding: "refuse"}.items()


def test_signs_of_a_container(host: Guest) -> None:
    with while_so(host, "touch /run/.containerenv", "rm /run/.containerenv"):
        assert found(host) == {"container": "refuse"}


def test_an_offline_cpu(host: Guest) -> None:
    online = "/sys/devices/system/cpu/cpu2/online"
    with while_so(host, f"echo 0 > {online}", f"echo 1 > {online}"):
        assert found(host) == {"offline-cpus": "note"}


def test_memory_in_use(host: Guest) -> None:
    hog = "mount -t tmpfs -o size=700m none /mnt && head -c 550M /dev/zero > /mnt/hog"
    with while_so(host, hog, "umount /mnt"):
        assert found(host) == {"short-memory": "warn"}
    assert found(host) == {}


@pytest.mark.attempt("no room for the result", "refused, by name", "before a run")
def test_a_full_disk(host: Guest) -> None:
    with while_so(host, "mount -t tmpfs -o size=1m none /mnt", "umount /mnt"):
        assert found(host, options="--output-path /mnt/r.json") == {"output-room": "refuse"}
    assert found(host, options="--output-path /mnt/r.json") == {}


def test_load(host: Guest) -> None:
    with while_so(host, "sh -c 'while :; do :; done' >/dev/null 2>&1 & echo $! > /tmp/busy",
                  "kill $(cat /tmp/busy)"):  # fmt: skip
        pid = host.run("cat /tmp/busy").stdout.strip()
        findings = report(host)["findings"]
    assert [f["severity"] for f in findings if f"(PID {pid}) uses" in f["found"]] == ["warn"]


def test_a_refused_run_changes_nothing(host: Guest) -> None:
    with while_so(host, "sysctl -qw vm.panic_on_oom=2", "sysctl -qw vm.panic_on_oom=0"):
        done = host.run(f"{BENCH} {SHORT} --output-path /root/r.json", check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert "vm.panic_on_oom is 2" in done.stderr
    assert "sysctl vm.panic_on_oom=0; or accept it: --accept panic-on-oom" in done.stderr
    assert host.run("ls /root; grep page_alloc /proc/modules || true").stdout == "bench.run\n"


def test_a_risk_that_is_accepted(host: Guest) -> None:
    with while_so(
        host,
        "cp $(command -v sleep) /tmp/earlyoom; "
        "/tmp/earlyoom 600 >/dev/null 2>&1 & echo $! > /tmp/pid",
        "kill $(cat /tmp/pid); rm /tmp/earlyoom",
    ):
        assert found(host) == {"oom-daemon": "refuse"}
        done = host.run(f"{BENCH} {SHORT} --accept oom-daemon", check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    by_schema.hold(document)
    (accepted,) = (f for f in document["run"]["preflight"] if f["name"] == "oom-daemon")
    assert accepted["accepted"] is True
    assert any("earlyoom is running" in text for text in document["run"]["warnings"])
    assert lab.warnings_but_preflights(document) == []


def test_a_run_that_is_on(host: Guest) -> None:
    running = host.popen(f"exec {BENCH} {SHORT} --iterations=1000 --output-path /dev/null")
    try:
        for _ in range(300):
            if host.run("grep page_alloc_bench /proc/modules", check=False).returncode == 0:
                break
            time.sleep(0.1)
        (copy,) = report(host)["findings"]
        assert (copy["name"], copy["severity"]) == ("another-copy", "refuse")
        assert re.match(r"another copy \(PID \d+\) is running", copy["found"])
    finally:
        host.run("pkill -TERM -o -f 'bench.run --iter'", check=False)
        running.wait(PATIENCE_S)
    for _ in range(100):
        if host.run("grep page_alloc_bench /proc/modules", check=False).returncode:
            break
        time.sleep(0.1)
    assert found(host) == {}


WATCH_SWAP = """
import json, re, subprocess, time
RUN = subprocess.Popen({command!r}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
def child():
    try:
        with open(f"/proc/{{RUN.pid}}/task/{{RUN.pid}}/children") as file:
            for pid in file.read().split():
                with open(f"/proc/{{pid}}/status") as status:
                    text = status.read()
                if text.startswith("Name:\\tpab-findlimit"):
                    return text
    except OSError:
        pass
    return ""
most = {{"VmSwap": 0, "VmRSS": 0, "VmLck": 0}}
while RUN.poll() is None:
    text = child()
    for name in most:
        value = re.search(rf"^{{name}}:\\s*(\\d+) kB", text, re.M)
        most[name] = max(most[name], int(value[1]) if value else 0)
    time.sleep(0.02)
out, err = RUN.communicate()
log = subprocess.run(["dmesg"], capture_output=True, text=True).stdout
rows = re.findall(r"\\[ *(\\d+)\\] .* (\\d+) +\\d+ pab-findlimit$", log, re.M)
print(json.dumps({{"code": RUN.returncode, "err": err, "most": most,
                   "swapents": [int(row[1]) for row in rows]}}))
"""


@pytest.mark.attempt("swap in use, --no-swap", "not a page of the child is swapped", "a whole run")
def test_no_page_of_the_child_is_swapped(host: Guest) -> None:
    lab.install(host)
    words = [BENCH, *SHORT.split(), "--iterations=2", "--output-path=/dev/null"]
    told = {}
    with while_so(host, SWAP_ON, SWAP_OFF):
        for option in ("--no-swap", "--thp=inherit"):
            host.run("dmesg --clear")
            code = WATCH_SWAP.format(command=[*words, option])
            told[option] = lab.python(host, code, timeout=PATIENCE_S)
    locked, swapped = told["--no-swap"], told["--thp=inherit"]
    assert locked["code"] == swapped["code"] == 0, told
    # Without the option the child does swap: the guest has what it takes to show the difference.
    assert swapped["most"]["VmSwap"] > 50 << 10, told
    assert max(swapped["swapents"]) > 10_000, told
    assert locked["most"]["VmSwap"] == 0, told
    assert locked["swapents"] == [0, 0, 0, 0], told
    assert locked["most"]["VmLck"] > 500 << 10, told


@pytest.mark.attempt("kernel.modules_disabled=1", "refused, by name", "before a run")
def test_modules_disabled_for_life(host: Guest) -> None:
    host.run("sysctl -qw kernel.modules_disabled=1")
    assert found(host) == {"modules-disabled": "refuse"}
    done = host.run(f"{BENCH} {SHORT}", check=False)
    assert done.returncode == 3
    assert "kernel.modules_disabled is 1" in done.stderr
