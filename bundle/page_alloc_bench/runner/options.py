# SPDX-License-Identifier: GPL-2.0-only
"""The runner's command line."""

from __future__ import annotations

import argparse
import re
import sys

from page_alloc_bench import __version__

from .errors import EXIT_USAGE, UsageError
from .kernel import procfs
from .result import columns
from .telling import streams

TYPE_CHECKING = False  # typing itself takes milliseconds to import
if TYPE_CHECKING:
    from typing import NoReturn

PROGRAM = "page-alloc-bench"

# Verbs that are about a run on this host rather than about the bundle.
COMING_BACK = ("attach", "status", "stop")
_VERBS = ("list", "check", "info", "preflight", "extract", *COMING_BACK)

# The ancestor's options, which Go's flag package also takes with one dash.
_GO_OPTIONS = (
    "output-path",
    "iterations",
    "alloc-orders",
    "timeout-s",
    "latencies",
    "findlimit-mmap-size-gib",
    "help",
)
_GO_FORM = re.compile(r"-(?:{})(?:=.*)?".format("|".join(_GO_OPTIONS)), re.DOTALL)

# Go's strconv.ParseBool.
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")

_MAX_ORDER = 63
_MAX_HELD = 1 << 24  # half of PAB_MAX_BLOCKS in kmod/page_alloc_bench.h
_DEFAULT_HELD = 1000
_MAX_SAMPLE = 1 << 22  # PAB_MAX_SAMPLE

_DESCRIPTION = """\
Measure the page allocator of the running kernel: how much memory a process can get, how fast \
pages are allocated and freed, and how much memory is lost while an antagonist does so.

For each order, the run does this, idle for all orders first:
  idle         a child process takes memory until the OOM killer ends it, --iterations times
  antagonized  the same while a kernel thread on each CPU allocates and frees blocks of that order
Latencies and counts come from the antagonist."""

_EPILOG = """\
what it does to the host:
  It loads a kernel module, which taints the kernel, drives the host out of memory on purpose \
again and again, and keeps every chosen CPU busy. The OOM killer is steered at the benchmark's \
own child, but caches are dropped and other programs will stall. Do not run it on a host \
that others need. At the end, however it comes (Ctrl-C, kill -9 and a dropped connection too), the \
workers stop, their pages go back, the module is unloaded and nothing stays on disk.

a connection that may drop:
  --detach does all that can be refused, starts the run in a session of its own, says how to come \
back, and returns. --attach shows what the run has said and says, delivers its result as the run \
itself would have, and ends with its exit code; ending --attach does not end the run. Output and \
result are kept in memory, in /run/page-alloc-bench, which is root's alone and goes when they \
have been fetched. --stop also ends a run that is not detached.

output:
  The result is one JSON object, described by runner/result/schema.json. It goes to \
--output-path, or to stdout, or into a file in the current directory where stdout is a terminal. \
Progress and the summary go to stderr. With --ktap, stdout has KTAP version 1 instead: a test for \
each phase of each order.

exit codes:
  0      complete
  1      failed; what was measured so far is written, marked "complete": false; also where stdout
         does not take what was asked for, such as the pipe of a reader that has gone
  2      usage: wrong options, an order or a CPU that this host does not have, no place for output
  3      the host is not fit: no root, no module for its kernel, another copy runs, ...
  124    --timeout-s is over; what was measured so far is written
  128+n  stopped by signal n, so 130 by Ctrl-C; what was measured so far is written
  137    by --attach: the run was killed; nothing more is written
  --status has its own: 0 running, 10 ended and 11 killed, both not fetched yet; 12, by --attach \
and --stop too, there is nothing.

examples:
  sudo ./bench.run --output-path result.json
  ssh root@host ./bench.run --iterations 10 --alloc-orders 0,9 > result.json
  ssh root@host ./bench.run --detach; ssh root@host ./bench.run --attach > result.json
"""


class Options(argparse.Namespace):
    """What the command line asks for.

    timeout_s: seconds, 0 for none. findlimit_mmap_size_gib: 0 for automatic. cpus: None for all
    that this process may use. stall_s: seconds, 0 for never. accept: names of findings.
    held, spread: blocks. sample_size: latencies per metric and order.
    verb: what is to be done instead of a run, without the dashes, or None for a run. extract: the
    directory to extract to.
    """

    output_path: str | None
    iterations: int
    alloc_orders: list[int]
    timeout_s: float
    latencies: str
    findlimit_mmap_size_gib: int
    cpus: list[int] | None
    held: int
    spread: int
    seed: int
    sample_size: int
    thp: str
    no_swap: bool
    stall_s: float
    accept: list[str]
    ktap: bool
    quiet: bool
    verbose: bool
    list: bool
    check: bool
    info: bool
    preflight: bool
    extract: str | None
    detach: bool
    attach: bool
    status: bool
    stop: bool
    keep: bool
    build_on_target: bool

    @property
    def verb(self) -> str | None:
        """Return which verb is asked for, if one is."""
        for name in _VERBS:
            if getattr(self, name) not in (False, None):
                return name
        return None


class _Formatter(argparse.HelpFormatter):
    """Fits the help into the terminal's columns."""

    def __init__(self, prog: str) -> None:
        width = columns.of(1)
        super().__init__(prog, max_help_position=24 if width > 60 else 8, width=width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        del indent
        return columns.fill(text, width)


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        streams.say(f"error: {message} (--help explains every option)")
        sys.exit(EXIT_USAGE)

    def print_help(self, _file: object = None) -> None:
        streams.tell(self.format_help().rstrip("\n"))


class _Version(argparse.Action):
    """Print the version, and exit."""

    def __call__(self, *_ignored: object) -> NoReturn:
        streams.tell(f"{PROGRAM} {__version__}")
        sys.exit(0)


def parse(arguments: list[str]) -> Options:
    """Return what the arguments ask for; exits 0 for --help and --version, 2 on bad usage.

    A first "--" is passed over: some have options for the bundle only behind one. Raises
    RunnerError if stdout does not take the help.
    """
    parser = _parser()
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    for word in arguments:
        if re.match(r"-[^-].", word) and not _GO_FORM.fullmatch(word):
            parser.error(f"unknown option {word}")  # argparse would take -held=3 for -h
    options = parser.parse_args([_modern(word) for word in arguments], namespace=Options())
    if options.spread is None:
        options.spread = min(options.held, _DEFAULT_HELD)
    if options.spread > options.held:
        parser.error(f"--spread={options.spread} must not exceed --held={options.held}")
    if options.quiet and options.verbose:
        parser.error("--quiet and --verbose exclude each other")
    _check_verbs(parser, options)
    if options.detach and options.ktap:
        parser.error("--ktap tells a run as it goes on, and nobody listens to one with --detach")
    return options


def _check_verbs(parser: _Parser, options: Options) -> None:
    """Complain of two verbs; --preflight may judge a run that would be detached."""
    wanted = [name for name in _VERBS if getattr(options, name) not in (False, None)]
    if options.detach:
        wanted = ["detach", *(name for name in wanted if name != "preflight")]
    if len(wanted) > 1:
        parser.error(f"--{wanted[0]} and --{wanted[1]} exclude each other")


def _modern(word: str) -> str:
    """Return Go's -iterations=3 as --iterations=3, and any other word as it is."""
    return f"-{word}" if _GO_FORM.fullmatch(word) else word


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of all options, which knows each one's default and help."""
    return _parser()


def _parser() -> _Parser:
    parser = _Parser(
        prog=PROGRAM,
        usage="bench.run [OPTION]...",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=_Formatter,
        allow_abbrev=False,
        add_help=False,
    )
    _add_run_options(parser.add_argument_group("the run"))
    _add_safety_options(parser.add_argument_group("the host"))
    _add_antagonist_options(parser.add_argument_group("the antagonist"))
    _add_output_options(parser.add_argument_group("output"))
    coming_back = parser.add_argument_group("a run that outlives its connection")
    bundle = parser.add_argument_group("the bundle itself (no root needed)")
    _add_detached_options(coming_back)
    _add_verbs(bundle)
    return parser


def _add_run_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--iterations",
        type=_integer(1, 1_000_000),
        default=5,
        metavar="N",
        help="how often available memory is measured in each phase (default: 5)",
    )
    group.add_argument(
        "--alloc-orders",
        type=_orders,
        default=[0, 4],
        metavar="LIST",
        help="orders to measure one after the other; a block is 2^order pages (default: 0,4)",
    )
    group.add_argument(
        "--timeout-s",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="give up after this time; 0 never does (default: 0)",
    )
    group.add_argument(
        "--cpus",
        type=_cpus,
        metavar="LIST",
        help="CPUs to use, like 0-3,8 (default: all that this process may use)",
    )
    group.add_argument(
        "--findlimit-mmap-size-gib",
        type=_integer(0, 1 << 20),
        default=0,
        metavar="GIB",
        help="size of the mappings that the child fills, in GiB; 0 adapts it to the machine "
        "(default: 0)",
    )
    group.add_argument(
        "--thp",
        choices=("inherit", "always", "never"),
        default="inherit",
        help="transparent huge pages for the child's memory; inherit leaves it to the host "
        "(default: inherit)",
    )
    group.add_argument(
        "--build-on-target",
        action="store_true",
        help="if the bundle holds no module for this kernel, compile it here: needs the kernel's "
        "headers, make and a compiler",
    )


def _add_safety_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--accept",
        type=_names,
        default=[],
        metavar="NAME[,NAME...]",
        help="run in spite of these findings of --preflight, at your own risk",
    )
    group.add_argument(
        "--no-swap",
        action="store_true",
        help="keep the child's memory out of swap (by locking it), whatever swap the host has",
    )
    group.add_argument(
        "--stall-s",
        type=_seconds,
        default=120.0,
        metavar="SECONDS",
        help="when nothing has moved for this time, neither memory nor the OOM killer, record what "
        "the kernel says about it and give up; 0 never does (default: 120)",
    )


def _add_antagonist_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--held",
        type=_integer(1, _MAX_HELD),
        default=_DEFAULT_HELD,
        metavar="BLOCKS",
        help="blocks that a worker holds on average (default: 1000)",
    )
    group.add_argument(
        "--spread",
        type=_integer(1, _MAX_HELD),
        metavar="BLOCKS",
        help="how far it strays from that, 1 to --held: its targets are uniform in "
        "held-spread..held+spread (default: 1000, or --held where that is less)",
    )
    group.add_argument(
        "--seed",
        type=_integer(0, 2**64 - 1),
        default=1,
        metavar="N",
        help="of every random choice; the same seed repeats a run's sequence (default: 1)",
    )
    group.add_argument(
        "--latencies",
        type=_latencies,
        nargs="?",
        const="sampled",
        default="sampled",
        metavar="{sampled,all,none}",
        help="operations to time: sampled is one in 64, chosen at random in advance, so that the "
        "clock does not swamp what it measures; all gives exact tails and costs throughput; true "
        "and false mean sampled and none (default: sampled)",
    )
    group.add_argument(
        "--sample-size",
        type=_integer(1, _MAX_SAMPLE),
        default=50_000,
        metavar="N",
        help="latencies kept per metric and order, over all CPUs together (default: 50000)",
    )


def _add_output_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--output-path",
        metavar="FILE",
        help="where the JSON goes; none keeps none (default: stdout, or where that is a terminal, "
        "page-alloc-bench-RELEASE-TIME.json in the current directory)",
    )
    group.add_argument(
        "--ktap",
        action="store_true",
        help="KTAP version 1 on stdout, for kernel CI; JSON goes to --output-path only",
    )
    group.add_argument(
        "--quiet", action="store_true", help="only warnings and errors on stderr: no summary"
    )
    group.add_argument("--verbose", action="store_true", help="say what is done and found")
    group.add_argument(
        "--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help="print it and exit"
    )
    group.add_argument("--help", "-h", action="help", help="print this and exit")


def _add_verbs(group: argparse._ArgumentGroup) -> None:
    verbs = group.add_mutually_exclusive_group()
    verbs.add_argument("--list", action="store_true", help="list the files in the bundle")
    verbs.add_argument("--check", action="store_true", help="verify every byte of the bundle")
    verbs.add_argument("--info", action="store_true", help="tell which kernels it has modules for")
    verbs.add_argument(
        "--preflight",
        action="store_true",
        help="look at the host, print what is found (JSON unless stdout is a terminal), and exit; "
        "with 3 if a run would be refused",
    )
    verbs.add_argument(
        "--extract", metavar="DIR", help="lay out its content in DIR; DIR/run.sh runs it"
    )
    group.add_argument(
        "--keep", action="store_true", help="do not remove the scratch directory, and name it"
    )


def _add_detached_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--detach",
        action="store_true",
        help="start the run so that it goes on by itself, and return once it has begun",
    )
    verbs = group.add_mutually_exclusive_group()
    verbs.add_argument(
        "--attach",
        action="store_true",
        help="follow such a run, and fetch its result when it is over",
    )
    verbs.add_argument(
        "--status",
        action="store_true",
        help="tell how far the run on this host is (JSON unless stdout is a terminal)",
    )
    verbs.add_argument(
        "--stop",
        action="store_true",
        help="end the run on this host as SIGTERM does, and wait until the host is clean",
    )


class _integer:  # noqa: N801 - a converter of argparse, named as int is
    """Convert to an int between low and high."""

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def __call__(self, text: str) -> int:
        if not re.fullmatch(r"[0-9]+", text) or not self._low <= int(text) <= self._high:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no whole number from {self._low} to {self._high}"
            )
        return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or float(text) > 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, 0 or more")
    return float(text)


def _names(text: str) -> list[str]:
    names = text.split(",")
    if not all(re.fullmatch(r"[a-z0-9-]+", name) for name in names):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of names like swap,load")
    return names


def _orders(text: str) -> list[int]:
    orders = text.split(",")
    if not all(re.fullmatch(r"[0-9]{1,2}", order) for order in orders):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of orders like 0,4")
    numbers = [int(order) for order in orders]
    if len(set(numbers)) != len(numbers):
        raise argparse.ArgumentTypeError(f"{text!r} names an order twice")
    if max(numbers) > _MAX_ORDER:
        raise argparse.ArgumentTypeError(f"order {max(numbers)} exceeds what any kernel has")
    return numbers


def _cpus(text: str) -> list[int]:
    if re.search(r"[0-9]{6}", text):  # no machine has as many; do not build such a list
        raise argparse.ArgumentTypeError(f"{text!r} names CPUs that no kernel supports")
    try:
        cpus = procfs.parse_list(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; CPUs are given like 0-3,8") from error
    if not cpus:
        raise argparse.ArgumentTypeError("names no CPU; CPUs are given like 0-3,8")
    return cpus


def _latencies(text: str) -> str:
    if text in _TRUE:
        return "sampled"
    if text in _FALSE:
        return "none"
    if text in ("sampled", "all", "none"):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is none of sampled, all, none, true, false")


def check_orders(orders: list[int], max_order: int) -> None:
    """Raise UsageError for an order that is larger than the kernel's largest."""
    if max(orders) > max_order:
        raise UsageError(
            f"order {max(orders)} is too large: this kernel's largest is {max_order} "
            "(--alloc-orders)"
        )


def check_cpus(wanted: list[int] | None, allowed: set[int]) -> list[int]:
    """Return the CPUs to use, sorted; allowed: those of this process's affinity mask.

    Raises UsageError for a CPU that does not exist, is offline or is not allowed.
    """
    if wanted is None:
        return sorted(allowed)
    for problem, usable in (
        ("does not exist", procfs.present_cpus()),
        ("is offline", procfs.online_cpus()),
        ("is not allowed for this process (by its affinity or cpuset)", sorted(allowed)),
    ):
        missing = sorted(set(wanted) - set(usable))
        if missing:
            raise UsageError(
                f"CPU {procfs.format_list(missing)} {problem}; "
                f"--cpus may name {procfs.format_list(usable)}"
            )
    return sorted(wanted)
