# SPDX-License-Identifier: GPL-2.0-only
"""Where the ``page-alloc-bench`` command starts.

This module imports next to nothing, so that a signal is in order almost from the first moment: as
long as there is nothing to clean up it ends this process at once.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def _end(signum: int, _frame: FrameType | None) -> None:
    os._exit(128 + signum)


for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_number) is not signal.SIG_IGN:
        signal.signal(_number, _end)


def main(name: str | None = None) -> None:
    """Run the command line to its end, and exit; name: of the command, if not that of its file."""
    from page_alloc_bench.cli import ends, main  # noqa: PLC0415

    ends.run(lambda: main(prog_name=name))


if __name__ == "__main__":
    main("page-alloc-bench")
