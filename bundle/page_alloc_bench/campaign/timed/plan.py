# SPDX-License-Identifier: GPL-2.0-only
"""What a timed campaign is to do: written before the first boot, never changed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from page_alloc_bench.analysis.campaign_directory import TIMED
from page_alloc_bench.analysis.verdict import sequential
from page_alloc_bench.campaign.journal import Journal

SIDES = ("base", "new")
BLOCK = 4  # boots, two of each side


def begin(journal: Journal, asked: Mapping[str, Any], *, most: int, seed: int | None) -> bool:
    """Write the plan for what was ASKED, or go on with the one that is there; return whether it is.

    most: boots a side. seed: of the order of the boots; None for one by chance. Raises
    CampaignError where the directory is of something else.
    """
    old = journal.plan() or {}
    if seed is None:
        seed = old.get("seed", random.SystemRandom().randrange(1 << 32))
    plan = {
        **asked,
        "mode": TIMED,
        "most": most,
        "looks": list(sequential.looks(most)),
        "seed": seed,
        "schedule": schedule(most, seed),
    }
    return journal.begin(plan)


def schedule(most: int, seed: int) -> list[str]:
    """Return the side of each boot: random permuted blocks of four, so that drift hits both."""
    chance = random.Random(seed)  # noqa: S311 (an order, no secret)
    order: list[str] = []
    while len(order) < 2 * most:
        block = [*SIDES] * min(BLOCK // 2, most - len(order) // 2)
        chance.shuffle(block)
        order += block
    return order
