# SPDX-License-Identifier: GPL-2.0-only
"""The journal of a fleet, and journals in general: what a kill or another process leaves."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from page_alloc_bench import jsonl
from page_alloc_bench.campaign.journal import CampaignError
from page_alloc_bench.campaign.journal import Journal as CampaignJournal
from page_alloc_bench.fleet.journal import OVER, Journal
from page_alloc_bench.fleet.outcome import FleetError

PLAN = {"inventory": "hosts.ini"}


def test_what_another_process_did_until_the_lock_was_free_is_known(tmp_path: Path) -> None:
    waiting = Journal(tmp_path)
    other = Journal(tmp_path)
    assert not other.begin(PLAN)
    other.record("a", OVER, outcome="ok", reason="")
    with pytest.raises(FleetError, match="another process works in"):
        waiting.begin(PLAN)
    run = other.plan["id"]
    del other
    assert waiting.begin(PLAN)
    assert (waiting.plan["id"], waiting.step("a")) == (run, OVER)
    assert sum("plan" in line for line in jsonl.read(tmp_path / "fleet.jsonl")) == 1


@pytest.mark.parametrize("left", [b"", b'{"a": 1}\n', b'{"a": 1}\n{"b": ', b'{"a": 1}\n\xff'])
def test_a_line_is_whole_whatever_a_kill_has_left(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(left)
    jsonl.append(path, {"c": "\u00e9"})
    assert jsonl.read(path) == ([{"a": 1}] if left else []) + [{"c": "\u00e9"}]


def test_no_file_is_no_line(tmp_path: Path) -> None:
    assert jsonl.read(tmp_path / "none") == []


def test_a_campaign_looks_for_its_plan_once_it_is_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another began and ended between the first look and the lock."""
    plan = tmp_path / "plan.json"
    monkeypatch.setattr(fcntl, "flock", lambda *_: plan.write_text('{"mode": "x"}'))
    with pytest.raises(CampaignError, match="is of another campaign"):
        CampaignJournal(tmp_path).begin({"mode": "y"})
    assert plan.read_text() == '{"mode": "x"}'


@pytest.mark.parametrize("line", ["{}", '{"host": 1}', '{"host": []}', '{"plan": 1}', "1", "[]"])
def test_a_line_that_is_of_no_host_is_left_out(tmp_path: Path, line: str) -> None:
    journal = Journal(tmp_path)
    journal.begin(PLAN)
    journal.record("a", OVER, outcome="ok", reason="")
    path = tmp_path / "fleet.jsonl"
    path.write_text(f"{path.read_text()}{line}\n")
    again = Journal(tmp_path)
    assert (again.plan["inventory"], list(again.hosts)) == ("hosts.ini", ["a"])


@pytest.mark.parametrize("text", ["[]", "1", "null", '"x"', "", "{", "\xff"])
def test_a_file_that_is_no_plan_is_told_as_such(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text, encoding="latin-1")
    with pytest.raises(CampaignError, match=r"cannot be used: .*; give another with --dir"):
        CampaignJournal(tmp_path).begin({"mode": "y"})
    assert (tmp_path / "plan.json").read_text(encoding="latin-1") == text
