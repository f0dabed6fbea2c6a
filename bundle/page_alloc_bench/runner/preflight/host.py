# SPDX-License-Identifier: GPL-2.0-only
"""The host as the checks see it: files below a root directory, and what the run is to be."""

from __future__ import annotations

import functools
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from page_alloc_bench.runner.bundle_file import archive
from page_alloc_bench.runner.inherited import table
from page_alloc_bench.runner.kernel import build_identity, host_facts, log, procfs
from page_alloc_bench.runner.measuring import estimate
from page_alloc_bench.runner.options import Options
from page_alloc_bench.runner.telling import output

_COMMAND_S = 10.0


@dataclass(frozen=True)
class Module:
    """What there is to load into this kernel.

    problem: why there is nothing, "" if there is. build: which build of the kernel it is made for;
    None where there is nothing. headers: where it is to be compiled here, "" if the bundle has it.
    """

    problem: str = ""
    signed: bool = False
    config: dict[str, Any] | None = None
    build: build_identity.Identity | None = None
    headers: str = ""


def own_bundle() -> str:
    """Return the words for a shell that start the bundle."""
    bundle = os.environ.get(archive.BUNDLE_VARIABLE) or "bench.run"
    if os.path.isdir(bundle):
        bundle = os.path.join(bundle, "run.sh")
    return shlex.join([bundle] if os.access(bundle, os.X_OK) else ["sh", bundle])


def own_arguments() -> str:
    """Return the words for a shell that are this run's options."""
    return shlex.join(word for word in sys.argv[1:] if word != "--preflight")


def open_log(path: str) -> int:
    """Return a descriptor of the kernel's log. Raises OSError, also where it is something else."""
    return log.open_log(os.O_RDONLY, path)


@dataclass(frozen=True)
class Host:
    """One host and one run on it.

    root: the directory that stands for /. affinity: the CPUs this process may use. bundle,
    arguments: for a shell, what starts this run. by_sudo: whether the user is root by sudo only.
    prober: says how long a run takes on given CPUs, see estimate.make().
    """

    options: Options
    root: str = "/"
    affinity: Set[int] = field(default_factory=lambda: os.sched_getaffinity(0))
    euid: int = field(default_factory=os.geteuid)
    release: str = field(default_factory=lambda: os.uname().release)
    version: str = field(default_factory=lambda: os.uname().version)
    module: Module = field(default_factory=Module)
    open_log: Callable[[str], int] = open_log
    inherited: Callable[[], dict[str, Any]] = table.look
    prober: Callable[[Options, Sequence[int]], dict[str, Any]] = estimate.make
    bundle: str = field(default_factory=own_bundle)
    arguments: str = field(default_factory=own_arguments)
    by_sudo: bool = field(default_factory=lambda: "SUDO_UID" in os.environ)

    @property
    def again(self) -> str:
        """Return the line for a shell that starts this run once more."""
        return f"{self.bundle} {self.arguments}".rstrip()

    def as_root(self, line: str) -> str:
        """Return what the user has to type for root to run this line of a shell."""
        if not self.by_sudo or line.startswith("sudo "):
            return line
        simple = line.startswith("sh -c ") or not set(line) & set("|&;<>()$*?`")
        return f"sudo {line}" if simple else f"sudo sh -c {shlex.quote(line)}"

    @property
    def cpus(self) -> list[int]:
        """Return the CPUs that the run will use."""
        return sorted(self.options.cpus or self.affinity)

    @functools.cached_property
    def estimate(self) -> dict[str, Any]:
        """Return how long the run will take, as run.estimate has it; takes two seconds."""
        return self.prober(self.options, self.cpus)

    @functools.cached_property
    def kernel_config(self) -> dict[str, Any]:
        """Return the kernel's configuration, see facts.config()."""
        return host_facts.config(self.release, self.module.config, self.root)

    @property
    def build(self) -> build_identity.Identity:
        """Return which build of the kernel runs."""
        config, _ = host_facts.config_text(self.release, self.root)
        return build_identity.of_running(self.version, config, self.root)

    def path(self, name: str) -> str:
        """Return where the file is that stands for /name."""
        return os.path.join(self.root, name)

    def name(self, path: str | os.PathLike[str]) -> str:
        """Return /name for a path that path() returns."""
        return "/" + os.path.relpath(path, self.root)

    def read(self, name: str) -> str | None:
        """Return the stripped text of /name; None where there is none or none to be read."""
        return procfs.read_or_none(self.path(name))

    def number(self, name: str) -> int | None:
        """Return the whole number that /name holds; None where it holds none."""
        text = self.read(name)
        try:
            return None if text is None else int(text)
        except ValueError:
            return None

    def names(self, directory: str) -> list[str]:
        """Return the sorted names in /directory, none where there is no such directory."""
        try:
            return sorted(os.listdir(self.path(directory)))
        except OSError:
            return []

    def exists(self, name: str) -> bool:
        """Return whether there is /name."""
        return os.path.lexists(self.path(name))

    def link(self, name: str) -> str | None:
        """Return where the symbolic link /name points; None where there is none to be read."""
        try:
            return os.readlink(self.path(name))
        except OSError:
            return None

    def sysctl(self, name: str) -> int | None:
        """Return a sysctl such as vm.panic_on_oom; None where the kernel has none."""
        return self.number("proc/sys/" + name.replace(".", "/"))

    def memory(self) -> dict[str, int]:
        """Return /proc/meminfo in bytes."""
        return procfs.parse_meminfo(self.read("proc/meminfo") or "")

    def cpu_list(self, name: str) -> list[int]:
        """Return the numbers of the list in /name, none where there is none."""
        return procfs.parse_list((self.read(name) or "").replace("(null)", ""))

    def boot_parameter(self, *names: str) -> str | None:
        """Return the last value of a boot parameter; "" for a bare word, None if not given."""
        value = None
        for word in (self.read("proc/cmdline") or "").split():
            name, _, text = word.partition("=")
            if name in names:
                value = text
        return value

    def command(self, *words: str) -> str | None:
        """Return the output of a command, given by its path; None if there is none or it fails."""
        argv = [self.path(words[0]), *words[1:]]
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                timeout=_COMMAND_S,
                check=False,
                text=True,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def room_for_output(self) -> int | None:
        """Return the bytes that can be written where the result goes; None: not in a file."""
        path = self.options.output_path
        if path == output.NOWHERE:
            return None
        if path in (None, "-"):
            if not path and os.isatty(1) and not (self.options.ktap or self.options.detach):
                return _room(".")
            return _room(1) if stat.S_ISREG(os.fstat(1).st_mode) else None
        directory = os.path.dirname(os.path.realpath(path))
        try:
            special = not stat.S_ISREG(os.stat(path).st_mode)
        except OSError:
            special = False
        return None if special else _room(directory)


def _room(where: str | int) -> int | None:
    try:
        room = os.statvfs(where)
    except OSError:
        return None  # opening the output says why
    if not room.f_blocks:
        return None  # no disk behind it, such as /proc: opening the output says why
    # An administrator's reserve is there for root.
    return room.f_bfree * room.f_frsize
