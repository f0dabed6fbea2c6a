# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench completion``: completion of commands and options by the shell."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from page_alloc_bench.cli.common import CONTEXT

_SHELLS: dict[str, type[ShellComplete]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}
_NAMES = ("page-alloc-bench", "pab")


@click.command(context_settings=CONTEXT)
@click.argument("shell", required=False, type=click.Choice(tuple(_SHELLS)))
@click.option("--install", is_flag=True, help="Install it for this user instead.")
@click.pass_context
def completion(context: click.Context, shell: str | None, install: bool) -> None:
    """Print what makes a shell complete commands, options and topics, or install it.

    Without SHELL it is for the login shell, which the variable SHELL names.
    """
    shell = shell or Path(os.environ.get("SHELL", "")).name
    if shell not in _SHELLS:
        raise click.UsageError(f"name a shell: {', '.join(_SHELLS)}", context)
    if not install:
        for name in _NAMES:
            click.echo(script(context, shell, name))
        return
    if shell == "zsh":
        raise click.UsageError(
            "zsh has no directory for the completions of one user; put this line into ~/.zshrc: "
            'eval "$(page-alloc-bench completion zsh)"'
        )
    for name in _NAMES:
        path = _place(shell, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script(context, shell, name))
        click.echo(f"installed {path}", err=True)


def script(context: click.Context, shell: str, name: str) -> str:
    """Return what a shell reads to complete the command line of the program called name."""
    variable = f"_{name.upper().replace('-', '_')}_COMPLETE"
    return _SHELLS[shell](context.find_root().command, {}, name, variable).source()


def _place(shell: str, name: str) -> Path:
    """Return the file that the shell loads for the program called name, when it needs it."""
    if shell == "fish":
        base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        return Path(base).expanduser() / "fish/completions" / f"{name}.fish"
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "bash-completion/completions" / name
