"""The wind group of ``bench nmpc``: its statistics, and the rows it makes of flights."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import nmpc, nmpc_wind


def test_a_share_saved_in_every_flight_is_certain_and_one_by_chance_is_not():
    rival = np.random.default_rng(0).uniform(3.0, 6.0, (4, 5))
    np.testing.assert_allclose(nmpc_wind.share_saved(0.8 * rival, rival, 1), (0.2, 0.2, 0.2))
    other = np.random.default_rng(1).uniform(3.0, 6.0, (4, 5))
    _, low, high = nmpc_wind.share_saved(other, rival, 1)
    assert low < 0.0 < high


def test_the_interval_of_a_mean_narrows_with_the_root_of_the_flights():
    random = np.random.default_rng(2)
    widths = []
    for count in (20, 320):
        mean, low, high = nmpc_wind.interval(random.standard_normal((count, 1)) + 5.0, 0)
        assert low < mean < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4.0, rel=0.4)


def test_rows_name_every_rival_and_hold_the_targets(monkeypatch):
    level = {"nominal": 50.0, "nominal + force observer": 5.0, nmpc.LEARNED: 4.0}
    found = {name: np.full((2, 2), 1e-3 * level.get(name, 6.0)) for name, _, _ in nmpc_wind.RIVALS}
    monkeypatch.setattr(nmpc, "errors", lambda quick, seed: found)
    rows = nmpc.wind(0, True)
    targets = {row.metric: (round(row.value, 6), row.target) for row in rows if row.target}
    assert targets == {"below nominal": (92.0, ">= 30"), "below nominal + force observer": (20.0, ">= 10")}
    assert {name for name, _, _ in nmpc_wind.RIVALS} == {
        row.test.partition("gusts: ")[2] for row in rows if row.metric == "RMSE, mean"
    }


def test_no_wind_of_the_bench_is_one_that_estimators_were_tuned_in():
    import importlib.util
    from pathlib import Path

    path = Path(__file__).resolve().parents[2] / "scripts" / "tune_estimators.py"
    spec = importlib.util.spec_from_file_location("tune_estimators", path)
    tuner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tuner)
    assert not set(tuner.WINDS) & set(nmpc_wind.WINDS)
