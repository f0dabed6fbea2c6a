# SPDX-License-Identifier: GPL-2.0-only
"""Where the runner starts."""

from __future__ import annotations

import os
import sys

from .command_line import help_text
from .errors import EXIT_COMPLETE, EXIT_HOST_UNFIT, RunnerError, Stop, describe
from .telling import streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .lifetime.scratch import Scratch
    from .lifetime.signals import Signals
    from .options import Options


def main() -> int:
    """Do what the command line asks for and return the exit code.

    What the help need not have is imported further on: argparse takes longer than Python's start.
    """
    _occupy_standard_descriptors()
    try:
        if help_text.is_all_asked(sys.argv[1:]):
            streams.tell(help_text.text())
            return EXIT_COMPLETE
        from . import options as command_line

        options = command_line.parse(sys.argv[1:])
    except RunnerError as error:
        streams.say(f"error: {error}")
        return error.exit_code
    return _do(options)


def _do(options: Options) -> int:
    """Do it with the signals taken over; until here launch.py has them, and the scratch directory.

    What wrong usage need not have is imported here.
    """
    from .lifetime.scratch import Scratch
    from .lifetime.signals import Signals

    signals = Signals()
    signals.install()
    scratch = Scratch.from_environment()
    try:
        return _dispatch(options, signals, scratch)
    except (RunnerError, Stop) as error:
        streams.say(f"error: {error}")
        return error.exit_code
    finally:
        signals.finish()
        scratch.remove()


def _occupy_standard_descriptors() -> None:
    """Open /dev/null as those of 0, 1 and 2 that are closed, so that no file of ours gets them."""
    try:
        while (fd := os.open(os.devnull, os.O_RDONLY)) <= 2:
            continue
    except OSError as error:
        streams.say(
            f"error: {os.devnull}: {error.strerror}; make it: mknod -m 666 {os.devnull} c 1 3"
        )
        sys.exit(EXIT_HOST_UNFIT)
    os.close(fd)


def _dispatch(options: Options, signals: Signals, scratch: Scratch) -> int:
    from . import options as command_line

    if options.keep and scratch.path:
        scratch.keep_it()
        streams.say(f"keeping {scratch.path}")
    if options.verb in command_line.COMING_BACK:
        from .detached import verbs

        return verbs.run_verb(options, signals)
    if options.verb is not None:
        return _run_verb(options)
    if options.detach:
        from .detached import start

        return start.detach(options, signals, scratch)
    from . import session

    return session.run(options, signals, scratch)


def _run_verb(options: Options) -> int:
    from .bundle_file import archive, verbs

    assert options.verb is not None
    if options.verb == "preflight":
        return _run_preflight(options)
    if options.verb == "list_workloads":
        from .telling import workloads

        streams.tell(workloads.listed())
        return EXIT_COMPLETE
    return verbs.run_verb(options.verb, archive.open_archive(), options.extract)


def _run_preflight(options: Options) -> int:
    """Print what stands in the way of a run with these options; nothing is changed."""
    from . import options as command_line
    from .inherited import table
    from .kernel import mounts
    from .preflight import verdict

    table.reset()  # as a run does
    try:
        if not mounts.problems():
            command_line.check_cpus(options.cpus, os.sched_getaffinity(0))
        text, code = verdict.report(options, as_json=not os.isatty(1))
    except OSError as error:
        raise RunnerError(describe(error)) from error
    streams.tell(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
