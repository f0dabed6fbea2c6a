# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench fleet``: the benchmark on many hosts."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from page_alloc_bench import outputs

from . import fleet_ab
from .common import CONTEXT, DIRECTORY, BenchCommand, Codes, Group
from .with_results import bad_input, needs, note

_EXTRAS = "analysis,query,fleet"
_NOT_ALL_OK = 1
_DIR = click.option(
    "--dir", "directory", type=DIRECTORY, default="fleet", show_default=True, metavar="DIR",
    help="Where the journal, the results and what the runs said are kept.",
)  # fmt: skip
_FORKS = click.option(
    "--forks", type=click.IntRange(1), default=20, show_default=True,
    help="To how many hosts at a time files are copied and questions put.",
)  # fmt: skip
_UNDRAIN = click.option(
    "--undrain", default="", metavar="CMD",
    help="A command of this host's shell, with the name of a host as $1, that puts it back into "
    "service once it is as it was. It may be run twice.",
)  # fmt: skip


class _Fleet(Group):
    """codes: what the exit codes of the subcommand mean that was called."""

    codes = Codes()

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand."""
        found = super().resolve_command(context, args)
        self.codes = getattr(found[1], "codes", Codes())
        return found


@click.group(cls=_Fleet, context_settings=CONTEXT)
def fleet() -> None:
    """Run the benchmark on many hosts, which Ansible reaches by SSH.

    The hosts need no Python. A run needs no connection: all hosts measure at once. Each host is
    driven out of memory on purpose: name test machines only.
    """


@fleet.command(cls=BenchCommand, context_settings=CONTEXT)
@click.argument("inventory")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- BENCH_OPTIONS...]")
@click.option(
    "--bundles", type=click.Path(exists=True, path_type=Path), required=True, metavar="DIR",
    help="A directory of bundles *.run, or one for all. Each host gets the one that has a module "
    "for its kernel.",
)  # fmt: skip
@click.option(
    "--store", type=DIRECTORY, required=True, metavar="STORE",
    help="The store that whole results go to; it is made if it is not there.",
)  # fmt: skip
@click.option(
    "--build-on-target", is_flag=True,
    help="Compile the module on hosts for whose kernel no bundle has one: they need its headers, "
    "make and the compiler.",
)  # fmt: skip
@_DIR
@_FORKS
@click.option("--become", is_flag=True, help="Become root on the hosts, as Ansible does (sudo).")
@click.option(
    "--remote-dir", default="/var/tmp", show_default=True, metavar="DIR",  # noqa: S108
    help="Where bundle and result are on a host until the result is here.",
)  # fmt: skip
@click.option(
    "--poll-s", type=click.FloatRange(0.1), default=30, show_default=True,
    help="How many seconds to wait before hosts are asked again how far they are.",
)  # fmt: skip
@click.option(
    "--lost-s", type=click.FloatRange(0), default=900, show_default=True,
    help="For how many seconds a host in a run may give no answer.",
)  # fmt: skip
@click.option(
    "--longest-s", type=click.FloatRange(0), default=86400, show_default=True,
    help="After how many seconds a run is stopped.",
)  # fmt: skip
@click.option(
    "--batch", type=click.IntRange(1), metavar="N",
    help="Measure on so many hosts at once; the next begin when they are done.  [default: all]",
)  # fmt: skip
@click.option(
    "--pause", "pause_s", type=click.FloatRange(0), default=0, show_default=True, metavar="S",
    help="How many seconds to wait between two batches.",
)  # fmt: skip
@click.option(
    "--drain", default="", metavar="CMD",
    help="A command of this host's shell, with the name of a host as $1, that takes it out of "
    "service before anything is brought there. It may be run twice.",
)  # fmt: skip
@_UNDRAIN
def run(
    inventory: str,
    words: tuple[str, ...],
    *,
    bundles: Path,
    store: Path,
    directory: Path,
    forks: int,
    become: bool,
    build_on_target: bool,
    **more: Any,
) -> None:
    """Run on each host of INVENTORY, and put the results into a store.

    INVENTORY is any that Ansible takes: a file, a directory, or host names with commas. The same
    command goes on where it was cut off; a host that has its outcome is left alone.

    Exit code 0 only if every host is ok.
    """
    _check(more["remote_dir"])
    for path in (directory, store):
        outputs.check_directory(path)
    with needs(_EXTRAS), _complaints(), bad_input():
        from page_alloc_bench.fleet import board
        from page_alloc_bench.fleet import bundles as of_kernels
        from page_alloc_bench.fleet.engine import Engine
        from page_alloc_bench.fleet.journal import Journal
        from page_alloc_bench.fleet.rounds import Rounds, Settings

        found = of_kernels.by_kernel(bundles)
        _check_words(words, found)
        engine = Engine(inventory, directory, forks=forks, become=become)
        hosts = engine.hosts()
        keep = _into(store)
        journal = Journal(directory)
        plan = {
            "inventory": engine.inventory,
            "bundles": {kernel: str(path) for kernel, path in found.items()},
            "options": list(words),
            "store": str(store.resolve()),
            "remote_dir": more["remote_dir"],
            "become": become,
            "build_on_target": build_on_target,
        }
        if journal.begin(plan):
            note(f"going on with {directory}")
        builders = of_kernels.by_machine(found) if build_on_target else {}
        settings = Settings(bundles=found, builders=builders, options=words, forks=forks, **more)
        rounds = Rounds(engine, journal, settings, keep, note)
        with board.shown(board.Board(journal, hosts, rounds.phases)):
            rounds.run(hosts)
    _tell(journal, hosts)


fleet.add_command(fleet_ab.ab)


@fleet.command(context_settings=CONTEXT)
@_DIR
def status(directory: Path) -> None:
    """Tell what came of each host so far, from the journal; no host is asked.

    Exit code 0 only if every host that is known is ok.
    """
    with _complaints():
        journal = _journal(directory)
    _tell(journal, sorted(journal.hosts))


@fleet.command(context_settings=CONTEXT)
@_DIR
@_FORKS
@_UNDRAIN
def collect(directory: Path, forks: int, undrain: str) -> None:
    """Bring the results of runs that are over, and wait for no other.

    For a fleet whose `fleet run` was ended; what that began goes on without it. The hosts are left
    as they were, as `fleet run` leaves them.

    Exit code 0 only if every host that is known is ok.
    """
    _collect(directory, forks, undrain, stop=False)


@fleet.command(context_settings=CONTEXT)
@_DIR
@_FORKS
@_UNDRAIN
def stop(directory: Path, forks: int, undrain: str) -> None:
    """End the runs that go on, bring what they have, and leave their hosts as they were.

    A `fleet run` that still waits for them must be ended first (Ctrl-C). Hosts that have not begun
    are left alone; the same `fleet run` would begin them.

    Exit code 0 only if every host that is known is ok; one whose run was ended is not.
    """
    _collect(directory, forks, undrain, stop=True)


def _collect(directory: Path, forks: int, undrain: str, *, stop: bool) -> None:
    with needs(_EXTRAS), _complaints(), bad_input():
        from page_alloc_bench.fleet import bundles as of_kernels
        from page_alloc_bench.fleet.engine import Engine
        from page_alloc_bench.fleet.rounds import Rounds, Settings

        journal = _journal(directory)
        plan = journal.plan
        if "bundles" not in plan:
            raise click.UsageError(
                f"{directory} is of `fleet ab`: give the same command as then to go on with it"
            )
        journal.go_on()
        engine = Engine(plan["inventory"], directory, forks=forks, become=plan.get("become", False))
        found = {kernel: Path(path) for kernel, path in plan["bundles"].items()}
        settings = Settings(
            bundles=found,
            builders=of_kernels.by_machine(found) if plan.get("build_on_target") else {},
            options=plan["options"],
            remote_dir=plan["remote_dir"],
            undrain=undrain,
            forks=forks,
        )
        hosts = sorted(journal.hosts)
        rounds = Rounds(engine, journal, settings, _into(Path(plan["store"])), note)
        rounds.collect(hosts, stop=stop)
    _tell(journal, hosts)


def _journal(directory: Path) -> Any:
    """Return the journal of a fleet that was begun there."""
    from page_alloc_bench.fleet.journal import Journal

    journal = Journal(directory)
    if not journal.plan:
        raise click.UsageError(f"{directory} has no fleet.jsonl: name its directory by --dir")
    return journal


def _check(remote_dir: str) -> None:
    if not remote_dir.startswith("/") or not all(c.isalnum() or c in "/._-" for c in remote_dir):
        raise click.UsageError("--remote-dir must be an absolute path of letters, digits, . _ -")


def _check_words(words: Sequence[str], bundles: Mapping[str, Path]) -> None:
    """Raise click.UsageError for options of the benchmark that no host can run with."""
    from page_alloc_bench.runner.bundle_file.archive import Archive
    from page_alloc_bench.targets import bench_options
    from page_alloc_bench.targets.process import UsageError

    try:
        bench_options.check_hosts(words, map(Archive, {*bundles.values()}))
    except UsageError as error:
        raise click.UsageError(str(error)) from error


def _into(directory: Path) -> Callable[[Path], object]:
    """Return what puts a result into a store."""
    from page_alloc_bench.analysis import results, tidy
    from page_alloc_bench.analysis.store import keep, place

    store = place.make_store(directory)

    def add(path: Path) -> None:
        for _ in keep.add(store, tidy.each([results.load(path)], note)):
            pass

    return add


def _tell(journal: Any, hosts: list[str]) -> None:
    """Print a line for each host; exit 1 if not all are ok."""
    from page_alloc_bench.fleet import board, outcome

    told = {host: journal.hosts.get(host, {}) for host in hosts}
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in board.lines(told, columns):
        click.echo(line)
    if any(board.state(entry) != outcome.OK for entry in told.values()):
        sys.exit(_NOT_ALL_OK)


@contextmanager
def _complaints() -> Iterator[None]:
    from page_alloc_bench.fleet.outcome import FleetError

    try:
        yield
    except FleetError as error:
        raise click.ClickException(str(error)) from error
