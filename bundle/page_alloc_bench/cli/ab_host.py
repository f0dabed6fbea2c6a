# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench ab --host``: the kernels are booted on a real host, which ssh reaches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from page_alloc_bench.campaign.journal import Journal
from page_alloc_bench.cli import ab_host_kernels, ab_revisions, ab_timed, ab_verdict
from page_alloc_bench.cli.ab_host_kernels import Chosen
from page_alloc_bench.cli.ab_timed import seconds
from page_alloc_bench.cli.ends import Interrupted
from page_alloc_bench.runner.bundle_file.archive import Archive
from page_alloc_bench.targets import bench_options
from page_alloc_bench.targets.cache import note
from page_alloc_bench.targets.host import efi, grub_own, install, measure, methods, refusals
from page_alloc_bench.targets.host import facts as host_facts
from page_alloc_bench.targets.host.facts import Facts
from page_alloc_bench.targets.host.install import Package
from page_alloc_bench.targets.host.measure import Measurement
from page_alloc_bench.targets.host.method import Method
from page_alloc_bench.targets.host.methods import METHODS, method
from page_alloc_bench.targets.host.restart import BACK_S, DownError, Restarter
from page_alloc_bench.targets.host.shell import Shell, Ssh
from page_alloc_bench.targets.outcome import Outcome
from page_alloc_bench.targets.process import TargetError, UsageError, command_words

Command = TypeVar("Command", bound=Callable[..., Any])
DONE = 0
_OPTIONS = (
    click.option("--host", metavar="HOST",
                 help="Boot the kernels on this host, which ssh reaches, instead of in guests."),
    click.option("--ssh", default="ssh", show_default=True, metavar="COMMAND",
                 help="The ssh client, and its options."),
    click.option("--boot", type=click.Choice(METHODS), default="kexec", show_default=True,
                 help="How the host is restarted with a kernel, once."),
    click.option("--boot-hook", metavar="COMMAND",
                 help="With --boot hook: runs here, gets HOST and RELEASE, and restarts the host."),
    click.option("--power-hook", metavar="COMMAND",
                 help="Runs here to switch a host off and on that does not come back."),
    click.option("--console", metavar="COMMAND",
                 help="Runs here while the host restarts and measures, and writes its console."),
    click.option("--back-within", callback=seconds, metavar="TIME", default=f"{BACK_S / 60:.0f}m",
                 show_default=True, help="How long the host may need to restart."),
    click.option("--bundles", type=click.Path(exists=True, path_type=Path), metavar="DIR",
                 help="Bundles *.run, or one, with modules for the host's kernels."),
    click.option("--accept", multiple=True, metavar="NAME",
                 help=f"Restart although this was found: {', '.join(refusals.NAMES)}. "
                 "Repeatable."),
    click.option("--plan", "plan_only", is_flag=True,
                 help="Say what would be done to the host, and end."),
    click.option("--uninstall", is_flag=True,
                 help="Remove the kernels from the host that earlier calls installed, and end."),
    click.option("--yes", is_flag=True,
                 help="Agree to what is done to the host. Without it, you are asked."),
)  # fmt: skip
_NAMES = {
    "ssh": "--ssh", "boot": "--boot", "boot_hook": "--boot-hook", "power_hook": "--power-hook",
    "console": "--console", "back_within": "--back-within", "bundles": "--bundles",
    "accept": "--accept", "plan_only": "--plan", "uninstall": "--uninstall", "yes": "--yes",
}  # fmt: skip
_OF_GUESTS = {
    "cpus": "--cpus", "nodes": "--nodes", "memory": "--mem", "accel": "--accel",
    "by_instructions": "--exact", "each": "--each",
}  # fmt: skip


def options(command: Command) -> Command:
    """Give a command the options of a comparison on a host."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check(options: Mapping[str, Any]) -> None:
    """Raise UsageError for options that do not go together."""
    source = click.get_current_context().get_parameter_source
    unwanted = _OF_GUESTS if options["host"] else _NAMES
    given = [option for name, option in unwanted.items() if _given(source(name))]
    for name in ("power_hook", "console"):
        if options[name] is not None:
            command_words(options[name], option=_NAMES[name])
    if given and options["host"]:
        raise UsageError(f"{given[0]} is of guests: leave it out, or --host")
    if given:
        raise UsageError(f"{given[0]} is of a host: give --host too")


def _given(source: ParameterSource | None) -> bool:
    return source not in (None, ParameterSource.DEFAULT)


@dataclass(frozen=True)
class Side:
    """A kernel on the host: what campaign.timed.loop.Boots asks for."""

    name: str
    label: str
    restarter: Restarter
    measurement: Measurement

    def measure(self) -> Outcome:
        """Restart the host with it once, and measure."""
        return measure.measure(self.restarter, self.measurement)


def run(directory: Path, revisions: list[str], options: Mapping[str, Any]) -> int:
    """Compare two kernels on a host; print the verdict and return the exit code.

    Raises UsageError, CampaignError, TargetError and PackagerError.
    """
    if options["uninstall"]:
        return _uninstall(revisions, options)
    ab_timed.require_analysis()
    if revisions:
        _require_two(revisions, options)
    else:
        ab_host_kernels.check(options)
    check_first(options)
    with Ssh(options["host"], options["ssh"]) as shell:
        facts = host_facts.read(shell)
        way = method(options["boot"], shell, facts, options["boot_hook"])
        if revisions:
            _require_way(way, words=ab_host_kernels.words_of(options), installs=True)
        refusals.require(shell.host, facts, way, [facts.present], options["accept"])
        if revisions:
            _require_answer(shell.host, options)
            built, failed = ab_revisions.both(revisions, dict(options))
            if failed is not None:
                return ab_verdict.tell(directory, failed, (), failed.failed, 0)
            chosen = ab_host_kernels.revisions(built, facts, options)
        else:
            chosen = ab_host_kernels.named(directory, facts, options)
        _require(shell, facts, way, chosen, options["accept"])
        click.echo(_told(shell.host, facts, way, chosen, options), err=True)
        if options["plan_only"]:
            return DONE
        _agree(shell.host, options)
        restarter = Restarter(
            shell,
            facts,
            way,
            note,
            back_s=options["back_within"],
            power_hook=options["power_hook"],
            console=options["console"],
        )
        return _compare(Journal(directory), restarter, chosen, options)


def _require_two(revisions: list[str], options: Mapping[str, Any]) -> None:
    if options["base"] or options["news"]:
        raise UsageError("give two revisions, or --base and --new, not both")
    if options["aa"]:
        raise UsageError("--host compares no revision with itself: give --aa with --base")
    if len(revisions) != 2:
        raise UsageError("give two revisions of --tree, or --base and --new")


def check_first(options: Mapping[str, Any]) -> None:
    """Raise UsageError for what can be told of a host before it is connected to.

    Ends the process for --help of the benchmark.
    """
    bundles = ab_host_kernels.bundles(options["bundles"])
    bench_options.check_hosts(options["bench_options"], map(Archive, {*bundles.values()}))
    ab_timed.asked_of(options, {})
    methods.check(options["boot"], options["boot_hook"])
    refusals.check(options["accept"])


def _uninstall(revisions: list[str], options: Mapping[str, Any]) -> int:
    """Take the kernels of ours off a host."""
    if revisions or options["base"] or options["news"]:
        raise UsageError("--uninstall removes all that was installed: name no kernel")
    with Ssh(options["host"], options["ssh"]) as shell:
        facts = host_facts.read(shell)
        grub_own.remove(shell, facts)
        removed = sorted({*install.uninstall(shell), *efi.uninstall(shell, facts)})
        if facts["efi"] and not facts["efi_esp"]:
            note(f"{shell.host}: its EFI system partition is not mounted, and was not looked at")
    what = f"removed {', '.join(removed)}" if removed else "nothing is installed there"
    note(f"{options['host']}: {what}")
    return DONE


def _require(
    shell: Shell, facts: Facts, way: Method, chosen: Mapping[str, Chosen], accepted: Sequence[str]
) -> None:
    """Raise UsageError where the host is not to be restarted with these kernels."""
    packages = [each.package for each in chosen.values() if each.package]
    words = {side: each.words for side, each in chosen.items()}
    _require_way(way, words=words, installs=bool(packages))
    install.require_new(shell, packages)
    own = [each.kernel for each in chosen.values() if not each.package]
    refusals.require(shell.host, facts, way, [facts.present, *own], accepted)


def _require_way(way: Method, *, words: Mapping[str, str], installs: bool) -> None:
    """Raise UsageError for more arguments, or kernels to be installed, that it cannot start."""
    if any(words.values()) and not way.takes_cmdline:
        raise UsageError(f"--boot {way.name} gives kernels no --cmdline-*: use --boot kexec or efi")
    if installs and not way.takes_any:
        raise UsageError(
            f"--boot {way.name} starts kernels of the host's own: name releases of it, or use "
            "--boot kexec or efi"
        )


def _told(
    host: str, facts: Facts, way: Method, chosen: Mapping[str, Chosen], options: Mapping[str, Any]
) -> str:
    """Return what will be done to the host, in lines."""
    machine = _machine(host, facts, way)
    back = f"{options['back_within']:.0f} s"
    lost = (
        f"{options['power_hook']} is called"
        if options["power_hook"]
        else "it stays down, and all ends (no --power-hook)"
    )
    return "\n".join([
        f"{host}: {machine['cpus']} CPUs, {machine['nodes']} nodes, {machine['memory_mib']} MiB; "
        f"{facts['release']} runs",
        *(f"{side}: {each.label}{_unknown(each)}" for side, each in chosen.items()),
        "what is done there, as root:",
        *(
            f"  0. {release} is installed in {install.PLACE} and /lib/modules, and stays there for "
            "the\n     next call, until --uninstall"
            for release in sorted(_packages(chosen))
        ),
        f"  1. it is restarted into {facts['release']}, to see it come back",
        f"  2. up to {2 * options['most']} restarts into base and new, and a run in each: the run "
        "loads",
        "     a module, and takes all memory and all CPUs",
        f"  3. a plain restart; {measure.PLACE}, with bundle and results, goes with it",
        f"restarts of 1 and 2: {way.about()}",
        "the default boot entry is not changed: any other restart boots what it always did",
        f"if it is not back within {back}, {lost}",
    ])  # fmt: skip


def _unknown(chosen: Chosen) -> str:
    return "" if chosen.kernel.version else " (its image does not say which build of that it is)"


def _packages(chosen: Mapping[str, Chosen]) -> dict[str, Package]:
    """Return what is to be installed, by the release."""
    return {each.package.release: each.package for each in chosen.values() if each.package}


def _machine(host: str, facts: Facts, way: Method) -> dict[str, Any]:
    """Return what a plan says of the host."""
    return {
        "host": host,
        "boot": way.name,
        "cpus": int(facts["cpus"]),
        "nodes": max(1, int(facts["nodes"] or 1)),
        "memory_mib": int(facts["memory_kib"]) // 1024,
    }


def _require_answer(host: str, options: Mapping[str, Any]) -> None:
    """Raise UsageError where somebody has to agree to all this, and nobody can be asked."""
    if not (options["yes"] or options["plan_only"] or sys.stdin.isatty()):
        raise UsageError(f"nobody can be asked whether {host} may be restarted: give --yes")


def _agree(host: str, options: Mapping[str, Any]) -> None:
    """Return if the user agrees to all this. Raises UsageError."""
    _require_answer(host, options)
    if options["yes"]:
        return
    if not click.confirm(f"restart {host}?", err=True):
        raise UsageError(f"{host} is left as it is")


def _compare(
    journal: Journal,
    restarter: Restarter,
    chosen: Mapping[str, Chosen],
    options: Mapping[str, Any],
) -> int:
    from page_alloc_bench.campaign.timed import plan

    host, facts = restarter.shell.host, restarter.facts
    asked = {
        **ab_timed.asked_of(options, _machine(host, facts, restarter.method)),
        "labels": {side: each.label for side, each in chosen.items()},
        "cmdlines": {side: each.words for side, each in chosen.items()},
        "kernels": {side: dict(each.about) for side, each in chosen.items()},
    }
    if plan.begin(journal, asked, most=options["most"], seed=options["seed"]):
        note(f"going on with {journal.directory}")
    sides = {}
    for side, each in chosen.items():
        bundle = each.bundle()
        wanted = Measurement(
            each.kernel,
            each.words,
            bundle,
            asked["bench_options"],
            asked["timeout"],
            each.build(bundle, facts["machine"]),
        )
        sides[side] = Side(side, each.label, restarter, wanted)
    for package in _packages(chosen).values():
        install.install(restarter.shell, package, note)
    every = [facts.present, *(each.kernel for each in chosen.values())]
    restarter.method.prepare(restarter.shell, every)
    try:
        note(f"{host}: restarting once into {facts['release']}, to see it come back")
        restarter.try_once(facts.present)
        code = ab_timed.conclude(journal, sides, options)
    except Interrupted:
        note(f"{host} is left with what runs there: restart it")
        raise
    except DownError as error:
        raise DownError(f"{error}\n{_afterwards(options['directory'])}") from error
    except Exception:
        _leave(restarter)
        raise
    _leave(restarter)
    return code


def _afterwards(directory: Path | None) -> str:
    """Return how to go on when the host answers again. directory: that of --dir, if given."""
    if directory is None:
        return "nothing is kept: with --dir, the same command would go on when it answers"
    return "when it answers, the same command goes on"


def _leave(restarter: Restarter) -> None:
    """Leave the host in its default kernel, and nothing of ours on it."""
    host = restarter.shell.host
    try:
        note(f"{host}: restarting as it does by itself")
        note(f"{host}: {restarter.into_default().release} runs")
    except DownError as error:
        note(f"warning: {error}")
    except TargetError as error:
        note(f"warning: {host} is not left as it was found: {error}")
