# SPDX-License-Identifier: GPL-2.0-only
"""Count the instructions of the page allocator: boot a kernel, run --workload exact, by function.

    document = exact.measure(bundle, image, "amd64", ["--alloc-orders", "0"])
    document["exact_pairs_instructions_per_1000_operations_order0"]  # of one boot

The guest has one CPU, no disk and no network, and an instruction takes a nanosecond of its time.
What is left to chance are the processor's random numbers (RDRAND), which come from a seed: with the
same one a boot is the same to the instruction, with another one memory is laid out in another way.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from page_alloc_bench.runner.workloads.exact import COUNTS, NAME
from page_alloc_bench.targets import cache, where
from page_alloc_bench.targets.machine import machine
from page_alloc_bench.targets.outcome import judged, without_name
from page_alloc_bench.targets.process import TargetError, tail
from page_alloc_bench.targets.serial import OUTPUT, Returned, SerialGuest
from page_alloc_bench.targets.unpacked import unpack
from page_alloc_bench.targets.where import Counts, Interval, Symbols
from page_alloc_bench.temporary import temporary_directory

MEMORY = "1G"
SEED = 1
THRESHOLD = "0.1%"
# Clearing is counted by the byte: it would hide the allocator.
DEFAULT_ARGUMENTS = "init_on_alloc=0"
# Threads of the kernel that work now and then, on the only CPU. mm/damon/stat.c starts DAMON's by
# default in Debian's kernels from 7.2 on. khugepaged is made to sleep, not left out: without huge
# pages the kernel keeps less memory free (set_recommended_min_free_kbytes(), mm/khugepaged.c), so
# the lists of a CPU would be shorter than they are on hosts.
_DAMON_OFF = "damon_stat.enabled=N"
_KHUGEPAGED = "/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs"
_WEEKS = 4_000_000_000  # milliseconds
# Nearly half of the instructions of a boot.
_NO_CRYPTO_TESTS = "cryptomgr.notests"
_AMD64 = (
    # On one CPU the kernel would take the LOCK prefixes away.
    "noreplace-smp",
    # The TSC's rate is measured anew in each boot, with an error of 1e-5.
    "clocksource=hpet",
    # calibrate_APIC_clock() (arch/x86/kernel/apic/apic.c) reads the TSC in a loop for 100 ms, and
    # the emulator leaves its code for each reading: a third of the CPU time of a boot.
    "nolapic_timer",
)
_KINDS = ("atomics", "loads", "stores")
_BUNDLE = "/root/bench"
_SAID_LINES, _LOG_LINES = 5, 10


def measure(
    bundle: Path,
    image: Path,
    arch: str,
    bench_options: Sequence[str] = (),
    *,
    cmdline_extra: str = "",
    memory: str = MEMORY,
    seed: int = SEED,
    by_function: bool = True,
    on_line: Callable[[str], object] = lambda _line: None,
    console: Callable[[str], object] = lambda _text: None,
    timeout: float = 900,
) -> dict[str, Any]:
    """Boot IMAGE once, run BUNDLE with --workload exact and BENCH_OPTIONS, and return its result.

    CMDLINE_EXTRA goes after the arguments of the kernel that this mode needs. SEED is of the random
    numbers that the guest gets. With BY_FUNCTION the result has run.where and the metrics of atomic
    instructions, loads and stores, unless QEMU or this host cannot; then ON_LINE is told why, as of
    the run's progress. CONSOLE is called with what the kernel wrote. TIMEOUT is in seconds.

    Raises TargetError where the kernel does not boot or the run fails.
    """
    plugin = _plugin(arch, on_line) if by_function else None
    known = _Kallsyms(image)
    guest = SerialGuest(
        image,
        machine(1, 1, memory, icount=True, arch=arch),
        cmdline_extra=f"{_arguments(arch)} {cmdline_extra}".strip(),
        qemu_extra=("-seed", str(seed), *(where.arguments(plugin) if plugin else ())),
        kept=(where.PLUGIN_OUTPUT,),
    )
    with temporary_directory() as made:
        unpacked = unpack(bundle, made / "bundle", _BUNDLE)
        script = _script(
            unpacked.command, bench_options, symbols=plugin is not None and not known.cached
        )
        said: list[str] = []

        def hear(line: str) -> None:
            said.append(line)
            on_line(without_name(line))

        try:
            returned = guest.run(script, unpacked.files, on_line=hear, timeout=timeout)
        finally:
            console(guest.console)
    document = _document(returned, said)
    if plugin:
        symbols = known.get(returned.files.get("kallsyms"))
        _add_where(document, returned, symbols)
    document["run"]["exact"] |= {"seed": seed, "seconds": round(returned.seconds, 1)}
    return document


def _plugin(arch: str, on_line: Callable[[str], object]) -> Path | None:
    try:
        return where.plugin(arch)
    except TargetError as error:
        on_line(f"warning: no counts by function: {error}")
        return None


def _arguments(arch: str) -> str:
    words = [
        # Addresses as they are in the symbol table, and the same in each boot.
        "nokaslr",
        *(_AMD64 if arch == "amd64" else ()),
        _DAMON_OFF,
        _NO_CRYPTO_TESTS,
        COUNTS,
        DEFAULT_ARGUMENTS,
    ]
    return " ".join(words)


def _script(command: Sequence[str], bench_options: Sequence[str], *, symbols: bool) -> str:
    given = ["--workload", NAME, "--output-path", f"{OUTPUT}/result.json", "--quiet"]
    table = f"grep ' [tTwW] ' /proc/kallsyms | grep -v '\\[' >{OUTPUT}/kallsyms"
    # A comment is as long: the guest's memory is laid out as in a boot that sends the symbols.
    table = table if symbols else f"#{table[1:]}"
    lines = [
        "echo 0 >/proc/sys/kernel/kptr_restrict",
        f"[ ! -e {_KHUGEPAGED} ] || echo {_WEEKS} >{_KHUGEPAGED}",
        "export LC_ALL=C.UTF-8",
        shlex.join([*command, *given, *bench_options]),
        "status=$?",
        table,
        "exit $status",
    ]
    return "\n".join(lines) + "\n"


def _document(returned: Returned, said: Sequence[str]) -> dict[str, Any]:
    """Return the result. Raises TargetError where there is none, or its kernel is not sound."""
    made = judged(returned.status, returned.files, tail("\n".join(said), _SAID_LINES), None)
    if made.document is None or made.end != "ok":
        why = "the benchmark refuses this kernel: " if made.end == "refused" else ""
        log = tail(returned.files.get("dmesg", b"").decode(errors="replace"), _LOG_LINES)
        reason = " ".join(made.reason.split())
        raise TargetError(f"{why}{reason}\nits kernel's log ends:\n{log}")
    return made.document


class _Kallsyms:
    """The symbol table of an image, which is the same in each boot of it."""

    def __init__(self, image: Path) -> None:
        self._key = hashlib.sha256(image.read_bytes()).hexdigest()[:24]
        self.cached = cache.has("symbols", self._key)

    def get(self, text: bytes | None) -> Symbols:
        """Return it, from the cache or from TEXT, which a guest has sent."""

        def build(temporary: Path, _final: Path) -> None:
            assert text is not None, "the guest was asked for it"
            Symbols(text.decode())
            (temporary / "kallsyms").write_bytes(text)

        entry = cache.entry("symbols", self._key, build, "the symbols of the kernel")
        return Symbols((entry / "kallsyms").read_text())


def _add_where(document: dict[str, Any], returned: Returned, symbols: Symbols) -> None:
    """Put what the plugin counted into DOCUMENT."""
    text = returned.files.get(where.PLUGIN_OUTPUT, b"").decode()
    intervals = where.read(text, symbols.function)
    cases = document["run"]["exact"]["cases"]
    if len(intervals) != 2 * len(cases):
        raise TargetError(
            f"the plugin saw {len(intervals)} intervals, and the run had {2 * len(cases)}: is the "
            "bundle of this version?"
        )
    document["run"]["where"] = [_where(case, intervals[case["interval"]]) for case in cases]
    for case, each in zip(cases, document["run"]["where"]):
        for kind in _KINDS:
            count = each["total"][kind]
            if count is not None:
                name = f"exact_{case['pattern']}_{kind}_per_1000_operations_order{case['order']}"
                document[name] = [round(count * 1000 / case["allocs"])]


def _where(case: Mapping[str, Any], interval: Interval) -> dict[str, Any]:
    functions = sorted(interval.functions.items(), key=lambda item: -item[1].instructions)
    return {
        "pattern": case["pattern"],
        "order": case["order"],
        "operations": case["allocs"],
        "total": asdict(interval.total()),
        "functions": [{"name": name, **_plain(counts)} for name, counts in functions],
    }


def _plain(counts: Counts) -> dict[str, int | None]:
    return asdict(counts)
