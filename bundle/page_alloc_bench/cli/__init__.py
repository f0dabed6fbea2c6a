# SPDX-License-Identifier: GPL-2.0-only
"""The ``page-alloc-bench`` command: one module per subcommand, imported when it is used.

Results go to stdout, progress and complaints to stderr. Exit codes: 0 done, 1 failed, 2 wrong
usage, 3 the host or the kernel tree is not fit, or the output cannot be written; commands that
compare kernels have verdicts (exit_codes.py), and ``run`` and ``vm`` end as the benchmark did.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

import page_alloc_bench
from page_alloc_bench.cli import ends, exit_codes
from page_alloc_bench.cli.common import CONTEXT, Codes, Group

# Where each subcommand lives; a module has its command under the command's own name.
_COMMANDS = {
    "build": "build",
    "run": "build",
    "vm": "vm",
    "fleet": "fleet",
    "ab": "ab",
    "bisect": "bisect",
    "kernels": "kernels",
    "kconfig": "kconfig",
    "compare": "compare",
    "report": "report",
    "show": "show",
    "export": "export",
    "query": "query",
    "store": "store",
    "trend": "trend",
    "help": "help",
    "completion": "completion",
}


class _Commands(Group):
    """Loads a subcommand's module when it is called: the libraries of one slow down no other."""

    _codes = Codes()

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line; alone, end the process as ``ends`` has it, and not as click does."""

        def command() -> Any:
            return super(_Commands, self).main(
                args, prog_name, complete_var, standalone_mode=False, **extra
            )

        if not standalone_mode:
            return command()
        self._command: click.Command | None = None
        sys.exit(ends.status(command, lambda: getattr(self._command, "codes", Codes())))

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names in the order of the work: build, run, look at the result."""
        return list(_COMMANDS)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of a command line, and keep in mind what its exit codes mean."""
        found = super().resolve_command(context, args)
        self._command = found[1]
        return found

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Return the subcommand called ``name``."""
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"page_alloc_bench.cli.{_COMMANDS[name]}")
        command: click.Command = getattr(module, name)
        command.epilog = exit_codes.epilog(name)
        return command


@click.group(cls=_Commands, context_settings=CONTEXT)
@click.version_option(page_alloc_bench.__version__, prog_name="page-alloc-bench")
def main() -> None:
    """Benchmark the Linux kernel's page allocator.

    Build one file for a kernel, copy it to a host that runs this kernel, and run it there as root:

    \b
        page-alloc-bench build --kdir TREE -o bench.run
        scp bench.run HOST:
        ssh HOST sudo ./bench.run > result.json

    The benchmark drives that host out of memory on purpose. Use a test machine, or see `vm`.
    """
