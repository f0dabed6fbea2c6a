# SPDX-License-Identifier: GPL-2.0-only
"""What makes times longer, or less steady, than the allocator is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from page_alloc_bench.runner.measuring import estimate

from .check import NOTE, WARN, Check, Finding
from .host import Host

_SLOW_CLOCKS = ("hpet", "acpi_pm", "pit")
_TICKING_CLOCKS = ("jiffies", "refined-jiffies")
_ON = ("1", "y", "Y", "t", "T", "on", "yes", "true")
_ADVICE = "measure a kernel built without it, or compare only with kernels that have it too"


@dataclass(frozen=True)
class DebugOption(Check):
    """A debug option of the kernel that costs time in each allocation.

    option: without CONFIG_; "" is in every kernel. parameter: the boot parameter that turns it on
    or off, if there is one. by_default: the option that turns it on where the parameter does not;
    "" if it needs the parameter, "yes" if being built in is enough. unless: the option that keeps
    it off.
    """

    name: str
    option: str
    meaning: str
    parameter: str = ""
    by_default: str = "yes"
    unless: str = ""
    severity: str = WARN
    advice: str = _ADVICE

    @property
    def subject(self) -> str:
        """The option, and whether it has to be turned on too; or the boot parameter."""
        if not self.option:
            return f"`{self.parameter}=1`, by default or on the command line"
        return f"`CONFIG_{self.option}`" + (", if it is on" if self.parameter else "")

    def look(self, host: Host) -> Iterator[Finding]:
        """Report it, with the boot parameter that turns it off; lib/kstrtox.c, kstrtobool()."""
        found = self.found(host)
        if found and self.parameter:
            off = f"boot with {self.parameter}=off, or compare only with kernels that have it too"
            yield self.finding(found, advice=off)
        elif found:
            yield self.finding(found)

    def found(self, host: Host) -> str | None:
        """Report it if it is built in and on."""
        options = host.kernel_config["options"] or {}
        if self.option and options.get(self.option, "n") == "n":
            return None
        given = host.boot_parameter(self.parameter) if self.parameter else None
        if given is not None:
            return f"{self.parameter}={given} on the command line" if given in _ON else None
        name = self.option if self.by_default == "yes" else self.by_default
        if options.get(name, "n") == "n" or options.get(self.unless, "n") != "n":
            return None
        return f"the kernel is built with CONFIG_{name}"


class SlubDebug(Check):
    """Checks of the slab allocator, by boot parameter or option."""

    name = "slub-debug"
    severity = WARN
    meaning = "the slab allocator checks and poisons its objects; page allocations grow with it"
    advice = "boot with slub_debug=-"  # mm/slub.c, setup_slub_debug()

    def found(self, host: Host) -> str | None:
        """Report it if it is on."""
        given = host.boot_parameter("slub_debug", "slab_debug")
        if given is not None:
            return None if given == "-" else f"slub_debug={given} on the command line"
        built = (host.kernel_config["options"] or {}).get("SLUB_DEBUG_ON") == "y"
        return "the kernel is built with CONFIG_SLUB_DEBUG_ON" if built else None


class UnknownConfig(Check):
    """No configuration of the kernel to be read."""

    name = "kernel-config"
    severity = NOTE
    meaning = "debug options that change the times may be on without being seen"
    advice = "look at the configuration of the kernel's build"

    def found(self, host: Host) -> str | None:
        """Report why there is none."""
        reason = host.kernel_config["reason"]
        return f"the kernel's configuration is not known: {reason}" if reason else None


class Governor(Check):
    """Frequency governors."""

    name = "governor"
    severity = WARN
    meaning = "clock rates follow the load, and times follow the clock rates"
    advice = "let them stay at their highest"
    commands = ("echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",)

    def found(self, host: Host) -> str | None:
        """Report CPUs of the run with another governor than performance; none is fine."""
        path = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
        named = {host.read(path.format(cpu)) for cpu in host.cpus} - {None, "performance"}
        return f"the frequency governor is {', '.join(sorted(map(str, named)))}" if named else None


class Turbo(Check):
    """Turbo and boost frequencies."""

    name = "turbo"
    severity = NOTE
    meaning = "clock rates depend on the temperature and on how many CPUs are busy"
    advice = "for steadier times turn it off while measuring"

    def look(self, host: Host) -> Iterator[Finding]:
        """Report it if the kernel says that it is on."""
        for name, on, off in (
            ("sys/devices/system/cpu/intel_pstate/no_turbo", "0", "1"),
            ("sys/devices/system/cpu/cpufreq/boost", "1", "0"),
        ):
            if host.read(name) == on:
                yield self.finding("turbo is on", commands=(f"echo {off} > /{name}",))


class Clocksource(Check):
    """The clock that latencies are read from.

    How much a read costs inside the kernel is seen when the module calibrates it, and judged then.
    """

    name = "clocksource"
    severity = NOTE
    meaning = (
        "such clocks are slow to read, and each timed latency contains one read; how long that "
        "takes is measured, and the result says so where it is much (run.clocks)"
    )
    advice = (
        "choose a faster one, if the host has one: /sys/devices/system/clocksource/clocksource0"
    )

    def found(self, host: Host) -> str | None:
        """Report one that is known to be slow, where latencies are taken."""
        name = host.read("sys/devices/system/clocksource/clocksource0/current_clocksource")
        if host.options.latencies == "none" or name not in _SLOW_CLOCKS:
            return None
        return f"the clocksource is {name}"


class TickingClock(Check):
    """A clock that stands still between two ticks of the timer."""

    name = "ticking-clock"
    severity = WARN
    meaning = "latencies are zero or whole ticks, which are milliseconds"
    advice = Clocksource.advice

    def found(self, host: Host) -> str | None:
        """Report it where latencies are taken."""
        name = host.read("sys/devices/system/clocksource/clocksource0/current_clocksource")
        if host.options.latencies == "none" or name not in _TICKING_CLOCKS:
            return None
        return f"the clocksource is {name}, which advances only with the ticks of the timer"


class Timeout(Check):
    """--timeout-s, and how long the run will take."""

    name = "timeout"
    severity = WARN
    meaning = "what is not done by then is not measured"
    advice = "give a larger --timeout-s, fewer --iterations or fewer --alloc-orders"

    def look(self, host: Host) -> Iterator[Finding]:
        """Report an estimate beyond the time allowed, and what will be missing."""
        allowed, record = host.options.timeout_s, None
        if allowed:
            record = host.estimate
        if record is None or record["estimated_s"] is None or record["estimated_s"] <= allowed:
            return
        lost = estimate.lost(host.options, record)
        yield self.finding(
            f"the run takes about {estimate.duration(record['estimated_s'])}, and --timeout-s "
            f"allows {estimate.duration(allowed)}",
            meaning=f"not complete by then, or not begun:  {'; '.join(lost)}"
            if lost
            else self.meaning,
        )


_ZEROING = "each page is zeroed as it is {}: most of the time that this takes is not the allocator"

CHECKS = (
    DebugOption("kasan", "KASAN", "every access to memory is checked: several times as slow"),
    DebugOption("kmsan", "KMSAN", "every access to memory is checked: several times as slow"),
    DebugOption("kcsan", "KCSAN", "accesses to memory are checked for races, with delays"),
    DebugOption("kcov", "KCOV", "every branch of the kernel reports to a coverage buffer"),
    DebugOption("lockdep", "PROVE_LOCKING", "every lock that is taken is checked: much slower"),
    DebugOption("lock-stat", "LOCK_STAT", "every lock that is taken is counted and timed"),
    DebugOption("debug-vm", "DEBUG_VM", "the allocator checks its own state at each step"),
    DebugOption(
        "debug-pagealloc",
        "DEBUG_PAGEALLOC",
        "each page is unmapped as it is freed, and mapped as it is allocated",
        "debug_pagealloc",
        "DEBUG_PAGEALLOC_ENABLE_DEFAULT",
    ),
    DebugOption(
        "page-owner", "PAGE_OWNER", "each allocation keeps a stack trace", "page_owner", ""
    ),
    DebugOption(
        "page-poisoning",
        "PAGE_POISONING",
        "each page is filled with a pattern as it is freed, and checked later",
        "page_poison",
        "",
    ),
    DebugOption(
        "page-table-check",
        "PAGE_TABLE_CHECK",
        "each mapping of a page is counted and checked",
        "page_table_check",
        "PAGE_TABLE_CHECK_ENFORCED",
    ),
    DebugOption(
        "kmemleak",
        "DEBUG_KMEMLEAK",
        "allocations of the kernel are tracked, and memory is scanned",
        "kmemleak",
        unless="DEBUG_KMEMLEAK_DEFAULT_OFF",
    ),
    DebugOption(
        "init-on-free",
        "",
        _ZEROING.format("freed"),
        "init_on_free",
        "INIT_ON_FREE_DEFAULT_ON",
    ),
    DebugOption(
        "init-on-alloc",
        "",
        _ZEROING.format("allocated"),
        "init_on_alloc",
        "INIT_ON_ALLOC_DEFAULT_ON",
        severity=NOTE,
    ),
    SlubDebug(),
    UnknownConfig(),
    Governor(),
    Turbo(),
    Clocksource(),
    TickingClock(),
)
# It takes the longest, and all of the CPUs.
AFTER_ALL = (Timeout(),)
