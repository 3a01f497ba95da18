"""A ROS domain of its own for every test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from ros_stack import Stack

# Domains 1..100 are safe on Linux (above 101 their ports meet the ephemeral range).
_domains = itertools.count(os.getpid())


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    number = str(1 + next(_domains) % 100)
    monkeypatch.setenv("ROS_DOMAIN_ID", number)
    return number


@pytest.fixture
def stack(tmp_path: Path, domain: str) -> Iterator[Stack]:
    made = Stack(tmp_path)
    try:
        yield made
    finally:
        made.nodes.stop()
        made.client.close()
