# SPDX-License-Identifier: GPL-2.0-only
"""What a campaign ends with: one exit code, and the verdict in three files."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from page_alloc_bench.analysis.campaign_directory import Kept, read
from page_alloc_bench.campaign.journal import CampaignError
from page_alloc_bench.campaign.timed import judging, words
from page_alloc_bench.campaign.timed.loop import ASKED_WRONGLY, Ending, failures
from page_alloc_bench.campaign.verdict_codes import NEW_FAILS, REFUSED, REGRESSION, TROUBLE

_MEANING = {REFUSED: "refused", NEW_FAILS: "new does not survive", TROUBLE: "trouble here"}


def exit_code(kept: Kept, ending: Ending) -> int:
    """Return the exit code of a campaign.

    A kernel that fails where base does not has no "no regression": figures are of the boots that
    went well.
    """
    failed = {side: failures(kept, side) for side in ("base", "new")}
    if ending.why in ("infra", "aside"):
        return TROUBLE
    if ending.why in ("base fails", "new fails"):
        side = ending.why.partition(" ")[0]
        return _of_failures(failed[side], TROUBLE if side == "base" else NEW_FAILS)
    code = ending.judgement.code
    if code != REGRESSION and failed["new"] and not failed["base"]:
        return _of_failures(failed["new"], NEW_FAILS)
    return code


def _of_failures(failed: Sequence[Mapping[str, Any]], code: int) -> int:
    """Return REFUSED where all of them are about how it was asked, or CODE."""
    return REFUSED if all(each["end"] in ASKED_WRONGLY for each in failed) else code


def tell(directory: Path, ending: Ending, command: Sequence[str]) -> tuple[str, int]:
    """Write DIR/verdict.{txt,md,json}; return the text and the exit code.

    command: the one that goes on, or repeats it. Raises CampaignError where they cannot be written.
    """
    kept = read(directory)
    code = exit_code(kept, ending)
    made = ending.judgement.comparison
    outcome = _MEANING.get(code, judging.WORDS.get(code, ""))
    lines = words.about(kept, outcome, ending.text)
    tail = [words.noise(judging.halves(directory)), f"again: {shlex.join(command)}"]
    text = words.text(lines, made, tail)
    try:
        (directory / "verdict.txt").write_text(text)
        (directory / "verdict.md").write_text(words.markdown(lines, made, tail))
        (directory / "verdict.json").write_text(
            words.as_json(kept, outcome, ending.text, code, made)
        )
    except OSError as error:
        raise CampaignError(f"the verdict cannot be written: {error}") from error
    return text, code
