"""A ROS domain of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from ros_stack import Stack, own_domain, running


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> str:
    return own_domain(monkeypatch)


@pytest.fixture
def stack(tmp_path: Path, domain: str) -> Iterator[Stack]:
    with running(tmp_path) as made:
        yield made
