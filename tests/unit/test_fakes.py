# SPDX-License-Identifier: GPL-2.0-only
"""What stands in for a part of the product in the tests is called as that part is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import measures_nothing
from fake_device import FakeDevice
from page_alloc_bench.runner import session
from page_alloc_bench.runner.measuring.bench import Session
from page_alloc_bench.runner.module.device import Device

CALLS = [name for name, of in vars(Session).items() if inspect.isfunction(of) and name[0] != "_"]


def taken(function: Callable[..., Any]) -> list[tuple[str, Any, Any, Any]]:
    """Return what a function takes: name, kind, default and type of each."""
    parameters = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default, each.annotation) for each in parameters]


@pytest.mark.parametrize("name", CALLS)
def test_the_fake_device_is_called_as_the_real_one(name: str) -> None:
    wanted = taken(getattr(Session, name))
    assert taken(getattr(Device, name)) == wanted
    assert taken(getattr(FakeDevice, name)) == wanted


def test_a_run_that_measures_nothing_is_started_as_a_real_one() -> None:
    assert len(CALLS) == 8
    assert taken(measures_nothing.run) == taken(session.run)
