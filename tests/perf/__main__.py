# SPDX-License-Identifier: GPL-2.0-only
"""What scripts/perf runs: every figure, side by side, in one run."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import nullcontext
from pathlib import Path

import lab
from page_alloc_bench import outputs
from page_alloc_bench.packager import build
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.guest import Guest
from perf import ab, antagonist, exact, findlimit, fleet, python, repeat, runner, workloads
from perf.figures import Figure, at_most

GROUPS = (
    "size",
    "python",
    "antagonist",
    "cpu",
    "cpus",
    "workloads",
    "findlimit",
    "startup",
    "memory",
    "repeat",
    "exact",
    "ab",
    "fleet",
)

Group = Callable[[Guest], Iterator[Figure]]
Groups = dict[str, Group]


def size(bundle: Path, without_python: Path) -> Iterator[Figure]:
    yield at_most("bundle without Python, kB", without_python.stat().st_size / 1000, 400)
    yield at_most("bundle with Python, kB", bundle.stat().st_size / 1000, 9000)


def measure(wanted: Set[str]) -> Iterator[Figure]:
    """Yield each figure of the groups wanted as soon as it is known."""
    kernel = kernels.fetch()
    with tempfile.TemporaryDirectory(prefix="pab-perf.") as scratch:
        bundle = Path(scratch) / "bench.run"
        build.build(build.BuildRequest(kdir=kernel.kdir, output=bundle))
        without_python = Path(scratch) / "host.run"
        build.build(build.BuildRequest(kdir=kernel.kdir, output=without_python, python=build.HOST))
        if "size" in wanted:
            yield from size(bundle, without_python)
        if "python" in wanted:
            yield from python.startup(bundle, without_python)
        by_instructions: Groups = {
            "antagonist": antagonist.against_floor,
            "cpu": lambda guest: runner.cpu(guest, bundle),
            "repeat": repeat.rate,
            "workloads": workloads.against_floor,
        }
        with_four_cpus: Groups = {
            "cpus": antagonist.over_cpus,
            "findlimit": findlimit.against_c,
            "startup": lambda guest: runner.startup(guest, bundle),
            "memory": lambda guest: runner.memory(guest, bundle),
            "repeat": lambda guest: repeat.memory(guest, bundle),
            "workloads": lambda guest: workloads.isolated(guest, bundle),
        }
        for groups, guest in (
            (by_instructions, Guest(kernel, icount=True, cmdline_extra="init_on_alloc=0")),
            (with_four_cpus, Guest(kernel, cpus=4, nodes=2, memory="2G")),
        ):
            chosen = [figures for name, figures in groups.items() if name in wanted]
            if chosen:
                yield from _in_guest(guest, chosen)
    if "exact" in wanted:
        yield from exact.boots()
    if "ab" in wanted:
        yield from ab.probe()
        yield from ab.stopping()
        yield from ab.alone()
        yield from ab.overhead()
        yield from ab.revisions()
    if "fleet" in wanted:
        yield from fleet.overhead()
        yield from fleet.store()
        yield from fleet.trend()
        yield from fleet.change_points()


def _in_guest(guest: Guest, groups: Iterable[Group]) -> Iterator[Figure]:
    with guest:
        lab.install(guest)
        for figures in groups:
            yield from figures(guest)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/perf", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "groups", nargs="*", metavar="GROUP", help=f"which figures: {', '.join(GROUPS)}"
    )
    options = parser.parse_args()
    unknown = set(options.groups) - set(GROUPS)
    if unknown:
        parser.error(f"no such group: {', '.join(sorted(unknown))}")

    figures = []
    try:
        with outputs.OutputFile(options.json) if options.json else nullcontext() as stream:
            for figure in measure(set(options.groups or GROUPS)):
                figures.append(figure)
                print(figure.line(), flush=True)
            if stream:
                text = json.dumps([figure.as_json() for figure in figures], indent=1)
                stream.write(text.encode())
    except outputs.OutputError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    return 0 if all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
