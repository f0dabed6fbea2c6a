# SPDX-License-Identifier: GPL-2.0-only
"""What a guest's machine looks like, and the QEMU command line that makes it so.

Guests are emulated (TCG) unless KVM is asked for: they then run the same on any host.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.targets import hardware
from page_alloc_bench.targets.devices import Device
from page_alloc_bench.targets.process import UsageError, need

# On amd64 without cmpxchg16b, at which TCG double-faults now and then; on arm64 with a cheap way of
# signing pointers, since QEMU's default takes five times as long to boot.
_BOARDS = {
    "amd64": ("-M", "pc", "-cpu", "max,cx16=off"),
    "arm64": ("-M", "virt,gic-version=3", "-cpu", "max,pauth-impdef=on"),
}
_QEMU = {
    "amd64": ("qemu-system-x86_64", "qemu-system-x86"),
    "arm64": ("qemu-system-aarch64", "qemu-system-arm"),
}
_CONSOLES = {"amd64": "ttyS0", "arm64": "ttyAMA0"}
_NEAR, _FAR = 15, 25  # distances of nodes; 10 is that of a node from itself
_UNITS = {"": 1, "M": 1, "G": 1024, "T": 1024 * 1024}


@dataclass(frozen=True)
class Machine:
    """CPUs, NUMA nodes and memory of a guest.

    CPUs and memory are spread evenly over the nodes in contiguous runs; where there are more nodes
    than CPUs, the last nodes have memory only. ``memoryless`` are nodes that have CPUs only, of 1
    and later: 0 is where the kernel puts what it needs to boot. The node before such a one is
    nearer to it than all others, so that it has one nearest node with memory. Under ``icount`` one
    instruction takes one nanosecond of the guest's time, whatever the host does meanwhile; that
    needs a single CPU.
    ``arch`` is Debian's name of it, amd64 or arm64. ``accel`` is what runs its CPUs, tcg or kvm;
    under kvm all of its memory is there from the start, as hardware.py says.
    """

    cpus: int
    nodes: int
    memory_mib: int
    icount: bool = False
    arch: str = "amd64"
    memoryless: tuple[int, ...] = ()
    accel: str = "tcg"

    def __post_init__(self) -> None:
        """Raise UsageError for a machine that QEMU could not make."""
        if self.arch not in _BOARDS:
            raise UsageError(f"no guest can be {self.arch}: there are {', '.join(_BOARDS)}")
        if self.cpus < 1 or self.nodes < 1:
            raise UsageError(
                f"a guest needs at least one CPU and one node, not {self.cpus} and {self.nodes}"
            )
        if self.nodes > 128 or self.cpus > 255:
            raise UsageError("a guest has at most 255 CPUs and 128 nodes")
        if not set(self.memoryless) <= set(range(1, self.nodes)):
            raise UsageError(f"of {self.nodes} nodes, these cannot lack memory: {self.memoryless}")
        if self.memory_mib // self._with_memory < 64 or self.memory_mib < 256:
            raise UsageError(
                f"{self.memory_mib} MiB is too little for a guest of {self._with_memory} nodes: "
                "give at least 256 MiB, and 64 MiB per node"
            )
        if self.icount and self.cpus != 1:
            raise UsageError(f"instruction counting needs one CPU, not {self.cpus}")
        if self.icount and self.accel != "tcg":
            raise UsageError("instructions are counted by emulation only: leave out --accel kvm")

    def arguments(self) -> list[str]:
        """Return QEMU's arguments for this machine."""
        if self.accel == "kvm":
            return [*hardware.board(self.arch), "-smp", self._topology(), *self._memory()]
        accel = ["-accel", "tcg" if self.icount else "tcg,thread=multi"]
        clock = ["-icount", "shift=0,sleep=off", "-rtc", "clock=vm,base=2026-01-01"]
        return [
            *(*_BOARDS[self.arch], *accel),
            *(clock if self.icount else []),
            *("-smp", self._topology(), *self._memory()),
        ]

    def _topology(self) -> str:
        """Return -smp's value: a socket never spans two nodes, which the kernel warns about.

        With one node each CPU is a socket: the MP tables, all that a kernel without ACPI has to go
        by, name one CPU per socket.
        """
        groups = min(self.cpus, self.nodes)
        sockets = groups if self.nodes > 1 and self.cpus % groups == 0 else self.cpus
        return f"{self.cpus},sockets={sockets},cores={self.cpus // sockets},threads=1"

    @property
    def nodes_of_cpus(self) -> list[int]:
        """Return the node of each CPU."""
        groups = min(self.cpus, self.nodes)
        return [node for node in range(groups) for _ in range(_share(self.cpus, groups, node))]

    @property
    def _with_memory(self) -> int:
        return self.nodes - len(self.memoryless)

    def _memory(self) -> list[str]:
        return ["-m", f"{self.memory_mib}M", *self._numa()]

    def _numa(self) -> list[str]:
        arguments = []
        groups = min(self.cpus, self.nodes)
        place = 0
        for node in range(self.nodes):
            numa = f"node,nodeid={node}"
            if node not in self.memoryless:
                size = _share(self.memory_mib, self._with_memory, place)
                place += 1
                backend = f"memory-backend-ram,id=m{node},size={size}M"
                if self.accel == "kvm":
                    backend = hardware.memory(node, size)
                arguments += ["-object", backend]
                numa += f",memdev=m{node}"
            if node < groups:
                first = sum(_share(self.cpus, groups, n) for n in range(node))
                last = first + _share(self.cpus, groups, node) - 1
                numa += f",cpus={first}" if first == last else f",cpus={first}-{last}"
            arguments += ["-numa", numa]
        return arguments + (self._distances() if self.memoryless else [])

    def _distances(self) -> list[str]:
        """Return arguments for a table of distances, which QEMU takes whole or not at all."""
        arguments = []
        for source in range(self.nodes):
            for target in range(source + 1, self.nodes):
                near = target in self.memoryless and source == target - 1
                distance = _NEAR if near else _FAR
                arguments += ["-numa", f"dist,src={source},dst={target},val={distance}"]
        return arguments


def machine(
    cpus: int | None,
    nodes: int | None,
    memory: str,
    *,
    icount: bool = False,
    arch: str = "amd64",
    memoryless: tuple[int, ...] = (),
    accel: str = "tcg",
) -> Machine:
    """Return the machine that a user described; None is 4 CPUs and 2 nodes (1 and 1 in icount)."""
    default_cpus, default_nodes = (1, 1) if icount else (4, 2)
    return Machine(
        default_cpus if cpus is None else cpus,
        default_nodes if nodes is None else nodes,
        parse_memory(memory),
        icount,
        arch,
        memoryless,
        accel,
    )


def emulator(arch: str) -> str:
    """Return the path of the QEMU that emulates ARCH; say which package has it if it is missing."""
    return need(*_QEMU[arch])


def parse_memory(text: str) -> int:
    """Return the MiB that TEXT means: a number of MiB, or one with the suffix M, G or T."""
    match = re.fullmatch(r"(\d+)\s*([MGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"{text!r} is not an amount of memory: write it like 2G or 1536M")
    return int(match[1]) * _UNITS[match[2].upper()]


def command_line(
    qemu: str,
    guest: Machine,
    *,
    scratch: Path,
    kernel: Path,
    initrd: Path,
    append: str,
    root: Sequence[str],
    network: Device,
) -> list[str]:
    """Return the whole QEMU command line; its sockets and logs lie in SCRATCH.

    ROOT are the arguments for its disk.

    The port of the guest's ssh is 0: QEMU itself takes a free one, so that no two guests can race
    for it, and is asked over the QMP socket which one it took.
    """
    return [
        *headless(qemu, guest, scratch=scratch, kernel=kernel, initrd=initrd, append=append),
        *("-qmp", f"unix:{scratch}/qmp,server=on,wait=off"),
        *root,
        *("-netdev", "user,id=n,hostfwd=tcp:127.0.0.1:0-10.0.2.15:22"),
        *("-device", network.arguments.format(id="n")),
    ]


def headless(
    qemu: str, guest: Machine, *, scratch: Path, kernel: Path, initrd: Path, append: str
) -> list[str]:
    """Return the part of a command line that every guest has: its console is a log in SCRATCH."""
    return [
        qemu,
        *guest.arguments(),
        *("-nodefaults", "-display", "none", "-no-reboot"),
        *("-serial", f"file:{scratch}/console"),
        *("-kernel", str(kernel), "-initrd", str(initrd), "-append", append),
    ]


def kernel_arguments(extra: str, arch: str = "amd64", accel: str = "tcg") -> str:
    """Return the kernel's command line for ARCH, with EXTRA last so that it overrides."""
    emulated = accel == "tcg"
    words = [
        f"console={_CONSOLES[arch]}",
        # A guest that panics ends (with -no-reboot) instead of hanging.
        "panic=-1",
        # TCG's timer interrupt is too irregular for the IO-APIC check at boot.
        *(["no_timer_check"] if emulated and arch == "amd64" else []),
        # An emulated CPU waits for others that are not running: only after 60 s is one stuck.
        *(["watchdog_thresh=30"] if emulated else []),
        # Warnings belong on the console, where they outlive the guest; the boot's chatter does not.
        "loglevel=5",
        # Every OOM kill writes pages of text: keep all of a run in the kernel's log.
        "log_buf_len=4M",
        # Names the interface eth0 whatever the root says.
        "net.ifnames=0",
    ]
    return " ".join([*words, extra]).strip()


def _share(total: int, parts: int, index: int) -> int:
    """Return the INDEXth of PARTS shares of TOTAL, the larger shares first."""
    return total // parts + (1 if index < total % parts else 0)
