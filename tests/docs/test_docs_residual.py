"""docs/residual.md: its Python builds a controller from a fit; its tables and numbers are those of the code."""

from __future__ import annotations

from collections.abc import Callable

from residual_toys import drag_network

from benchmarks import nmpc_wind
from control_stack.learning import flight_data, residual_fit
from control_stack.learning.residual_file import save_residual
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import CommandLevel
from controllers.nmpc.disturbance import ESTIMATORS
from sim import air


def test_the_example_runs(page: Callable, tmp_path, monkeypatch) -> None:
    (tmp_path / "fit" / "x500").mkdir(parents=True)
    training = {"command": "", "seed": 0, "git_revision": "", "wall_time_s": 1.0, "hardware": {}}
    save_residual(
        tmp_path / "fit" / "x500" / "model.safetensors", drag_network(), load_vehicle("x500"), CommandLevel.CTBR,
        logs=[], training=training, figures={},
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    made: dict = {}
    exec(page("residual").blocks("python")[0], made)
    assert made["controller"].level is CommandLevel.CTBR


def test_its_numbers_are_those_of_the_code(page: Callable) -> None:
    residual, simulation = page("residual"), page("simulation")
    rows = {row["--estimator"] for row in residual.table("What a residual can do about wind that it does not know")}
    assert rows == {"none", *ESTIMATORS}
    assert f"less than {flight_data.SHORTEST:g} s" in residual.text
    assert f"rollouts over {residual_fit.AHEAD:g} s" in residual.text
    assert len(nmpc_wind.WINDS) == 8 and "eight winds" in residual.text
    assert (nmpc_wind.GUSTS, nmpc_wind.FITS) == (2, 3) and "twice in each" in residual.text
    text = simulation.section("Air")
    assert f"rho = {air.DENSITY:g} kg/m^3, C = {air.CUBE:g}" in text and f"k = {air.LIFT:g} 1/m" in text
    assert air.FILLED == 0.5 and "s_y s_z / 2" in text
