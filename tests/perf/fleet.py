# SPDX-License-Identifier: GPL-2.0-only
"""What many hosts cost beside their runs, a store of many runs, and a long series of kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil

import fleet_runner
import recorded
from bundle_maker import make_bundle
from page_alloc_bench.analysis import results, tidy
from page_alloc_bench.analysis.store import index, keep, place
from page_alloc_bench.analysis.trend import changes, series
from perf.figures import Figure, at_least, at_most
from sshd_hosts import SshHost, make_keys

FLEET, FORKS = 20, 5
SERIES, POINTS = 200, 40
RUNS, RELEASES, HOSTS = 10_000, 20, 200
COMMITS, BOOTS = 200, 5
OF_METRIC = "FROM metrics WHERE metric = 'idle_available_bytes' AND alloc_order = 0"
BY_RELEASE = f"SELECT release, median(median) {OF_METRIC} GROUP BY release"
WORST_HOSTS = f"SELECT host, median(median) AS m {OF_METRIC} GROUP BY host ORDER BY m LIMIT 10"


def overhead() -> Iterator[Figure]:
    """Run on sshds in namespaces; the runs themselves are over at once."""
    with tempfile.TemporaryDirectory(prefix="pab-fleet.") as scratch, ExitStack() as stack:
        top = Path(scratch)
        keys = make_keys(top / "keys")
        lines = []
        for number in range(FLEET):
            host = SshHost(f"host{number}", top / "hosts", keys, [f"result-{number}"])
            stack.callback(host.end)
            lines.append(f"{host.name} ansible_port={host.port}")
        lines += ["[all:vars]", "ansible_host=127.0.0.1", "ansible_user=root"]
        lines.append(f"ansible_ssh_private_key_file={keys}/user")
        lines.append(
            "ansible_ssh_common_args=-oUserKnownHostsFile=/dev/null -oStrictHostKeyChecking=no"
        )
        (top / "hosts.ini").write_text("\n".join(lines) + "\n")
        bundle = make_bundle(
            top / "x.run", fleet_runner.source(recorded.BASE), release=os.uname().release
        )
        command = [
            *_COMMAND, "fleet", "run", top / "hosts.ini", "--bundles", bundle, "--store",
            top / "store", "--dir", top / "fleet", "--forks", FORKS, "--poll-s", 1,
        ]  # fmt: skip
        began, most = time.monotonic(), 0.0
        with (top / "said").open("w") as said:
            words = list(map(str, command))
            process = psutil.Popen(words, stdout=said, stderr=subprocess.STDOUT)
        while process.poll() is None:
            most = max(most, _of_forks(process))
            time.sleep(0.2)
        seconds = time.monotonic() - began
        assert process.returncode == 0, (top / "said").read_text()
    yield at_most(f"fleet run, {FLEET} hosts here, s a host", seconds / FLEET, 3)
    yield at_most(f"fleet run, {FORKS} forks, MB a fork", most / FORKS, 40)


def _of_forks(command: psutil.Process) -> float:
    """Return the megabytes of what Ansible has started: its forks, and their ssh clients."""
    found = 0
    try:
        for player in command.children():
            for child in player.children(recursive=True):
                found += child.memory_full_info().pss
    except psutil.Error:
        pass  # one that has ended meanwhile; the next look counts them all
    return found / 1e6


def change_points() -> Iterator[Figure]:
    """Look for a step of two standard deviations of a boot, and where there is none."""
    rng = np.random.default_rng(3)
    run = results.load(sorted(recorded.BASE.iterdir())[0])
    statistic: Any = SimpleNamespace(better="higher")

    def searched(step: float) -> list[int]:
        values = np.where(np.arange(POINTS) >= POINTS // 2, -step, 0.0)
        points = [
            series.Point(str(at), np.exp(value + rng.normal(0, 0.01, BOOTS)), run)
            for at, value in enumerate(values)
        ]
        (found,) = changes.trends([series.Series("here", statistic, points)])
        return [change.at for change in found.changes]

    with_step = [searched(0.02) for _ in range(SERIES)]
    without = [searched(0.0) for _ in range(SERIES)]
    found = np.mean([any(abs(at - POINTS // 2) <= 1 for at in places) for places in with_step])
    yield at_least(f"a step of 2 sd in {POINTS} kernels is found, share", float(found), 0.95)
    false = np.mean([bool(places) for places in without])
    yield at_most("one is found where none is, share", float(false), 0.05)


def store() -> Iterator[Figure]:
    """Ask a store that is made of copies of the recorded runs under other names."""
    with tempfile.TemporaryDirectory(prefix="pab-store.") as scratch:
        few = place.make_store(Path(scratch) / "few")
        runs = tidy.runs(map(results.load, sorted(recorded.BASE.iterdir())), print)
        list(keep.add(few, runs))
        files = [stored.path.read_bytes() for stored in few.listed()]
        yield at_most("store, kB a run", max(map(len, files)) / 1000, 15)
        many = place.make_store(Path(scratch) / "many")
        for number in range(RUNS):
            path = many.place_of(f"6.{number % RELEASES}", f"{number % HOSTS:032x}", f"{number:x}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[number % len(files)])
        index.complete(many)
        for what, sql in (("median by release", BY_RELEASE), ("ten worst hosts", WORST_HOSTS)):
            seconds, megabytes = _asked("query", "--store", many.root, sql)
            yield at_most(f"10,000 runs, {what}, s", seconds, 2)
            yield at_most(f"10,000 runs, {what}, MB", megabytes, 500)


def trend() -> Iterator[Figure]:
    """Look at runs of many commits, which are recorded ones with some noise."""
    documents = recorded.documents(recorded.BASE)
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory(prefix="pab-trend.") as scratch:
        for number in range(COMMITS * BOOTS):
            document = recorded.plant_memory(
                documents[number % len(documents)], 1 + rng.normal(0, 0.005)
            )
            run = document["run"] = json.loads(json.dumps(document["run"]))
            run.update(
                boot_id=str(number), labels={"commit": f"{number // BOOTS:012x}"},
                started_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(number * 600)),
            )  # fmt: skip
            Path(scratch, f"{number}.json").write_text(json.dumps(document))
        store = Path(scratch, "store")
        subprocess.run([*_COMMAND, "store", "add", store, scratch], check=True)
        seconds, _ = _asked("trend", "--store", store, "--metric", "*", "-o", os.devnull)
        yield at_most("trend, 200 commits of 5 boots, s", seconds, 15)


_COMMAND = (sys.executable, "-m", "page_alloc_bench.cli")


def _asked(*arguments: object) -> tuple[float, float]:
    """Run a command; return the seconds it takes and the megabytes that it has at most."""
    began = time.monotonic()
    child = subprocess.Popen([*_COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode in (0, 1)
    return time.monotonic() - began, used.ru_maxrss / 1000
