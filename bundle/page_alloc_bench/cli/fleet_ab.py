# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench fleet ab``: two kernels on many hosts, each compared with itself."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from page_alloc_bench import outputs
from page_alloc_bench.campaign.verdict_codes import TROUBLE
from page_alloc_bench.targets.process import UsageError

from . import ab_host, ab_timed, exit_codes
from .ab import ab as ab_command
from .common import CONTEXT, DIRECTORY, complain
from .ends import Interrupted
from .verdict_command import VerdictCommand, cut_off
from .verdict_options import confidence
from .with_results import needs, note

_EXTRAS = "analysis,fleet"
_AB = (sys.executable, "-m", "page_alloc_bench.cli", "ab")
# Of `ab --host`, whose parameters they are.
_SHARED = (
    "cmdline_base", "cmdline_new", "aa", "bundles", "boot", "boot_hook", "back_within", "accept",
    "timeout", "metrics", "confidence", "allow",
)  # fmt: skip
# What is passed on to it.
_PASSED_ON = ("base", "new", "threshold", *_SHARED)
# With more boots, `ab` would look at what they show before the last, and might stop.
_MOST_BOOTS = 6
Command = TypeVar("Command", bound=click.Command)


def _shared(command: Command) -> Command:
    """Give a command the options of `ab --host` that it passes on."""
    of_ab = {parameter.name: parameter for parameter in ab_command.params}
    command.params += [of_ab[name] for name in _SHARED]
    return command


@_shared
@click.command(name="ab", cls=VerdictCommand, context_settings=CONTEXT)
@click.argument("inventory")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- BENCH_OPTIONS...]")
@click.option("--base", metavar="RELEASE", help="A kernel that is installed on all hosts.")
@click.option("--new", metavar="RELEASE", help="The one that is compared with it.")
@click.option(
    "--threshold", metavar="PERCENT|KIND=PERCENT,...",
    help="The change that is a regression, as of compare.",
)  # fmt: skip
@click.option(
    "--dir", "directory", type=DIRECTORY, default="fleet-ab", show_default=True, metavar="DIR",
    help="Where all is kept; the same command goes on there.",
)  # fmt: skip
@click.option(
    "--forks", type=click.IntRange(1), default=20, show_default=True,
    help="How many hosts at a time; the others wait.",
)  # fmt: skip
@click.option(
    "--boots", type=click.IntRange(4, _MOST_BOOTS), default=4, show_default=True,
    help="Boots of each kernel on each host. More hosts tell more than more boots.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N",
    help="Of the order of the boots on each host.  [default: by chance]",
)  # fmt: skip
@click.option(
    "--power-hook", metavar="COMMAND",
    help="Runs here, with a host's name as its last word, to switch it off and on.",
)  # fmt: skip
@click.option(
    "--console", metavar="COMMAND",
    help="Runs here, with a host's name as its last word, and writes its console.",
)  # fmt: skip
@click.option("--plan", "plan_only", is_flag=True, help="Say what would be done to each host.")
@click.option(
    "--yes", is_flag=True, help="Agree to what is done to the hosts. Without it, you are asked."
)
def ab(inventory: str, words: tuple[str, ...], *, directory: Path, **options: Any) -> None:
    """Say whether the page allocator became worse, over the hosts of INVENTORY.

    Each host boots both kernels by turns, in an order drawn by chance, as `ab --host` does it, and
    is compared with itself: a host is one observation. Hosts may be of any kinds. What fails on one
    host stops no other. Eight hosts are the least for the four figures of memory and rates.

    The same command goes on where it was cut off, and tries hosts again whose trouble was none of
    their kernels.
    """
    with needs(_EXTRAS):
        from page_alloc_bench.fleet.outcome import FleetError
    try:
        code = _run(inventory, words, directory, options)
    except Interrupted:
        note(cut_off("interrupted", directory))
        raise
    except UsageError as error:
        raise click.UsageError(str(error)) from error
    except FleetError as error:
        complain(str(error))
        code = TROUBLE
    sys.exit(code)


ab.epilog = exit_codes.epilog("fleet ab")


def _run(inventory: str, words: Sequence[str], place: Path, options: Mapping[str, Any]) -> int:
    """Compare on all hosts; print the verdict and return the exit code.

    Raises UsageError, FleetError, and OutputError before it does anything.
    """
    from page_alloc_bench.fleet import board
    from page_alloc_bench.fleet.crossover import Crossover
    from page_alloc_bench.fleet.engine import Engine
    from page_alloc_bench.fleet.journal import Journal

    outputs.check_directory(place)
    ab_timed.names({**options, "news": [options["new"]] if options["new"] else []})
    ab_host.check_first({**options, "bench_options": words})
    engine = Engine(inventory, place, forks=options["forks"], become=False)
    given = _given()
    calls = _calls(engine.variables(), place, given, options)
    if options["plan_only"]:
        return _plan(calls, options["forks"])
    _agree(list(calls), options)
    journal = Journal(place)
    seeds = _begin(journal, engine.inventory, list(calls), [*given, "--", *words], options)
    commands = {
        host: [*_AB, *of_host, "--yes", f"--seed={seeds[host]}", "--", *words]
        for host, of_host in calls.items()
    }
    crossover = Crossover(journal, commands, options["forks"], note)
    with board.shown(board.Board(journal, list(calls), crossover.latest)):
        crossover.run()
    return _conclude(journal, list(calls), options)


def _given() -> list[str]:
    """Return the options to be passed on, as words, in the order of their declaration."""
    context = click.get_current_context()
    found = []
    for parameter in context.command.params:
        name = str(parameter.name)
        if name not in _PASSED_ON or context.get_parameter_source(name) in (
            None,
            ParameterSource.DEFAULT,
        ):
            continue
        value, option = context.params[name], parameter.opts[0]
        if isinstance(value, bool):
            found += [option] if value else []
        else:
            values = value if isinstance(value, tuple) else (value,)
            found += [f"{option}={each}" for each in values]
    return found


def _calls(
    variables: Mapping[str, Mapping[str, Any]],
    place: Path,
    given: Sequence[str],
    options: Mapping[str, Any],
) -> dict[str, list[str]]:
    """Return the words of `ab --host` for each host. Raises FleetError, UsageError."""
    from page_alloc_bench.fleet import by_ssh, crossover
    from page_alloc_bench.fleet.outcome import FleetError

    made = {}
    for host, known in sorted(variables.items()):
        try:
            ssh = by_ssh.command(known)
        except FleetError as error:
            raise FleetError(f"{host}: {error}") from error
        made[host] = [
            f"--host={host}", f"--ssh={ssh}", f"--dir={crossover.directory(place, host)}",
            f"--max-boots={options['boots']}", *given,
        ]  # fmt: skip
        for name in ("power_hook", "console"):
            if options[name]:
                option = f"--{name.replace('_', '-')}"
                made[host].append(f"{option}={crossover.with_host(options[name], host, option)}")
    return made


def _plan(calls: Mapping[str, Sequence[str]], at_once: int) -> int:
    """Have `ab --host` say of each host what would be done; return the exit code."""

    def ask(host: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_AB, *calls[host], "--plan"], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False,
        )  # fmt: skip

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        answers = list(pool.map(ask, calls))
    for answer in answers:
        click.echo(answer.stderr, err=True, nl=False)
    return max(answer.returncode for answer in answers)


def _agree(hosts: Sequence[str], options: Mapping[str, Any]) -> None:
    """Return if the user agrees that the hosts are restarted. Raises UsageError."""
    if options["yes"]:
        return
    restarts = 2 * options["boots"] + 2
    if not sys.stdin.isatty():
        raise UsageError(
            f"nobody can be asked whether {len(hosts)} hosts may be restarted: give --yes"
        )
    click.echo("\n".join(hosts), err=True)
    question = f"restart these {len(hosts)} hosts, each {restarts} times (see --plan)?"
    if not click.confirm(question, err=True):
        raise UsageError("all hosts are left as they are")


def _begin(
    journal: Any, inventory: str, hosts: list[str], asked: list[str], options: Mapping[str, Any]
) -> dict[str, int]:
    """Write the plan, or go on with it; return the seed of each host. Raises FleetError."""
    from page_alloc_bench.fleet import crossover

    seed = options["seed"]
    if seed is None:
        seed = journal.plan.get("seed", random.SystemRandom().randrange(1 << 32))
    plan = {
        "inventory": inventory,
        "hosts": hosts,
        "ab": asked,
        "boots": options["boots"],
        "seed": seed,
    }
    if journal.begin(plan):
        note(f"going on with {journal.directory}")
    return crossover.seeds(hosts, seed, options["boots"])


def _conclude(journal: Any, hosts: Sequence[str], options: Mapping[str, Any]) -> int:
    """Print what the hosts show together; return the exit code. Raises UsageError, FleetError."""
    from page_alloc_bench.analysis import thresholds
    from page_alloc_bench.fleet import crossover_verdict, outcome

    entries = {host: journal.hosts[host] for host in hosts}
    known = {host: (each["outcome"], each["reason"]) for host, each in entries.items()}
    whole = [host for host, (what, _) in known.items() if what == outcome.OK]
    given: dict[str, Any] = {
        "thresholds": thresholds.parse(options["threshold"]) if options["threshold"] else None,
        "confidence": confidence(options["confidence"]),
        "allow": options["allow"],
        "only": options["metrics"],
    }
    with ab_timed.refusals():
        made = crossover_verdict.compared(journal.directory, whole, given)
    text, code = crossover_verdict.tell(journal.directory, made, known)
    click.echo(text, nl=False)
    return code
