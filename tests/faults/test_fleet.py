# SPDX-License-Identifier: GPL-2.0-only
"""The benchmark on many hosts: real sshds, real Ansible, real bundles, a made-up runner in them.

This machine loads no module, so that nothing is measured here: the runner of fleet_runner.py only
speaks the verbs. In test_a_real_bundle_is_refused() it is the real one.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fleet_runner
import recorded
from bundle_maker import make_bundle
from page_alloc_bench import runner
from page_alloc_bench.fleet.engine import Ended, Engine
from page_alloc_bench.fleet.rounds import LIMITS
from page_alloc_bench.packager.interpreter import Interpreter
from sshd_hosts import SshHost, free_port, make_keys
from waiting import eventually

pytestmark = [
    pytest.mark.seconds(30),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces with sshds need root"),
]

Start = Callable[..., SshHost]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_keys(tmp_path_factory.mktemp("keys") / "keys")


@pytest.fixture(scope="module")
def bundles(own_python: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a bundle for this kernel, and one for another."""
    place = tmp_path_factory.mktemp("bundles")
    source = fleet_runner.source(recorded.BASE)
    make_bundle(place / "other.run", source)
    make_bundle(place / "this.run", source, interpreters=[own_python], release=platform.release())
    return place


@pytest.fixture
def start(keys: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a host, which ends with the test."""
    hosts: list[SshHost] = []

    def begin(name: str, *marks: str, **more: object) -> SshHost:
        hosts.append(SshHost(name, tmp_path / "hosts", keys, marks, **more))  # type: ignore[arg-type]
        return hosts[-1]

    yield begin
    for host in hosts:
        host.end()


def _told(out: str) -> dict[str, str]:
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    return {name: " ".join(rest.split()) for name, rest in lines}


class Fleet:
    """The command for some hosts. ports: by name."""

    def __init__(self, place: Path, keys: Path, bundles: Path, ports: dict[str, int]) -> None:
        self.dir, self.store = place / "fleet", place / "store"
        lines = [
            f"{name} ansible_port={port} ansible_user={'user' if name == 'sudo' else 'root'}"
            for name, port in ports.items()
        ]
        lines += [
            "[all:vars]", "ansible_host=127.0.0.1",
            f"ansible_ssh_private_key_file={keys}/user",
            "ansible_ssh_common_args=-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no",
        ]  # fmt: skip
        (place / "inventory.ini").write_text("\n".join(lines) + "\n")
        self.command = [
            sys.executable, "-m", "page_alloc_bench.cli", "fleet", "run", place / "inventory.ini",
            "--bundles", bundles, "--store", self.store, "--dir", self.dir,
        ]  # fmt: skip

    def start(self, *options: object) -> subprocess.Popen[str]:
        words = [*map(str, self.command), "--poll-s", "0.3", *map(str, options)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env={**os.environ, "ANSIBLE_TIMEOUT": "10"},
        )  # fmt: skip
        return self.process

    def run(self, *options: object) -> tuple[int, dict[str, str], str]:
        """Return exit code, what stdout says of each host, and stderr."""
        process = self.start(*options)
        out, err = process.communicate(timeout=400)
        return process.returncode, _told(out), err

    def end(self, verb: str) -> tuple[int, dict[str, str], str]:
        """Return the same of what ends a fleet that nobody waits for any more."""
        ended = subprocess.run(
            [*map(str, self.command[:4]), verb, "--dir", str(self.dir)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
        return ended.returncode, _told(ended.stdout), ended.stderr

    def lines(self) -> list[dict[str, object]]:
        path = self.dir / "fleet.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def stored(self) -> int:
        return len(list((self.store / "runs").rglob("*.parquet")))


@pytest.fixture
def fleet(tmp_path: Path, keys: Path, bundles: Path) -> Iterator[Callable[..., Fleet]]:
    made: list[Fleet] = []

    def make(where: Path = bundles, **ports: int) -> Fleet:
        made.append(Fleet(tmp_path, keys, where, ports))
        return made[-1]

    yield make
    for each in made:
        each.process.kill()
        each.process.communicate()


def test_each_host_has_its_own_outcome(start: Start, fleet: Callable[..., Fleet]) -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # accepts, by its backlog, and never answers
    hosts = {
        "plain": start("plain", "result-0"),
        "nopython": start("nopython", "result-1", python=False),
        "refusing": start("refusing", "refuse"),
        "failing": start("failing", "fail"),
        "dirty": start("dirty", "result-2", "dirty"),
        "oldkernel": start("oldkernel", personality="setarch --uname-2.6"),
    }
    ports = {name: host.port for name, host in hosts.items()}
    all_ = fleet(**ports, refused=free_port(), hanging=silent.getsockname()[1])
    with silent:
        code, told, err = all_.run("--", "--iterations", "3", "--label", "note={{ 1 + 1 }} x")
    assert code == 1, err
    assert told["plain"] == told["nopython"] == "ok", err
    assert told["refusing"] == "refused made-up"
    assert told["failing"].startswith("failed the run ended with 1: ")
    assert told["failing"].endswith("error: made up to fail")
    assert told["dirty"].startswith("unclean ")
    assert told["oldkernel"].startswith("no-module no bundle has a module for 2.6.")
    assert told["refused"].startswith("unreachable ")
    assert told["hanging"].startswith("unreachable ")
    assert {name: host.left() for name, host in hosts.items()} == {name: [] for name in hosts}
    assert all_.stored() == 3
    said = (all_.dir / "log/plain.log").read_text()
    assert "--iterations 3 --label note={{ 1 + 1 }} x --output-path" in said
    assert "plain: the run has begun" in err


def test_a_host_with_its_outcome_is_left_alone(start: Start, fleet: Callable[..., Fleet]) -> None:
    host = start("plain", "result-0")
    all_ = fleet(plain=host.port)
    assert all_.run()[:2] == (0, {"plain": "ok"})
    before = all_.lines()
    host.end()
    assert all_.run()[:2] == (0, {"plain": "ok"})
    assert all_.lines() == before
    code, _, err = all_.run("--", "--iterations", "2")
    assert code == 1
    assert "with other options" in err


@pytest.mark.parametrize("when", ["it began", "the run was detached", "the result came"])
def test_a_killed_controller_goes_on(start: Start, fleet: Callable[..., Fleet], when: str) -> None:
    held = start("held", "result-0", "hold")
    all_ = fleet(held=held.port)
    run = Path(f"/proc/{_child(held)}/root/run")

    def begun() -> bool:
        return {
            "it began": (run / "times").exists(),
            "the run was detached": any(line.get("step") == "detached" for line in all_.lines()),
            "the result came": any(line.get("step") == "decided" for line in all_.lines()),
        }[when]

    if when == "the result came":
        (run / "hold").unlink()
    process = all_.start()
    assert eventually(begun, 240)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (run / "hold").unlink(missing_ok=True)
    time.sleep(0.5)
    for begun in held.var_tmp.glob("*/detached"):
        place = begun.parent
        # As a controller that dies while it copies leaves it, and a host that was booted since.
        (held.var_tmp / f"{place.name}.tmp/ansible-tmp-1").mkdir(parents=True)
        (place / "starting").write_text("another-boot 1\n")
    code, told, err = all_.run()
    assert (code, told) == (0, {"held": "ok"}), err
    assert (run / "times").read_text() == "x"  # one run, not two
    assert all_.stored() == 1
    assert held.left() == []
    assert sorted(os.listdir(all_.dir)) == [".lock", "fleet.jsonl", "log", "results"]


def test_runs_go_on_without_their_controller_until_they_are_stopped(
    start: Start, fleet: Callable[..., Fleet]
) -> None:
    hosts = {name: start(name, "result-0", "hold") for name in ("over", "going")}
    all_ = fleet(**{name: host.port for name, host in hosts.items()})
    process = all_.start()
    assert eventually(lambda: _detached(all_) == set(hosts), 240)
    assert all_.end("stop")[0] == 1
    assert "end it first, with Ctrl-C" in all_.end("stop")[2]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    Path(f"/proc/{_child(hosts['over'])}/root/run/hold").unlink()
    assert all_.end("collect")[:2] == (1, {"over": "ok", "going": "running"})
    code, told, err = all_.end("stop")
    assert code == 1, err
    assert told == {"over": "ok", "going": "stopped its run was ended before it was whole"}
    assert {name: host.left() for name, host in hosts.items()} == {name: [] for name in hosts}
    assert all_.stored() == 1
    assert all_.end("status")[:2] == (1, told)


def _detached(all_: Fleet) -> set[object]:
    return {line["host"] for line in all_.lines() if line.get("step") == "detached"}


def test_root_by_sudo_needs_no_terminal(start: Start, fleet: Callable[..., Fleet]) -> None:
    host = start("sudo", "result-0", sudo=True)
    code, told, err = fleet(sudo=host.port).run("--become")
    assert (code, told) == (0, {"sudo": "ok"}), err
    assert host.left() == []


def test_sudo_that_wants_a_terminal_is_told(start: Start, fleet: Callable[..., Fleet]) -> None:
    host = start("sudo", sudo=True, more="echo 'Defaults requiretty' >>/etc/sudoers")
    code, told, err = fleet(sudo=host.port).run("--become")
    why = "failed look ended with 1: sudo: sorry, you must have a tty to run sudo"
    assert (code, told, host.left()) == (1, {"sudo": why}, []), err


def test_a_host_whose_disk_is_full_says_so(start: Start, fleet: Callable[..., Fleet]) -> None:
    full = start("full", "result-0", more="mount -t tmpfs -o size=16k,mode=1777 tmpfs /var/tmp")
    with_room = start("with-room", "result-1")
    code, told, err = fleet(full=full.port, room=with_room.port).run()
    assert (code, told["room"]) == (1, "ok"), err
    assert "no space left" in told["full"].lower(), told
    assert os.listdir(f"/proc/{_child(full)}/root/var/tmp") == []


def test_a_host_that_greets_and_a_directory_with_a_space(
    start: Start, fleet: Callable[..., Fleet], tmp_path: Path
) -> None:
    host = start("greeting", "result-0", greeting=True)
    all_ = fleet(greeting=host.port)
    code, told, err = all_.run("--dir", tmp_path / "two words")
    assert (code, told) == (0, {"greeting": "ok"}), err
    assert host.left() == []
    assert (tmp_path / "two words/log/greeting.log").exists()


def test_a_host_behind_a_gate_whose_var_tmp_lets_no_program_run(
    start: Start, fleet: Callable[..., Fleet], keys: Path, tmp_path: Path
) -> None:
    gate = start("gate")
    host = start("behind", "result-0", more="mount -o remount,bind,noexec /var/tmp")
    all_ = fleet(behind=host.port)
    jump = f"ssh -W %h:%p -p {gate.port} -i {keys}/user -o UserKnownHostsFile=/dev/null"
    jump += " -o StrictHostKeyChecking=no root@127.0.0.1"
    inventory = tmp_path / "inventory.ini"
    with inventory.open("a") as file:
        file.write(f"ansible_ssh_extra_args=-o ProxyCommand='{jump}'\n")
    code, told, err = all_.run()
    assert (code, told) == (0, {"behind": "ok"}), err
    assert (gate.left(), host.left()) == ([], [])
    assert "Accepted publickey" in gate.log.read_text()


def test_nothing_but_ours_is_there_during_a_run(start: Start, fleet: Callable[..., Fleet]) -> None:
    held = start("held", "result-0", "hold")
    all_ = fleet(held=held.port)
    process = all_.start()
    assert eventually(lambda: any(x.get("step") == "detached" for x in all_.lines()), 240)
    (place,) = [name for name in held.left() if not name.endswith(".tmp")]
    assert set(held.left()) <= {place, f"{place}.tmp"}
    assert place.startswith("page-alloc-bench-fleet.")
    Path(f"/proc/{_child(held)}/root/run/hold").unlink()
    process.communicate(timeout=400)
    assert process.returncode == 0
    assert held.left() == []


def test_where_no_bundle_fits_the_module_is_built_there(
    start: Start, fleet: Callable[..., Fleet]
) -> None:
    other = {"personality": "setarch --uname-2.6"}
    hosts = {
        "fitting": start("fitting", "result-0", "nocompiler"),
        "building": start("building", "result-1", **other),
        "bare": start("bare", "result-2", "nocompiler", **other),
    }
    all_ = fleet(**{name: host.port for name, host in hosts.items()})
    code, told, err = all_.run("--build-on-target", "--", "--label", "note={{ 1 + 1 }} x")
    assert code == 1, err
    assert told["fitting"] == told["building"] == "ok", (told, err)
    assert told["bare"] == "no-module the module cannot be built here: made up"
    said = {name: (all_.dir / f"log/{name}.log").read_text() for name in ("fitting", "building")}
    assert "--build-on-target" not in said["fitting"]
    assert "--label note={{ 1 + 1 }} x --build-on-target --output-path" in said["building"]
    assert "building: no bundle has a module for 2.6." in err
    assert {name: host.left() for name, host in hosts.items()} == {name: [] for name in hosts}


def test_what_is_told_may_take_longer_than_what_is_played(tmp_path: Path) -> None:
    """As with many hosts, whose results are all stored here."""
    names = [f"local{number}" for number in range(8)]
    inventory = tmp_path / "hosts.ini"
    inventory.write_text("".join(f"{name} ansible_connection=local\n" for name in names))
    told: list[str] = []

    def tell(ended: Ended) -> None:
        time.sleep(2)
        told.append(ended.host)

    facts = {"place": str(tmp_path / "nothing"), "limits": LIMITS, "mark": "mark"}
    engine = Engine(str(inventory), tmp_path, forks=8, become=False)
    engine.play("remove", names, facts, tell)
    assert sorted(told) == names


def test_batches_of_drained_hosts(
    start: Start, fleet: Callable[..., Fleet], tmp_path: Path
) -> None:
    hosts = {name: start(name, f"result-{n}") for n, name in enumerate(("a", "b"))}
    all_ = fleet(**{name: host.port for name, host in hosts.items()})
    log = tmp_path / "hooks"
    words = [f"--{name}=echo {name} $1 >>{log}" for name in ("drain", "undrain")]
    code, told, err = all_.run("--batch", 1, "--pause", 0.1, *words)
    assert (code, told) == (0, {"a": "ok", "b": "ok"}), err
    assert log.read_text().splitlines() == ["drain a", "undrain a", "drain b", "undrain b"]
    steps = [(x["host"], x["step"]) for x in all_.lines() if "host" in x]
    assert steps.index(("a", "over")) < steps.index(("b", "draining"))


def test_a_run_that_takes_too_long_is_stopped(start: Start, fleet: Callable[..., Fleet]) -> None:
    held = start("held", "result-0", "hold")
    code, told, err = fleet(held=held.port).run("--longest-s", "1")
    assert code == 1
    assert told == {"held": "timeout the run took too long, and was stopped"}, err
    assert held.left() == []


def test_a_host_that_dies_in_its_run_stops_no_other(
    start: Start, fleet: Callable[..., Fleet]
) -> None:
    dying, other = start("dying", "result-0", "hold"), start("other", "result-1", "hold")
    all_ = fleet(dying=dying.port, other=other.port)
    run = Path(f"/proc/{_child(other)}/root/run")
    process = all_.start("--lost-s", "1")
    assert eventually(lambda: sum(x.get("step") == "detached" for x in all_.lines()) == 2, 240)
    dying.end()
    (run / "hold").unlink()
    out, err = process.communicate(timeout=400)
    assert process.returncode == 1
    told = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert told["other"] == "ok", err
    assert told["dying"].startswith("unreachable  no answer for 1 s"), out


def test_a_real_bundle_is_refused(
    start: Start, fleet: Callable[..., Fleet], tmp_path: Path
) -> None:
    real = Path(runner.__file__).with_name("__main__.py").read_text()
    (tmp_path / "real").mkdir()
    make_bundle(tmp_path / "real/x.run", real, release=platform.release())
    host = start("host")
    code, told, err = fleet(tmp_path / "real", host=host.port).run("--", "--iterations", "1")
    assert code == 1
    assert told["host"].startswith("refused "), (told, err)
    assert host.left() == []


def _child(host: SshHost) -> int:
    """The process in the namespaces of a host."""
    children = Path(f"/proc/{host.process.pid}/task/{host.process.pid}/children")
    return int(children.read_text().split()[0])
