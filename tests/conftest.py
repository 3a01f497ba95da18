"""What all tests share: how hypothesis looks for examples, and which tests run against the wall clock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every machine, and no limit on the time of one: a busy machine is not a failure.
# HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# Vehicles' own clients and nodes in processes of their own run against the wall clock: apart from tests that use the
# machine up, and once more where a busy machine starved them.
_WALL_CLOCK = {"cli", "hardware", "ros"}
_RERUNS = 2


@pytest.hookimpl(tryfirst=True)  # before -m picks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks these tests, whose folders say what they are; others of the kind are marked where they stand."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.path.relative_to(here).parts[0] in _WALL_CLOCK:
            item.add_marker(pytest.mark.wall_clock)
        if item.get_closest_marker("wall_clock"):
            item.add_marker(pytest.mark.flaky(reruns=_RERUNS))
