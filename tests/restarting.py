# SPDX-License-Identifier: GPL-2.0-only
"""Comparisons on a guest that plays a host which is restarted: the command, and what the host says.

A reset of the guest stands for switching the power off and on.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import waiting
from bundle_maker import make_bundle
from page_alloc_bench.campaign.timed import plan
from page_alloc_bench.jsonl import read as lines
from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.targets import building, kernels

RUN = ("--workload", "pairs", "--duration-s", "1", "--repeat", "1", "--alloc-orders", "0")
METRIC = "pairs_allocs_per_second"
BACK = "20m"  # however busy this machine is
ONE = ("--budget", "1s")  # one boot is measured: none is begun when the time is over
FIRST_IS_NEW = str(next(seed for seed in range(99) if plan.schedule(20, seed)[0] == "new"))
BOOT = "cat /proc/sys/kernel/random/boot_id"
# Which kernel a host boots, and which it could: all of it is in these.
STATE = (
    "find /boot /lib/modules | sort; find /boot /etc -xdev -type f | sort | xargs sha256sum; "
    "ls -d /run/page-alloc-bench* 2>&1; cat /sys/kernel/kexec_loaded"
)


class Host(Protocol):
    """A host, the ssh client with which it is called "host", and releases of its kernels."""

    @property
    def ssh(self) -> str: ...
    @property
    def old(self) -> str: ...
    @property
    def new(self) -> str: ...
    @property
    def power_hook(self) -> str: ...
    @property
    def console_command(self) -> str: ...


def make_bundles(place: Path, names: tuple[str, ...]) -> Path:
    """Build a bundle in the directory PLACE for each kernel of the list that is named."""
    for name in names:
        tree = building.tree_request(kernels.fetch(name))
        request = BuildRequest(**vars(tree), output=place / f"{name}.run")
        build(request, progress=lambda _message: None)
    return place


def with_module_for(bundles: Path, release: str, place: Path) -> Path:
    """Bundles, and one that says that it has a module for a release which never comes up."""
    place.mkdir()
    for bundle in bundles.iterdir():
        (place / bundle.name).symlink_to(bundle)
    make_bundle(place / "other.run", release=release)
    return place


def command(host: Host, bundles: Path, *words: str, new: str = "") -> list[str]:
    program = [sys.executable, "-m", "page_alloc_bench.cli", "ab", "--host", "host"]
    program += ["--ssh", host.ssh, "--bundles", str(bundles), "--back-within", BACK]
    program += ["--base", host.old, "--new", new or host.new, "--metric", METRIC]
    program += ["--accept", "load", *words]  # the load of its own boot
    return [*program, "--", *RUN]


def ab(host: Host, bundles: Path, *words: str, new: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(host, bundles, *words, new=new), stdin=subprocess.DEVNULL, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    return done


def attempts(directory: Path) -> list[dict[str, Any]]:
    return lines(directory / "attempts.jsonl")


def ends(directory: Path) -> list[tuple[str, str]]:
    return [(each["side"], each["end"]) for each in attempts(directory)]


def release_in(directory: Path) -> str:
    """The kernel of the one result in a directory."""
    (result,) = directory.iterdir()
    found: str = json.loads(result.read_text())["run"]["kernel"]["release"]
    return found


def uninstall(host: Host) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "page_alloc_bench.cli", "ab", "--uninstall"]
    return subprocess.run(
        [*program, "--host", "host", "--ssh", host.ssh], stdin=subprocess.DEVNULL, check=False,
        capture_output=True, text=True,
    )  # fmt: skip


def shell(host: Host, line: str) -> str:
    """What a line prints on the host, over a connection of its own: the host restarts."""
    words = [*host.ssh.split(), "host", line]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, check=False, capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def answers(host: Host, release: str, line: str = "true") -> bool:
    """Whether the host answers in this kernel, in which a line succeeds.

    A connection hangs that was being made when the host went down.
    """
    words = [*host.ssh.split(), "host", f'[ "$(uname -r)" = {release} ] && {line}']
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, check=False, capture_output=True,
                              timeout=60)  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def reset(host: Host) -> None:
    """Switch the host off and on, and wait for its default kernel."""
    subprocess.run(shlex.split(host.power_hook), check=True)
    assert waiting.in_a_guest(lambda: answers(host, host.old))
