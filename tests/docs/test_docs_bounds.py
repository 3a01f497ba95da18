"""docs/bounds.md: its example prints what it says, and its tables name what exists."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

import numpy as np
import pytest

import control_stack.bounds as bounds
from control_stack.bounds import Box, Input, Network, Relu


def test_the_example_prints_what_the_page_shows(page: Callable) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(page("bounds").blocks("python")[0], {})
    assert printed.getvalue() == page("bounds").blocks("")[0]


def test_what_is_called_sound_is_so_labelled(page: Callable) -> None:
    network, box = Network(Relu(Input(2))), Box(-np.ones(2), np.ones(2))
    rows = {row["function"]: row["promise"] for row in page("bounds").table("What each method promises")}
    assert set(rows) <= set(bounds.__all__)
    pytest.importorskip("highspy")
    for name in ("interval_bounds", "linear_bounds", "split_bounds", "lp_bounds", "mip_bounds", "sampled_bounds"):
        found = getattr(bounds, name)(network, box)
        assert found.sound == rows[name].startswith("sound"), name
