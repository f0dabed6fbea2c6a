# SPDX-License-Identifier: GPL-2.0-only
"""What scripts/costs runs: the command of the manual, whose outcome is the manual's table."""

from __future__ import annotations

import argparse
import subprocess
import sys

from costs import MANUAL, PICTURE, directory, update, words


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/costs",
        description=f"Run the command that {MANUAL.name} of the manual begins with.",
    )
    parser.add_argument("--update-manual", action="store_true", help="write the table there")
    options = parser.parse_args()
    page = MANUAL.read_text()
    command = words(page)
    done = subprocess.run([sys.executable, "-m", "page_alloc_bench.cli", *command[1:]], check=False)
    made = directory(command)
    # 1 and 2 are verdicts on releases, of which only the figures are of interest.
    if done.returncode > 2:
        return done.returncode
    if options.update_manual:
        MANUAL.write_text(update(page, (made / "costs.md").read_text()))
        PICTURE.write_bytes((made / PICTURE.name).read_bytes())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
