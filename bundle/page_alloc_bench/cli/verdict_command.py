# SPDX-License-Identifier: GPL-2.0-only
"""What `ab` and `bisect` are as commands: their exit codes, their directory, how they end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

from page_alloc_bench import outputs
from page_alloc_bench.campaign.journal import CampaignError
from page_alloc_bench.campaign.verdict_codes import REFUSED, TROUBLE
from page_alloc_bench.cli.common import BenchCommand, Codes, complain
from page_alloc_bench.cli.ends import Interrupted
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.targets.cache import note
from page_alloc_bench.targets.kept import Kept
from page_alloc_bench.targets.process import TargetError, UsageError


class VerdictCommand(BenchCommand):
    """0 to 2 and 4 are about what was asked: all else that goes wrong is 3 or 5."""

    codes = Codes(failed=TROUBLE, usage=REFUSED)


def in_directory(directory: Path | None, work: Callable[[Path], int]) -> int:
    """Do WORK in the DIRECTORY, or in one that goes; return its exit code, or that of an error.

    Raises click.UsageError, and OutputError before it does anything.
    """
    kept = None
    try:
        if directory:
            outputs.check_directory(directory)
            return work(directory)
        kept = Kept("ab")
        return work(kept.path)
    except UsageError as error:
        raise click.UsageError(str(error)) from error
    except PackagerError as error:
        complain(error.message, error.advice)
        return REFUSED
    except (CampaignError, TargetError) as error:
        complain(str(error))
        return TROUBLE
    except Interrupted as interrupted:
        note(cut_off("interrupted", directory))
        if kept:
            kept.remove()
        # Not by the end of main: that waits for threads, and they for their guests, which end with
        # this process.
        os._exit(128 + interrupted.signum)
    finally:
        if kept:
            kept.remove()


def cut_off(why: str, directory: Path | None) -> str:
    """Return why a command ended early, and how to go on. directory: that of --dir, if given."""
    if directory is None:
        return f"{why}; nothing is kept: with --dir the same command would go on from here"
    return f"{why}; the same command goes on from here"
