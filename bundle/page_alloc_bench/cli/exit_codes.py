# SPDX-License-Identifier: GPL-2.0-only
"""What the exit codes of the commands mean; those of a bundle stand in runner/errors.py."""

from __future__ import annotations

import shutil
import textwrap

_MOST, _LEAST = 76, 38  # columns; click indents the text by two
_SIGNAL = ("128+n", "ended by signal n: 130 is Ctrl-C, 141 a pipe that nobody reads any more")

# Code and meaning, of every command but those of VERDICTS; run and vm end as a bundle does.
COMMANDS = (
    ("0", "done"),
    ("1", "failed"),
    ("2", "wrong usage, an output file that cannot be written, or a file that is not a result"),
    (
        "3",
        "the host or the kernel tree is not fit; or the output was lost on its way, for example "
        "on a full disk",
    ),
    _SIGNAL,
)

COMPARE = (
    ("0", "no regression: each figure that decides is shown to be no worse than its threshold"),
    ("1", "a regression: the interval of a change is beyond the threshold"),
    (
        "2",
        "cannot tell: intervals too wide, too few boots, one side measured before the other, or a "
        "figure that a side does not have",
    ),
    (
        "3",
        "wrong usage, a file that is not a result, sides that must not be compared, or a verdict "
        "that could not be written",
    ),
    _SIGNAL,
)

AB = (
    ("0", "no regression: it is shown that nothing that decides is worse by the threshold"),
    ("1", "a regression of the threshold or more is shown"),
    (
        "2",
        "cannot tell: more boots would hardly decide, all boots are made, or `--budget` is over",
    ),
    (
        "3",
        "wrong usage, a kernel that is not fit, a run that refuses, boots that must not be "
        "compared; with `--exact` and of the base also a module that does not build",
    ),
    (
        "4",
        "a new kernel does not build, boot, or survive the run; also if base never failed, and "
        "new did, with `--keep-going`",
    ),
    ("5", "trouble here, or with the base"),
    _SIGNAL,
)
FLEET_AB = (
    *AB[:2],
    ("2", "cannot tell: too few hosts have measured both kernels, or they differ too much"),
    ("3", "wrong usage, or results that must not be compared"),
    ("4", "no regression is shown, and the new kernel does not survive on some host"),
    ("5", "trouble here; or no host has measured both kernels"),
    _SIGNAL,
)
TREND = (
    ("0", "the newest kernel is not shown to be worse than what came before"),
    ("1", "the newest kernel is worse, and its boots confirm it"),
    ("2", "cannot tell: no figure was measured on two kernels of one machine"),
    ("3", "wrong usage, a file that is not a result, or an output that could not be written"),
    _SIGNAL,
)
BISECT = (
    ("0", "the commit is found"),
    ("1", "nothing to find: BAD is not worse than GOOD"),
    (
        "2",
        "cannot tell: GOOD from BAD; or several commits are left, which do not build or boot, or "
        "cannot be told; or `--budget` is over",
    ),
    (
        "3",
        "wrong usage, a kernel that is not fit, a run that refuses, boots that must not be "
        "compared, or a module that does not build",
    ),
    ("4", "BAD does not build, does not boot, or does not survive the run"),
    ("5", "trouble here, or with GOOD"),
    _SIGNAL,
)
# The commands that have codes of their own, by their words.
VERDICTS = {
    "compare": COMPARE,
    "ab": AB,
    "fleet ab": FLEET_AB,
    "bisect": BISECT,
    "trend": TREND,
}

_AS_THE_BENCHMARK = ("run", "vm")


def epilog(name: str) -> str:
    """Return what ends the help of a command, for click; name: its words, such as "fleet ab"."""
    if name in _AS_THE_BENCHMARK:
        return "Exit codes: those of the benchmark; see `page-alloc-bench help exit-codes`."
    width = max(_LEAST, min(_MOST, shutil.get_terminal_size().columns - 4))
    lines = ["\b", "Exit codes:"]
    for code, meaning in VERDICTS.get(name, COMMANDS):
        text = meaning.replace("`", "")
        lines += textwrap.wrap(
            text, width, initial_indent=f"  {code:<5}  ", subsequent_indent=" " * 9
        )
    return "\n".join(lines)
