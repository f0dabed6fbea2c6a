# SPDX-License-Identifier: GPL-2.0-only
"""A guest's machine, its archive and its scripts, and how their failures are told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from page_alloc_bench import resources
from page_alloc_bench.targets import (
    initramfs,
    machine,
    process,
    root,
    vm,
)
from page_alloc_bench.targets.process import CommandError, TargetError


@pytest.fixture(autouse=True)
def private_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's cache and overrides out of these tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PAGE_ALLOC_BENCH_MIRROR", raising=False)
    monkeypatch.delenv("PAGE_ALLOC_BENCH_SECURITY_MIRROR", raising=False)


@pytest.mark.parametrize(
    ("cpus", "nodes", "memory", "smp", "numa"),
    [
        (4, 2, "2G", "4,sockets=2,cores=2", [("0-1", 1024), ("2-3", 1024)]),
        (2, 2, "1G", "2,sockets=2,cores=1", [("0", 512), ("1", 512)]),
        (1, 1, "512M", "1,sockets=1,cores=1", [("0", 512)]),
        (4, 1, "1G", "4,sockets=4,cores=1", [("0-3", 1024)]),
        (3, 2, "1025M", "3,sockets=3,cores=1", [("0-1", 513), ("2", 512)]),
        (2, 3, "768", "2,sockets=2,cores=1", [("0", 256), ("1", 256), (None, 256)]),
    ],
)
def test_cpus_and_memory_are_spread_over_the_nodes(
    cpus: int, nodes: int, memory: str, smp: str, numa: list[tuple[str | None, int]]
) -> None:
    arguments = machine.machine(cpus, nodes, memory).arguments()
    assert arguments[arguments.index("-smp") + 1] == f"{smp},threads=1"
    wanted = []
    for node, (range_, size) in enumerate(numa):
        part = f",cpus={range_}" if range_ else ""
        wanted += [
            *("-object", f"memory-backend-ram,id=m{node},size={size}M"),
            *("-numa", f"node,nodeid={node},memdev=m{node}{part}"),
        ]
    assert arguments[-len(wanted) :] == wanted
    total = f"{sum(size for _, size in numa)}M"
    assert arguments[arguments.index("-m") + 1] == total


def test_defaults_and_instruction_counting() -> None:
    assert machine.machine(None, None, "2G") == machine.Machine(4, 2, 2048)
    with pytest.raises(TargetError, match="cannot lack memory"):
        machine.machine(4, 2, "2G", memoryless=(0,))
    with pytest.raises(TargetError, match="cannot lack memory"):
        machine.machine(4, 2, "2G", memoryless=(2,))
    counting = machine.machine(None, None, "2G", icount=True)
    assert counting == machine.Machine(1, 1, 2048, icount=True)
    line = " ".join(counting.arguments())
    assert "-icount shift=0,sleep=off -rtc clock=vm,base=2026-01-01" in line
    assert "thread=multi" not in line
    assert "icount" not in " ".join(machine.machine(4, 2, "2G").arguments())


@pytest.mark.parametrize(
    ("cpus", "nodes", "memory", "icount", "why"),
    [
        (0, 1, "1G", False, "at least one CPU"),
        (1, 0, "1G", False, "at least one CPU"),
        (256, 1, "1G", False, "at most 255"),
        (4, 2, "100M", False, "too little"),
        (4, 8, "500M", False, "64 MiB per node"),
        (2, 1, "1G", True, "needs one CPU"),
        (2, 1, "much", False, "is not an amount of memory"),
    ],
)
def test_impossible_machines(cpus: int, nodes: int, memory: str, icount: bool, why: str) -> None:
    with pytest.raises(TargetError, match=why):
        machine.machine(cpus, nodes, memory, icount=icount)


@pytest.mark.parametrize(
    ("text", "mib"), [("2G", 2048), ("1536M", 1536), ("512", 512), ("1GiB", 1024), ("1t", 1 << 20)]
)
def test_amounts_of_memory(text: str, mib: int) -> None:
    assert machine.parse_memory(text) == mib


def test_the_users_kernel_arguments_come_last() -> None:
    arguments = machine.kernel_arguments("init_on_alloc=0 loglevel=7").split()
    assert arguments[-2:] == ["init_on_alloc=0", "loglevel=7"]
    assert "quiet" not in arguments


def test_the_archive_is_one_that_cpio_reads(tmp_path: Path) -> None:
    archive = initramfs.Archive()
    archive.directory("dir")
    archive.file("dir/file", b"content", 0o755)
    archive.link("link", "dir/file")
    archive.device("console", 5, 1)
    listed = subprocess.run(
        ["cpio", "-itvn", "--quiet"], input=archive.finish(), capture_output=True, check=True
    )
    lines = [line.split() for line in listed.stdout.decode().splitlines()]
    assert [(words[0], words[2], words[3]) for words in lines] == [
        ("drwxr-xr-x", "0", "0"),
        ("-rwxr-xr-x", "0", "0"),
        ("lrwxrwxrwx", "0", "0"),
        ("crw-------", "0", "0"),
    ]
    assert lines[1][4] == "7"
    assert lines[2][-3:] == ["link", "->", "dir/file"]
    assert lines[3][4:6] == ["5,", "1"]


@pytest.mark.parametrize(
    "name", ["guest-init.sh.j2", "guest-systemd.sh.j2", "guest-initramfs.sh.j2"]
)
def test_guest_scripts_are_clean_shell(name: str) -> None:
    values = {"hostname": "h", "marker": root.READY, "modules": ["a.ko", "b.ko"]}
    values |= {"address": "10.0.2.15", "gateway": "10.0.2.2", "init": root.INIT}
    values |= {"disks": "/dev/vd?"}
    text = resources.render(name, **values)
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    if "initramfs" in name:
        assert text.index("/modules/a.ko") < text.index("/modules/b.ko")


def test_an_unknown_root_lists_those_there_are() -> None:
    with pytest.raises(
        TargetError, match="no root called 'slackware': there are bullseye, bookworm"
    ):
        root.image("slackware")


def test_a_missing_tool_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match="no-such-tool is not installed: apt-get install pkg"):
        process.need("no-such-tool", "pkg")


def test_failures_say_how_and_quote_the_end() -> None:
    script = "import sys; print('\\n'.join(map(str, range(100)))); sys.exit(3)"
    with pytest.raises(CommandError, match=r"(?s)exit status 3\n80\n.*\n99$") as caught:
        process.run([sys.executable, "-c", script])
    assert caught.value.returncode == 3
    with pytest.raises(CommandError, match="killed by signal 9"):
        process.run(["sh", "-c", "kill -9 $$"])
    with pytest.raises(CommandError, match=r"no end after 0\.2 s\nso far"):
        process.run(["sh", "-c", "echo so far; exec sleep 5"], timeout=0.2)
    with pytest.raises(CommandError, match="cannot start: No such file"):
        process.run(["/nowhere/tool"])


def test_vm_does_not_wait_for_a_guest_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging:
        asked = 0

        def run(self, _argv: list[str], timeout: float) -> None:
            self.asked += 1
            if self.asked == 3:
                raise TargetError(f"no end after {timeout:g} s")

    monkeypatch.setattr(vm, "ASK_S", 0.01)
    guest = Hanging()
    with (
        subprocess.Popen(["sleep", "100"]) as process,
        pytest.raises(TargetError, match="no end after 600 s"),
    ):
        vm.await_end(guest, process)  # type: ignore[arg-type]
    assert process.returncode == -9
    assert guest.asked == 3
    with subprocess.Popen(["sh", "-c", "exit 7"]) as process:
        assert vm.await_end(guest, process) == 7  # type: ignore[arg-type]
