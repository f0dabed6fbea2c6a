# SPDX-License-Identifier: GPL-2.0-only
"""The runner's command line."""

from __future__ import annotations

import argparse
import sys

from page_alloc_bench import __version__

from . import workload
from .command_line import common, groups, help_text, texts
from .errors import EXIT_USAGE, UsageError
from .kernel import procfs
from .result import names
from .telling import streams

TYPE_CHECKING = False  # typing itself takes milliseconds to import
if TYPE_CHECKING:
    from typing import NoReturn

    from .command_line.option import Option, Part

PROGRAM = "page-alloc-bench"

# Verbs that are about a run on this host rather than about the bundle.
COMING_BACK = ("attach", "status", "stop")
_VERBS = ("list", "check", "info", "list_workloads", "preflight", "extract", *COMING_BACK)

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


class Options(argparse.Namespace):
    """What the command line asks for.

    timeout_s: seconds, 0 for none. findlimit_mmap_size_gib: 0 for automatic. cpus: None for all
    that this process may use. stall_s: seconds, 0 for never. accept: names of findings.
    sample_size: latencies per metric and order. workload: names, in the order of time. What
    patterns and workloads have as options of their own is here too, by the names they declare.
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
    workload: list[str]
    seed: int
    sample_size: int
    thp: str
    no_swap: bool
    stall_s: float
    accept: list[str]
    ktap: bool
    label: dict[str, str]
    quiet: bool
    verbose: bool
    list: bool
    check: bool
    info: bool
    list_workloads: bool
    quick: bool
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


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        streams.say(f"error: {message} (--help explains every option)")
        sys.exit(EXIT_USAGE)

    def print_help(self, _file: object = None) -> None:
        streams.tell(help_text.text())


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
        if len(word) > 2 and word[0] == "-" != word[1] and not _is_of_go(word):
            parser.error(f"unknown option {word}")  # argparse would take -held=3 for -h
    options = parser.parse_args([_modern(word) for word in arguments], namespace=Options())
    _complete_parts(parser, options)
    if options.quiet and options.verbose:
        parser.error("--quiet and --verbose exclude each other")
    _check_verbs(parser, options)
    if options.detach and options.ktap:
        parser.error("--ktap tells a run as it goes on, and nobody listens to one with --detach")
    return options


def _complete_parts(parser: _Parser, options: Options) -> None:
    """Let what is chosen complete its options; complain of one that is given for what is not."""
    options.workload = _workloads(parser, options.workload)
    used = {part.name for each in workload.chosen(options) for part in each.parts()}
    for part in groups.parts().values():
        for option in part.options:
            _complete(parser, options, option, _workloads_of(part))
        wrong = part.check(options) if part.name in used else None
        if wrong:
            parser.error(wrong)
    for option in _apart():
        _complete(parser, options, option, [option.workload])


def _workloads(parser: _Parser, asked: list[str]) -> list[str]:
    """Return the names of the workloads that are asked for, each once."""
    known = workload.every()
    found: list[str] = []
    for name in asked:
        if name not in known and name != workload.ALL:
            instead = names.instead_of(name, known)
            parser.error(f"no workload is called {name}. {instead}. --list-workloads lists them")
        found += [w.name for w in known.values() if w.in_all] if name == workload.ALL else [name]
    return list(dict.fromkeys(found))


def _workloads_of(part: Part) -> list[str]:
    every = workload.every().values()
    return [each.name for each in every if part.name in (own.name for own in each.parts())]


def _complete(parser: _Parser, options: Options, option: Option, of: list[str]) -> None:
    """Give an option its default; complain where it is given, and none of its workloads is."""
    if not hasattr(options, option.name):
        quick = options.quick and option.quick is not None
        setattr(options, option.name, option.quick if quick else option.default)
    elif not set(of) & set(options.workload):
        parser.error(
            f"{option.flag} is for --workload {' or '.join(of)} only, and this run measures "
            f"{', '.join(options.workload)}"
        )


def _apart() -> list[Option]:
    """Return the options of one workload that stand with those of all runs."""
    groups = (common.RUN, common.SAFETY)
    return [option for group in groups for option in group.options if option.workload]


def _check_verbs(parser: _Parser, options: Options) -> None:
    """Complain of two verbs; --preflight may judge a run that would be detached."""
    wanted = [name for name in _VERBS if getattr(options, name) not in (False, None)]
    if options.detach:
        wanted = ["detach", *(name for name in wanted if name != "preflight")]
    if len(wanted) > 1:
        first, second = (name.replace("_", "-") for name in wanted[:2])
        parser.error(f"--{first} and --{second} exclude each other")


def _modern(word: str) -> str:
    """Return Go's -iterations=3 as --iterations=3, and any other word as it is."""
    return f"-{word}" if _is_of_go(word) else word


def _is_of_go(word: str) -> bool:
    """Return whether a word is an option in the form of Go's flags: -iterations=3."""
    return word.startswith("-") and word[1:].partition("=")[0] in _GO_OPTIONS


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of all options, which knows each one's default and help."""
    return _parser()


def _parser() -> _Parser:
    parser = _Parser(
        prog=PROGRAM,
        usage=texts.USAGE,
        description=texts.DESCRIPTION,
        epilog=texts.EPILOG,
        allow_abbrev=False,
        add_help=False,
    )
    own = [*_apart(), *(option for part in groups.parts().values() for option in part.options)]
    for title, options in groups.every().items():
        group = parser.add_argument_group(title)
        one_of = group.add_mutually_exclusive_group()
        for option in options:
            option.add_to(one_of if option.exclusive else group, own=option in own)
        if title == common.OUTPUT.title:
            group.add_argument(
                "--version", action=_Version, nargs=0, default=argparse.SUPPRESS,
                help=texts.VERSION,
            )  # fmt: skip
            group.add_argument("--help", "-h", action="help", help=texts.HELP)
    return parser


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
