# SPDX-License-Identifier: GPL-2.0-only
"""Whatever is done to a run, in whatever phase: nothing is left behind, and nothing untrue told.

Each case leaves the host such that the next run works at once, its memory back, its log clean;
provoke.py does it in a guest, which is small, for a run takes as long as filling its memory does.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import by_schema
import lab
from page_alloc_bench.runner.workloads import available_memory
from page_alloc_bench.targets import keys
from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S

HERE = Path(__file__).parent
BENCH = "/root/bench.run"
PHASES = ("idle", "steady_wait", "antagonized", "writing")
ORDERS = (0, 4)
EVERYWHERE = [(phase, order) for phase in PHASES for order in ORDERS]
WITH_A_CHILD = [(phase, order) for phase in ("idle", "antagonized") for order in ORDERS]
# Of a run that measures both orders; the result is written once.
IN_ONE_RUN = [
    *((name, order) for name, order in available_memory.phases(ORDERS) if name in PHASES),
    ("writing", 4),
]
WITH_A_MODULE = IN_ONE_RUN[:-1]  # when the result is written, it is gone
OF_CHILDREN = [moment for moment in IN_ONE_RUN if moment in WITH_A_CHILD]
SSH = (
    "ssh", "-F", "none", "-i", "/opt/lab/login", "-o", "StrictHostKeyChecking=no",
    "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "root@127.0.0.1",
)  # fmt: skip


def name_of(moment: Moment) -> str:
    return f"{moment[0]}-order{moment[1]}"


everywhere = pytest.mark.parametrize("moment", EVERYWHERE, ids=name_of)
with_a_child = pytest.mark.parametrize("moment", WITH_A_CHILD, ids=name_of)

pytestmark = pytest.mark.seconds(50)

Account = dict[str, Any]
Moment = tuple[str, int]


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[Guest]:
    """Without init_on_alloc, the antagonist does enough for a result that fills every buffer."""
    with Guest(
        kernel="6.1", cpus=4, nodes=2, memory="768M", cmdline_extra="init_on_alloc=0"
    ) as guest:
        guest.copy_to(bundle, BENCH)
        guest.run(f"mkdir -p {lab.IN_GUEST}")
        for name in ("provoke.py", "in_guest.py"):
            guest.copy_to(HERE / name, f"{lab.IN_GUEST}/")
        guest.copy_to(keys.get_keys().login, f"{lab.IN_GUEST}/login")
        provoke(guest, "SIGTERM", [("antagonized", 4)])  # fills slab and per-CPU lists
        yield guest


def provoke(
    host: Guest,
    fault: str,
    moments: list[tuple[str, int]],
    *options: str,
    through: tuple[str, ...] = (),
    output: str | None = None,
    unread: bool = False,
    timeout_s: int = 0,
) -> Account:
    """Do it to a run at each of the moments; hold what is left behind to what must be."""
    orders = sorted({order for _, order in moments})
    # Blocks of order 4: up to 75 MiB on four CPUs, of which a lost fifteenth would show.
    words = ["--iterations=1", f"--alloc-orders={','.join(map(str, orders))}", "--held=200",
             "--spread=100", *options]  # fmt: skip
    if output:
        words.append(f"--output-path={output}")
    if timeout_s:
        words.append(f"--timeout-s={timeout_s}")
    request = {"command": [*through, BENCH, *words], "moments": moments, "fault": fault,
               "orders": orders, "output": output, "unread": unread,
               "timeout_s": timeout_s}  # fmt: skip
    done = host.run(
        ["python3", "-B", f"{lab.IN_GUEST}/provoke.py"],
        input=json.dumps(request),
        timeout=PATIENCE_S,
    )
    account: Account = json.loads(done.stdout)
    assert account["changed"] == []
    assert account["log"] == []
    assert account["back"] >= 0.995
    assert account["next"][:2] == [0, True], account["next"]
    return account


def document(account: Account) -> dict[str, Any]:
    """The result, held to its schema."""
    read: dict[str, Any] = json.loads(account["out"])
    by_schema.hold(read)
    return read


def assert_partial(account: Account, phase: str, order: int, reason: str) -> None:
    """Hold a result to what had been measured when the run was cut short in a phase."""
    read = document(account)
    ended = read["run"]["ended"]
    assert read["run"]["complete"] is False
    assert reason in ended["reason"]
    cut_short = [each["name"] for each in read["run"]["phases"] if not each["complete"]]
    assert cut_short == [phase]
    whole = PHASES.index(phase)
    assert bool(read[f"idle_available_bytes_order{order}"]) == (whole > 0)
    assert read[f"antagonized_available_bytes_order{order}"] == []
    assert bool(read[f"kernel_page_allocs_order{order}"]) == (phase == "antagonized")
    if phase == "antagonized":
        counts = [read[f"kernel_page_{what}_order{order}"] for what in ("allocs", "frees")]
        assert counts[0] == counts[1]


def assert_complete(account: Account, *orders: int) -> dict[str, Any]:
    assert account["code"] == 0, account["err"]
    read = document(account)
    assert read["run"]["complete"] is True
    for order in orders:
        for phase in ("idle", "antagonized"):
            assert len(read[f"{phase}_available_bytes_order{order}"]) == 1
    return read


@everywhere
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.attempt("{name} to the runner", "ends with 128+n; what was whole is in the result")
def test_a_signal(host: Guest, name: str, code: int, moment: Moment) -> None:
    account = provoke(host, name, [moment], unread=moment[0] == "writing")
    assert account["code"] == code, account["err"]
    assert f"stopped by {name}" in account["err"]
    if moment[0] != "writing":
        assert_partial(account, *moment, f"stopped by {name}")


@everywhere
@pytest.mark.attempt("SIGKILL to the runner", "the watchdog cleans up")
def test_sigkill(host: Guest, moment: Moment) -> None:
    account = provoke(host, "SIGKILL", [moment], unread=moment[0] == "writing")
    assert account["code"] == -9
    with pytest.raises(ValueError):
        json.loads(account["out"])


@everywhere
@pytest.mark.attempt("SIGKILL to the watchdog", "the run is complete, and cleans up itself")
def test_the_watchdog_killed(host: Guest, moment: Moment) -> None:
    assert_complete(provoke(host, "kill the watchdog", [moment]), moment[1])


@with_a_child
@pytest.mark.attempt("SIGKILL to findlimit's child", "ends with 1; no figure of it counts")
def test_the_child_killed(host: Guest, moment: Moment) -> None:
    account = provoke(host, "kill the child", [moment])
    assert account["code"] == 1, account["err"]
    assert_partial(account, *moment, "killed by SIGKILL")


@everywhere
@pytest.mark.attempt("ssh connection cut", "stops; what was whole is in --output-path")
def test_the_connection_cut(host: Guest, moment: Moment) -> None:
    """Of a real sshd. What goes to stdout is lost then, so the result is sent to a file."""
    if moment[0] == "writing":  # to stdout, and more than all the buffers on the way take
        account = provoke(host, "cut the connection", [moment], "--latencies=all",
                          "--sample-size=600000", through=SSH, unread=True)  # fmt: skip
        with pytest.raises(ValueError):
            json.loads(account["out"])
        return
    account = provoke(host, "cut the connection", [moment], through=SSH,
                      output="/root/result.json")  # fmt: skip
    assert_partial(account, *moment, "closed by its reader")


@everywhere
@pytest.mark.attempt("stdout closed by its reader", "ends with 1, saying so")
def test_stdout_closed(host: Guest, moment: Moment) -> None:
    account = provoke(host, "close stdout", [moment])
    assert account["code"] == 1
    broken = "cannot write the result to stdout: Broken pipe"
    assert (broken if moment[0] == "writing" else "stdout was closed by its") in account["err"]


@everywhere
@pytest.mark.attempt("disk of the result full", "measures on, ends with 1; no half a file")
def test_the_disk_full(host: Guest, moment: Moment) -> None:
    account = provoke(host, "fill the disk", [moment], output="/mnt/crowded/result.json")
    assert account["code"] == 1
    assert "cannot write /mnt/crowded/result.json: No space left on device" in account["err"]
    assert account["disk"] == ["filler"]


@pytest.fixture(scope="module")
def timeout_s(host: Guest) -> int:
    """As many seconds as let a run get into each of its phases here, and no more than are needed.

    The run is one to the end: it is measured how long it takes.
    """
    arrived = provoke(host, "SIGTERM", [("writing", 4)], unread=True)["arrived_s"]
    return int(1.3 * arrived) + 1


@everywhere
@pytest.mark.attempt("--timeout-s over", "ends with 124; what was whole is in the result")
@pytest.mark.seconds(65)
def test_the_timeout(host: Guest, timeout_s: int, moment: Moment) -> None:
    account = provoke(
        host, "time out", [moment], timeout_s=timeout_s, unread=moment[0] == "writing"
    )
    assert account["code"] == 124, account["err"]
    assert "not finished within --timeout-s" in account["err"]
    if moment[0] != "writing":
        assert_partial(account, *moment, "not finished within --timeout-s")


@everywhere
@pytest.mark.attempt("CPU offline and back", "complete; its worker's end is a warning")
def test_a_cpu_taken_offline_and_brought_back(host: Guest, moment: Moment) -> None:
    read = assert_complete(provoke(host, "take a CPU away", [moment]), moment[1])
    told = [text for text in read["run"]["warnings"] if "its CPU went offline" in text]
    # Before it has begun it may be back on its CPU, by chance, when it does.
    assert len(told) in {"idle": (0, 1), "writing": (0,)}.get(moment[0], (1,))
    per_cpu = read[f"kernel_page_allocs_per_cpu_order{moment[1]}"]
    assert min(per_cpu[:3]) > 0


@pytest.mark.attempt(
    "CPU offline for good", "ends with 1 at the next order; the one before is whole",
    moments=[("antagonized", 0)],
)  # fmt: skip
def test_a_cpu_that_does_not_come_back(host: Guest) -> None:
    account = provoke(host, "take a CPU for good", [("antagonized", 0)], "--alloc-orders=0,4")
    assert account["code"] == 1
    read = document(account)
    assert "cannot prepare order 4: CPU 3 has gone offline." in read["run"]["ended"]["reason"]
    assert "antagonized_available_bytes_order0" in read
    # All idle phases came before.
    assert "idle_available_bytes_order4" in read
    later = [name for name in read if name.startswith(("anta", "kern")) and "_order4" in name]
    assert not any(read[name] for name in later)


@pytest.mark.attempt(
    "second copy started", "it ends with 3; the first is complete", moments=IN_ONE_RUN
)
@pytest.mark.seconds(200)
def test_another_copy(host: Guest) -> None:
    account = provoke(host, "start another copy", IN_ONE_RUN)
    assert_complete(account, *ORDERS)
    assert len(account["told"]) == len(IN_ONE_RUN)
    for code, out, err in account["told"]:
        assert (code, out) == (3, "")
        assert "another copy (PID " in err


@pytest.mark.attempt(
    "rmmod -f, then rmmod", "one waits, the other is refused; complete", moments=WITH_A_MODULE
)
@pytest.mark.seconds(75)
def test_rmmod(host: Guest) -> None:
    account = provoke(host, "rmmod -f", WITH_A_MODULE)
    read = assert_complete(account, *ORDERS)
    assert lab.warnings_but_preflights(read) == []
    first, *later = account["told"]
    assert first[0] is None  # it waited for the session to end
    assert [forced for forced, *_ in later] == [1] * len(later)  # it is being removed already
    for _, plain, _, err in account["told"]:
        assert plain == 1
        assert "ERROR" in err
    assert account["others"][0] == [0, ""]


@pytest.mark.attempt(
    "OOM killer takes another", "complete, with a warning that names it", moments=OF_CHILDREN
)
@pytest.mark.seconds(75)
def test_the_oom_killer_takes_another(host: Guest) -> None:
    account = provoke(host, "offer another victim", OF_CHILDREN)
    read = assert_complete(account, *ORDERS)
    warnings = "\n".join(read["run"]["warnings"])
    for (status, pid), (phase, order) in zip(account["told"], OF_CHILDREN, strict=True):
        assert status == -9
        assert f"{phase} at order {order}, iteration 1: the OOM killer also took {pid} " in warnings
        assert f"{phase} at order {order}: the kernel counts 2 OOM kills, and 1 were" in warnings


@everywhere
@pytest.mark.attempt("runner stopped (SIGSTOP) for 30 s", "complete; durations are warned of")
@pytest.mark.seconds(75)
def test_the_runner_stopped_for_half_a_minute(host: Guest, moment: Moment) -> None:
    phase, order = moment
    read = assert_complete(provoke(host, "stop the runner", [moment]), order)
    about = f"{phase} at order {order}, iteration 1: this process did not run for"
    told = [text for text in read["run"]["warnings"] if text.startswith(about)]
    assert len(told) == (moment in WITH_A_CHILD)


@pytest.mark.attempt("20 runs in a row", "free memory does not drift", "from the first to the last")
@pytest.mark.seconds(450)
def test_twenty_runs_in_a_row_lose_nothing(host: Guest) -> None:
    script = f"""
import json, subprocess, sys
sys.path.insert(0, {lab.IN_GUEST!r})
import in_guest
free = []
for number in range(21):
    order = 4 * (number % 2)
    command = [{BENCH!r}, "--iterations=1", "--held=200", "--spread=100", "--quiet"]
    subprocess.run([*command, f"--alloc-orders={{order}}"], check=True, stdout=subprocess.DEVNULL)
    free.append(in_guest.free_bytes())
print(json.dumps(free))
"""
    _first, *free = json.loads(host.run(["python3", "-B", "-c", script], timeout=PATIENCE_S).stdout)
    middle = statistics.median(free)
    lost = -20 * statistics.linear_regression(range(20), free).slope
    assert lost < 0.005 * middle, free
    assert min(free) > 0.995 * middle, free


def test_memory_is_small_and_the_same_in_both_phases(host: Guest) -> None:
    """Of runner and watchdog.

    The proportional set size depends on how much the child still shares, and on what of Python's
    text the kernel has just thrown out; what stays the same is the memory that is our own.
    """
    idle, antagonized = provoke(host, "look at its memory", [("idle", 0), ("antagonized", 0)])[
        "told"
    ]
    assert max(idle["Pss"], antagonized["Pss"]) <= 25_000_000
    assert abs(idle["Anonymous"] - antagonized["Anonymous"]) <= 1_000_000
