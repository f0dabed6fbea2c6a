# SPDX-License-Identifier: GPL-2.0-only
"""Hold the facts of two sides against each other before their figures.

A fact is of one of three kinds. The *meant* ones are what a comparison is usually about: the kernel
and how it was booted. One that *invalidates* makes another cause for a change than the one that was
meant: other parameters, another machine, a debug option. The *other* ones may, and are listed.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from statistics import median
from typing import Any, Literal

from page_alloc_bench.runner.result import constraint, document, inherited, names

from .results import Result

Kind = Literal["invalidating", "other", "meant"]

# What the kernel reserves at boot is not in these numbers, and which node it comes from is chance.
_MEMORY_TOLERANCE = 0.01
_NODE_TOLERANCE = 0.1
# What others hold of the memory is a difference in it; what caches hold comes and goes.
_AVAILABLE_TOLERANCE = 0.05
# include/linux/panic.h: TAINT_OOT_MODULE and TAINT_UNSIGNED_MODULE stay after our own module's run.
_OWN_TAINT = 1 << 12 | 1 << 13
# Facts that the first versions did not record: of them, those runs differ in nothing.
_RECORDED_LATER = ("host_id", "kernel.tainting_modules", "machine.memory_available")

# Options that are there to find bugs, at a cost to each allocation.
_DEBUG_PREFIXES = ("DEBUG_", "FAIL_", "FAULT_", "KASAN", "KCOV", "KCSAN", "KFENCE", "KMSAN")
_DEBUG_OPTIONS = (
    "LOCK_STAT",
    "PAGE_OWNER",
    "PAGE_POISONING",
    "PAGE_TABLE_CHECK",
    "PROVE_LOCKING",
    "SLUB_DEBUG_ON",
    "UBSAN",
)

# Words of the command line that name the kernel or the disk, not a setting.
_IDLE_WORDS = ("BOOT_IMAGE=", "initrd=", "root=", "rootflags=", "resume=")

_KERNELS = ("kernel.release", "kernel.version", "kernel.build_id", "kernel.config")
_UNKNOWN = "unknown"
# Facts that forbid a verdict also where both sides have the same.
_CONSTRAINT = "oom_constraint"
_NEVER = ("incomplete", _CONSTRAINT)

# Facts that some results have and others not: any name of these is a right one.
_FAMILY = re.compile(r"(config|debug|inherited|vm|machine\.node[0-9]+)\.")


@dataclass(frozen=True)
class Difference:
    """A fact that is not the same in all runs.

    base, new: the values of each side as text, the most frequent first. within: the runs of one
    side differ among themselves. allowed: it would be refused, but for the user's word.
    """

    name: str
    kind: Kind
    base: tuple[str, ...]
    new: tuple[str, ...]
    within: bool
    allowed: bool = False

    @property
    def refused(self) -> bool:
        """Return whether no comparison is to be made because of it."""
        return self.kind == "invalidating" and not self.allowed and self.name != _CONSTRAINT

    @property
    def untold(self) -> bool:
        """Return whether what is compared says nothing of the machine because of it."""
        return self.name == _CONSTRAINT and not self.allowed


@dataclass(frozen=True)
class _Fact:
    kind: Kind
    value: Any
    tolerance: float = 0.0  # the part that numbers may differ by
    unit: str = ""  # of numbers


def differences(
    base: Sequence[Result], new: Sequence[Result], allow: Iterable[str] = ()
) -> list[Difference]:
    """Return what differs: first what is refused, then the other facts, then what is meant.

    allow: names of differences that are not to be refused, parameters for each under
    parameters.…, or patterns like thp.*. A run that is not complete is always listed.
    """
    facts = [[_facts(result) for result in side] for side in (base, new)]
    every = dict.fromkeys(name for side in facts for run in side for name in run)
    found = [d for name in every if (d := _difference(name, facts)) is not None]
    patterns = tuple(allow)
    judged = [_judge(d, found, patterns) for d in found]
    order = ("invalidating", "other", "meant")
    return sorted(judged, key=lambda d: (not (d.refused or d.untold), order.index(d.kind)))


def texts(result: Result) -> dict[str, str]:
    """Return the facts of a result that are compared, by their names, as text."""
    return {name: _text(fact.value) for name, fact in _facts(result).items()}


def unknown(base: Sequence[Result], new: Sequence[Result], allow: Iterable[str]) -> str | None:
    """Return what is wrong with the first of allow that names no fact; None if all do."""
    facts = {
        name: fact for side in (base, new) for run in side for name, fact in _facts(run).items()
    }
    for name in allow:
        if _FAMILY.match(name) or any(_allowed(fact, [name]) for fact in facts):
            continue
        right = [n for n, f in facts.items() if f.kind != "other" and not _FAMILY.match(n)]
        return f"there is no fact {name}. {names.instead_of(name, [*right, 'debug.*'])}"
    return None


def _difference(name: str, facts: list[list[dict[str, _Fact]]]) -> Difference | None:
    runs = [run for side in facts for run in side]
    known = [run[name] for run in runs if name in run]
    later = name.startswith(("debug.", "config.", "inherited.")) or name in _RECORDED_LATER
    if len(known) < len(runs) and later:
        return None  # not to be known: kernel.config_options says so once for all of them
    kind, tolerance = known[0].kind, known[0].tolerance
    values = [[run[name].value if name in run else _UNKNOWN for run in side] for side in facts]
    bad = name in _NEVER and any(value for side in values for value in side)
    if _alike(values[0] + values[1], tolerance) and not bad:
        return None
    within = not all(_alike(side, tolerance) for side in values)
    if len(known) < len(runs):
        kind = "other"  # not recorded in some of the runs: no reason to call them different
    elif kind == "meant" and within:
        kind = "invalidating"  # a side must be one kernel
    base, new = (_texts(side, known[0].unit) for side in values)
    return Difference(name, kind, base, new, within)


def _judge(difference: Difference, found: Sequence[Difference], allow: Sequence[str]) -> Difference:
    """Weigh a difference by what else differs, and by what the user allows.

    The command line is what is meant if the kernel is the same. If the kernel differs too, it is
    one of the other differences, and filling pages with zeros, which is most of an allocation's
    time, invalidates.
    """
    kind = difference.kind
    if kind == "meant" and any(d.name in _KERNELS for d in found):
        if difference.name == "kernel.cmdline":
            kind = "other"
        elif difference.name.startswith("init_on_"):
            kind = "invalidating"
    allowed = kind == "invalidating" and _allowed(difference.name, allow)
    return replace(difference, kind=kind, allowed=allowed)


def _allowed(name: str, allow: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) or name.startswith(f"{pattern}.") for pattern in allow)


def _alike(values: Sequence[Any], tolerance: float) -> bool:
    if tolerance and all(isinstance(value, int) for value in values):
        return bool(max(values) - min(values) <= tolerance * max(values))
    return all(value == values[0] for value in values)


def _texts(values: Sequence[Any], unit: str = "") -> tuple[str, ...]:
    if unit and all(isinstance(value, int) for value in values):
        least, most = min(values), max(values)
        return (f"{least} {unit}" if least == most else f"{least}..{most} {unit}",)
    return tuple(text for text, _ in Counter(map(_text, values)).most_common())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _facts(result: Result) -> dict[str, _Fact]:
    run = result.run
    facts: dict[str, _Fact] = {"incomplete": _Fact("invalidating", not run["complete"])}
    facts[_CONSTRAINT] = _Fact("invalidating", _constraints(run))
    for part in (_parameters, _inherited, _machine, _settings, _kernel, _tool):
        facts.update(part(run))
    available = _available_mib(result)
    if available is not None:
        facts["machine.memory_available"] = _Fact(
            "invalidating", available, _AVAILABLE_TOLERANCE, "MiB"
        )
    facts["warnings"] = _Fact("other", len(run["warnings"]))
    if run.get("host_id"):
        facts["host_id"] = _Fact("other", run["host_id"])
    return facts


def _available_mib(result: Result) -> int | None:
    """Return what others left free or to be reclaimed before iterations; None: not recorded.

    MemAvailable and the lists of the CPUs, which it leaves out. Of two sides that differ in it, one
    shared its memory with something else: a process, a balloon, a pool of huge pages.
    """
    told = [measured for measured in result.metrics.values() if measured.metric.surroundings]
    phases = {measured.metric.phase for measured in told}
    values = [value for measured in told for value in measured.values.tolist()]
    iterations = [i for i in result.run.get("iterations", ()) if i.get("phase") in phases]
    books = [entry.get("memory_before") or {} for entry in iterations]
    lists = [book["pcp_bytes"] for book in books if "pcp_bytes" in book]
    if not values:
        return None
    return int(median(values) + (median(lists) if lists else 0)) >> 20


def _parameters(run: dict[str, Any]) -> Iterator[tuple[str, _Fact]]:
    kinds = _kinds_of_parameters()
    for name, value in run["parameters"].items():
        kind = kinds.get(name, "invalidating")
        # Each run has its own seed, and when to give up is of no matter to a run that did not.
        if kind != "ignored":
            yield f"parameters.{name}", _Fact(kind, value)


@functools.cache
def _kinds_of_parameters() -> dict[str, Any]:
    """Return which kind of fact each parameter is, as its option declares it, or ignored."""
    parameters = document.schema()["properties"]["run"]["properties"]["parameters"]["properties"]
    return {name: about["comparison"] for name, about in parameters.items()}


def _inherited(run: dict[str, Any]) -> Iterator[tuple[str, _Fact]]:
    """Yield what the runs' processes had from their starters, where it is not the usual."""
    if "inherited" not in run:
        return
    values = run["inherited"]["in_force"]
    for trait in inherited.TRAITS:
        value = values.get(trait.name)
        yield (
            f"inherited.{trait.name}",
            _Fact(trait.weight, "usual" if trait.is_usual(value) else value),
        )


def _constraints(run: dict[str, Any]) -> list[str]:
    """Return why OOM kills came where the machine as a whole still had memory."""
    found = {iteration.get("constraint") for iteration in run["iterations"]}
    return sorted(found - {None, "", constraint.WHOLE_MACHINE})


def _machine(run: dict[str, Any]) -> Iterator[tuple[str, _Fact]]:
    machine, kernel = run["machine"], run["kernel"]
    yield "machine.architecture", _Fact("invalidating", kernel["machine"])
    yield "machine.page_size", _Fact("invalidating", kernel.get("page_size_bytes"))
    for name in ("cpu_model", "cpus_online", "cpus_used", "hypervisor", "clocksource"):
        yield f"machine.{name}", _Fact("invalidating", machine.get(name))
    yield "machine.cpus_isolated", _Fact("other", machine.get("cpus_isolated"))
    yield "machine.memory", _Fact("invalidating", machine["memory_bytes"], _MEMORY_TOLERANCE)
    nodes = machine["nodes"]
    yield "machine.nodes", _Fact("invalidating", len(nodes))
    for node in nodes:
        name = f"machine.node{node.get('node')}"
        yield f"{name}.cpus", _Fact("invalidating", node.get("cpus"))
        yield f"{name}.memory", _Fact("invalidating", node.get("memory_bytes"), _NODE_TOLERANCE)
        yield f"{name}.distances", _Fact("invalidating", node.get("distances"))


def _settings(run: dict[str, Any]) -> Iterator[tuple[str, _Fact]]:
    machine = run["machine"]
    yield "governor", _Fact("invalidating", machine.get("governors"))
    yield "swap", _Fact("invalidating", machine.get("swap_bytes"))
    for name, value in (machine.get("thp") or {}).items():
        yield f"thp.{name}", _Fact("invalidating" if name == "enabled" else "other", value)
    for name, value in (machine.get("sysctl_vm") or {}).items():
        number = int(value) if value.isdecimal() else value
        yield f"vm.{name}", _Fact("other", number, _MEMORY_TOLERANCE)  # some follow the memory
    yield "python", _Fact("other", machine.get("python"))


def _kernel(run: dict[str, Any]) -> Iterator[tuple[str, _Fact]]:
    kernel = run["kernel"]
    for name in ("release", "version"):
        yield f"kernel.{name}", _Fact("meant", kernel[name])
    if kernel.get("build_id"):
        yield "kernel.build_id", _Fact("meant", kernel["build_id"])
    yield "kernel.config", _Fact("meant", kernel["config"]["sha256"])
    words = [w for w in (kernel["cmdline"] or "").split() if not w.startswith(_IDLE_WORDS)]
    yield "kernel.cmdline", _Fact("meant", " ".join(words))
    taint = kernel["taint"]
    yield "kernel.taint", _Fact("other", None if taint is None else taint & ~_OWN_TAINT)
    if "tainting_modules" in kernel:
        yield "kernel.tainting_modules", _Fact("other", kernel["tainting_modules"])
    options = kernel["config"]["options"]
    yield "kernel.config_options", _Fact("other", "unknown" if options is None else "known")
    for when in ("init_on_alloc", "init_on_free"):
        zeroes = _zeroes(when, words, options)
        if zeroes is not None:
            yield when, _Fact("meant", zeroes)
    for name, value in (options or {}).items():
        debug = name.startswith(_DEBUG_PREFIXES) or name in _DEBUG_OPTIONS
        yield (
            f"{'debug' if debug else 'config'}.{name}",
            _Fact("invalidating" if debug else "other", value),
        )


def _zeroes(when: str, words: Sequence[str], options: dict[str, str] | None) -> bool | None:
    """Return whether the kernel fills pages with zeros; None if that is not known."""
    for word in reversed(words):
        name, _, value = word.partition("=")
        if name == when:
            return value.lower() in ("1", "y", "yes", "on", "t", "true")
    option = (options or {}).get(f"{when.upper()}_DEFAULT_ON")
    return None if option is None else option == "y"


def _tool(run: dict[str, Any]) -> Iterator[tuple[str, _Fact]]:
    yield "tool.version", _Fact("other", run["tool_version"])
    source = run["bundle"].get("source")
    source = source if isinstance(source, dict) else {}
    # Another module measures otherwise; another runner, mostly, writes otherwise.
    yield "tool.module", _Fact("invalidating", source.get("kmod"))
    yield "tool.runner", _Fact("other", source.get("runner"))
    yield "tool.compiler", _Fact("other", _compiler(run))


def _compiler(run: dict[str, Any]) -> Any:
    """Return what compiled the module that was loaded: what the kernel was compiled with."""
    for module in run["bundle"].get("modules") or ():
        if isinstance(module, dict) and module.get("release") == run["kernel"]["release"]:
            return module.get("compiler")
    return None
