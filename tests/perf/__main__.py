# SPDX-License-Identifier: GPL-2.0-only
"""What scripts/perf runs: every figure, side by side, in one run."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from page_alloc_bench.packager import build
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.guest import Guest
from perf import antagonist, findlimit, runner
from perf.figures import Figure, at_most


def bundle_figures(bundle: Path) -> Iterator[Figure]:
    yield at_most("bundle without Python, kB", bundle.stat().st_size / 1000, 400)


def measure() -> Iterator[Figure]:
    """Yield each figure as soon as it is known."""
    kernel = kernels.fetch()
    with tempfile.TemporaryDirectory(prefix="pab-perf.") as scratch:
        bundle = Path(scratch) / "bench.run"
        build.build(build.BuildRequest(kdir=kernel.kdir, output=bundle), progress=lambda _: None)
        yield from bundle_figures(bundle)
        with Guest(kernel, icount=True, cmdline_extra="init_on_alloc=0") as guest:
            yield from antagonist.against_floor(guest)
        with Guest(kernel, cpus=4, nodes=2, memory="2G") as guest:
            yield from antagonist.over_cpus(guest)
            yield from findlimit.against_c(guest)
            yield from runner.startup(guest, bundle)
            yield from runner.footprint(guest, bundle)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/perf", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()

    figures = []
    for figure in measure():
        figures.append(figure)
        print(figure.line(), flush=True)
    if options.json:
        options.json.write_text(json.dumps([figure.as_json() for figure in figures], indent=1))
    return 0 if all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
