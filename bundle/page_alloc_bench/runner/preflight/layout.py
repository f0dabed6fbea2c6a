# SPDX-License-Identifier: GPL-2.0-only
"""What the machine has, and what of it is out of the run's reach."""

from __future__ import annotations

import re
from collections.abc import Iterator

from page_alloc_bench.runner import pattern, workload
from page_alloc_bench.runner.kernel import memory, procfs
from page_alloc_bench.runner.measuring.rate import cases
from page_alloc_bench.runner.module import sampling
from page_alloc_bench.runner.result import units

from .check import NOTE, REFUSE, WARN, Check, Finding
from .host import Host

_CPU = "sys/devices/system/cpu"
_NODE = "sys/devices/system/node"
_HUGE = "sys/kernel/mm/hugepages"
_SHORT, _VERY_SHORT = 0.5, 0.1  # of all memory
_BUFFER_BYTES_PER_BLOCK = 16  # of the module's bookkeeping
_LATENCY_BYTES = 8  # of JSON, with the comma
_FIXED_BYTES = 2 << 20  # of JSON besides the samples
_CLASSES = 3  # of latencies
_NS_BYTES = 8  # of a latency in the module and in the result
_TEXT_BYTES = 40  # of a latency among those that become text or are put in order
_WORKER_BYTES = 32 << 10  # of the module for a CPU: histograms, counters, a thread


class OfflineCpus(Check):
    """CPUs that are there and offline."""

    name = "offline-cpus"
    severity = NOTE
    meaning = "they are not used: compare only with runs on the same CPUs"
    advice = "bring them online, if they are to be used"

    def look(self, host: Host) -> Iterator[Finding]:
        """Compare those present with those online."""
        missing = set(host.cpu_list(f"{_CPU}/present")) - set(host.cpu_list(f"{_CPU}/online"))
        if missing:
            cpus = procfs.format_list(missing)
            yield self.finding(f"CPU {cpus} is offline", commands=(f"chcpu --enable {cpus}",))


class IsolatedCpus(Check):
    """CPUs kept from the scheduler by isolcpus= or an isolated partition."""

    name = "isolated-cpus"
    severity = NOTE
    meaning = "they have fewer other tasks and fewer interrupts, so their times differ from others"
    advice = "choose the CPUs with --cpus or taskset"

    def found(self, host: Host) -> str | None:
        """Report them, and whether the run uses them."""
        isolated = set(host.cpu_list(f"{_CPU}/isolated")) | set(host.cpu_list(f"{_CPU}/nohz_full"))
        if not isolated:
            return None
        used = isolated & set(host.cpus)
        which = f"uses {procfs.format_list(used)} of them" if used else "uses none of them"
        return f"CPU {procfs.format_list(isolated)} is isolated, and the run {which}"


class MemorylessNodes(Check):
    """NUMA nodes without memory."""

    name = "memoryless-nodes"
    severity = NOTE
    meaning = "their CPUs take every page from another node, which counts as local for them"
    advice = "leave these CPUs out with --cpus, if you do not want that"

    def found(self, host: Host) -> str | None:
        """Compare the nodes online with those that have memory."""
        missing = set(host.cpu_list(f"{_NODE}/online")) - set(host.cpu_list(f"{_NODE}/has_memory"))
        if not host.exists(f"{_NODE}/has_memory") or not missing:
            return None
        return f"node {procfs.format_list(missing)} has no memory"


class HugetlbPool(Check):
    """Memory set aside for huge pages."""

    name = "hugetlb"
    severity = WARN
    meaning = "the child cannot get that memory, so that available memory is less"
    advice = "empty the pools, unless they are part of what you compare"

    def look(self, host: Host) -> Iterator[Finding]:
        """Add up the pools of all sizes."""
        total, commands = 0, []
        for name in host.names(_HUGE):
            size = re.fullmatch(r"hugepages-(\d+)kB", name)
            count = host.number(f"{_HUGE}/{name}/nr_hugepages")
            if size and count:
                total += (int(size[1]) << 10) * count
                commands.append(f"echo 0 > /{_HUGE}/{name}/nr_hugepages")
        if total:
            found = f"hugetlb pools hold {units.whole_mib(total)}"
            yield self.finding(found, commands=tuple(commands))


class ShortMemory(Check):
    """Memory that is in use already."""

    name = "short-memory"
    severity = WARN
    worst = REFUSE
    meaning = "how much other processes hold, and give back, has a large effect on the figures"
    advice = "stop what uses it, or reboot"

    def look(self, host: Host) -> Iterator[Finding]:
        """Report less than half available; refuse less than a tenth."""
        table = host.memory()
        total, available = table.get("MemTotal", 0), table.get("MemAvailable")
        if available is None or available >= _SHORT * total:
            return
        found = f"{units.whole_mib(available)} of {units.whole_mib(total)} are available"
        if available >= _VERY_SHORT * total:
            yield self.finding(found)
        else:
            yield self.finding(
                found, severity=REFUSE, meaning="the antagonist would make the host's own end"
            )


class AntagonistSize(Check):
    """What the antagonist may come to hold, and the latencies that are kept."""

    name = "antagonist-size"
    severity = REFUSE
    meaning = (
        "they could use up memory by themselves, and the kernel would kill processes of the host"
    )
    advice = "lower --held and --spread, or --sample-size, or give fewer --cpus"

    def look(self, host: Host) -> Iterator[Finding]:
        """Report more than half of what is available, at the largest order."""
        options, available = host.options, host.memory().get("MemAvailable", 0)
        if not _patterns(host):
            return
        order = max(options.alloc_orders)
        blocks, latencies = _antagonist_bytes(host, order), _latency_bytes(host)
        if blocks + latencies > available // 2:
            yield self.finding(
                f"the antagonist would hold up to {units.whole_mib(blocks)} at order {order}, and "
                f"latencies take up to {units.whole_mib(latencies)}: more than half of the "
                f"{units.whole_mib(available)} available"
            )


def _antagonist_bytes(host: Host, order: int) -> int:
    """Return the most that the workers hold, with what the module needs to know which blocks."""
    block = (procfs.page_size() << order) + _BUFFER_BYTES_PER_BLOCK
    blocks = max(each.blocks(parameters) for each, parameters in _patterns(host))
    return len(host.cpus) * (blocks * block + _WORKER_BYTES)


def _patterns(host: Host) -> list[tuple[pattern.Pattern, dict[str, int]]]:
    """Return the patterns that hold memory beside a process that fills it, with their parameters.

    What a pattern holds whose workload chooses the parameters is that workload's to see to.
    """
    used = {name for each in workload.chosen(host.options) for name in each.patterns}
    known = (pattern.every()[name] for name in sorted(used))
    found = [(each, each.parameters(host.options)) for each in known]
    return [(each, parameters) for each, parameters in found if parameters]


def _cases(host: Host) -> int:
    """Return in how many cases latencies are kept."""
    options = host.options
    return sum(
        len({order for _, order in each.plan(options)}) * each.cases(options)
        for each in workload.chosen(options)
    )


def _latency_bytes(host: Host) -> int:
    """Return the most that latencies take: samples in the module, and in the runner at its end.

    The module's allocator may give twice what it is asked for.
    """
    options = host.options
    if options.latencies == "none":
        return 0
    capacity = sampling.capacity_per_cpu(options.sample_size, len(host.cpus))
    in_module = 2 * len(host.cpus) * _CLASSES * capacity * _NS_BYTES
    in_result = _cases(host) * _CLASSES * options.sample_size * _NS_BYTES
    return in_module + in_result + options.sample_size * _TEXT_BYTES


class HeldMemory(Check):
    """What a workload may come to hold that fills no memory."""

    name = "held-memory"
    severity = WARN
    worst = REFUSE
    meaning = "such cases are left out: others could be short of memory"
    advice = "lower --depth, --burst-blocks or --alloc-orders, or give fewer --cpus"

    def look(self, host: Host) -> Iterator[Finding]:
        """Report cases that are left out; refuse where nothing else is left of a workload."""
        room = cases.room_bytes(host.memory())
        for each in workload.chosen(host.options):
            if each.held is None:
                continue
            held = each.held(host.options, host.cpus)
            out = [size for size in held if size > room]
            if not out:
                continue
            found = (
                f"{len(out)} of {len(held)} cases of {each.name} would hold up to "
                f"{units.whole_mib(max(out))}, and 1/{cases.PART} of what is available is "
                f"{units.whole_mib(room)}"
            )
            if len(out) < len(held):
                yield self.finding(found)
            else:
                yield self.finding(
                    found, severity=REFUSE, acceptable=False, meaning="nothing would be measured"
                )


class OutputRoom(Check):
    """Room on the disk for the result."""

    name = "output-room"
    severity = REFUSE
    meaning = "the result, once measured, could not be written"
    advice = "free space, give another --output-path, or lower --sample-size"

    def found(self, host: Host) -> str | None:
        """Compare what is free with the most that the result can be."""
        options, room = host.options, host.room_for_output()
        samples = _cases(host) * _CLASSES * options.sample_size
        need = _FIXED_BYTES + samples * _LATENCY_BYTES
        if room is None or room >= need:
            return None
        return f"{units.whole_kib(room)} are free for a result of up to {units.whole_kib(need)}"


class HugePages(Check):
    """Transparent huge pages, if they were asked for."""

    name = "thp"
    severity = WARN
    meaning = "--thp asks for huge pages, and the child gets none"
    advice = "allow programs to ask for them"
    commands = ("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",)

    def look(self, host: Host) -> Iterator[Finding]:
        """Report --thp always where it has no effect."""
        mode = memory.thp_mode(host.root)
        if host.options.thp != "always" or mode in ("always", "madvise"):
            return
        if mode is None:
            yield self.finding(
                "this kernel has no transparent huge pages", advice="leave --thp out", commands=()
            )
        else:
            yield self.finding(f"transparent huge pages are off ({mode})")


CHECKS = (
    OfflineCpus(),
    IsolatedCpus(),
    MemorylessNodes(),
    HugetlbPool(),
    ShortMemory(),
    AntagonistSize(),
    HeldMemory(),
    OutputRoom(),
    HugePages(),
)
