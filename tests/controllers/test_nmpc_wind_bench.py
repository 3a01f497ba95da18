"""The wind group of ``bench nmpc``: its statistics, and the rows it makes of flights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import nmpc, nmpc_wind
from benchmarks.store import Store
from controllers.nmpc.disturbance import estimator_noise


def test_winds_are_the_units_of_an_interval_not_the_flights_in_them(monkeypatch):
    """Gusts of one wind say little new: with errors that depend on the wind alone, more gusts narrow nothing."""
    widths = []
    for gusts in (1, 8):
        monkeypatch.setattr(nmpc_wind, "GUSTS", gusts)
        monkeypatch.setattr(nmpc_wind, "controller", lambda learned, noise: None)
        monkeypatch.setattr(nmpc_wind, "fitted", lambda quick, seed, folder: None)
        flown = []

        def fly(pilot, wind, seed, flown=flown):
            flown.append((wind, seed))
            size = 0.001 * (1 + nmpc_wind.WINDS.index(wind))
            return nmpc_wind.Flown(np.full((9999, 3), size), np.zeros((9999, 3)), np.zeros((9999, 3)))

        monkeypatch.setattr(nmpc_wind, "fly_eight", fly)
        rows = nmpc.wind(0, False, Store(None, {}), None)
        assert len(set(flown)) == len(nmpc_wind.WINDS) * gusts
        low, high = rows[0].interval
        widths.append(high - low)
    assert widths[0] == pytest.approx(widths[1]) and widths[0] > 0.5


def test_rows_name_every_rival_and_hold_the_targets(monkeypatch):
    level = {"nominal": 50.0, "nominal + force observer": 5.0, nmpc.LEARNED: 4.0, nmpc.ALONE: 40.0}
    found = {name: np.full((3, 2), 1e-3 * level.get(name, 6.0)) for name, _, _ in nmpc_wind.RIVALS}
    monkeypatch.setattr(nmpc, "errors", lambda quick, seed, store, folder: found)
    rows = nmpc.wind(0, True, Store(None, {}), None)
    below = {(row.test.partition("gusts: ")[2], row.metric): (round(row.value, 6), row.target) for row in rows}
    assert below[nmpc.LEARNED, "below nominal"] == (92.0, ">= 30")
    assert below[nmpc.LEARNED, "below nominal + force observer"] == (20.0, ">= 10")
    assert below[nmpc.ALONE, "below nominal"] == (20.0, None)
    assert {name for name, _, _ in nmpc_wind.RIVALS} == {name for name, metric in below if metric == "RMSE, mean"}


def test_flights_and_fits_of_a_run_that_was_stopped_are_not_made_again(monkeypatch, tmp_path):
    called, flown = [], []

    def call(*words):
        called.append(words[0])
        if words[0] == "fit":
            out = Path(words[words.index("--out") + 1])
            out.mkdir()
            (out / "model.json").write_text("{}", encoding="utf-8")

    monkeypatch.setattr(nmpc_wind, "_call", call)
    monkeypatch.setattr(nmpc_wind, "load_residual", lambda out, *more: (out / "model.json").read_text())
    monkeypatch.setattr(nmpc_wind, "controller", lambda learned, noise: None)
    air = np.zeros((9999, 3))
    monkeypatch.setattr(nmpc_wind, "fly_eight", lambda *a: flown.append(a) or nmpc_wind.Flown(air + 1.0, air, air))
    for _ in range(2):
        nmpc_wind.fitted.cache_clear()
        nmpc_wind.errors(False, 0, Store(tmp_path / "parts", {"seed": 0}), tmp_path / "fits")
    nmpc_wind.fitted.cache_clear()
    assert called == [*["fly"] * len(nmpc_wind.LOGS), "fit"] * nmpc_wind.FITS
    assert len(flown) == len(nmpc_wind.WINDS) * nmpc_wind.GUSTS * (3 + 3 * nmpc_wind.FITS)


def test_no_wind_of_the_bench_is_one_that_estimators_were_tuned_in():
    import importlib.util

    path = Path(__file__).resolve().parents[2] / "scripts" / "tune_estimators.py"
    spec = importlib.util.spec_from_file_location("tune_estimators", path)
    tuner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tuner)
    assert not set(tuner.WINDS) & set(nmpc_wind.WINDS)
    for kind in ("force", "wind"):
        assert tuner.draw(kind, np.random.default_rng(0)) != estimator_noise(kind)
