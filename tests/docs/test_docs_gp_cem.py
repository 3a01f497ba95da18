"""docs/gp_cem.md: its program runs, and its numbers are those of the code."""

from __future__ import annotations

import inspect
import math
import re
from pathlib import Path

import pytest

from controllers.gp_cem import residual
from controllers.gp_cem.quadrotor import SETTINGS, GpCemController

PAGE = (Path(__file__).parents[2] / "docs" / "gp_cem.md").read_text(encoding="utf-8")


def test_the_program_of_the_page_runs(capsys):
    pytest.importorskip("daqp")
    (text,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(text, {})
    assert capsys.readouterr().out.strip().endswith("unchanged ok")


def test_the_numbers_of_the_page_are_those_of_the_code():
    given = inspect.signature(GpCemController.__init__).parameters
    steps, step, plans = given["steps"].default, given["step"].default, sum(SETTINGS.sizes())
    assert f"{steps} steps of {step} s" in PAGE and f"horizon of {steps * step:.1f} s" in PAGE
    assert f"{plans} plans at once" in PAGE and f"{plans * steps} states" in PAGE
    watch = inspect.signature(residual.FlightResidual.__init__).parameters
    assert f"The last {watch['window'].default} are kept" in PAGE and f"beta = {watch['beta'].default:g}" in PAGE
    assert f"Every {residual.OVER} s there is a sample" in PAGE
    assert f"wrong by {residual.KERNEL.noise} m/s^2" in PAGE
    assert f"with {residual.KERNEL.time_constant:g} s: wind" in PAGE
    one = math.erf(2.0 / math.sqrt(2.0))  # of a normal number within 2 sigma; of three, their length (chi, 3)
    three = one - math.sqrt(2.0 / math.pi) * 2.0 * math.exp(-2.0)
    assert f"{100 * one:.0f} %" in PAGE and f"{100 * three:.0f} %" in PAGE
