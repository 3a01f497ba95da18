"""What ``bench foundation`` measures: statistics, targets, both pilots, and what it refuses."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from random_policy import random_policy, random_weights

pytest.importorskip("torch")

import torch
from safetensors.numpy import save_file

from control_stack.cli import bench, main
from control_stack.foundation.airframes import LAWS, sample
from control_stack.foundation.observation import Wrapper
from control_stack.foundation.runtime import GRUPolicy
from control_stack.foundation.training.battery import fly_test
from control_stack.foundation.training.recipe import save_shard
from control_stack.foundation.training.teachers import Teachers
from control_stack.foundation.weights import shipped_path

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks are found as ``control-stack bench`` finds them, whatever starts the tests."""
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
def table():
    return importlib.import_module("benchmarks.foundation_table")


@pytest.fixture
def wheel():
    return pytest.importorskip("foundation_policy").Raptor()


def flown(table, survived, rmse, change=0.0):
    survived = np.asarray(survived, bool)
    full = np.where(survived, rmse, 1.0)
    return table.Scores(survived, full, full, np.full(len(survived), change))


def test_intervals_of_shares_are_wilsons(table):
    low, high = table.wilson(10, 10)
    assert low == pytest.approx(72.25, abs=0.01) and high == 100.0  # textbook: n / (n + z^2)
    assert table.wilson(0, 10) == pytest.approx((0.0, 27.75), abs=0.01)
    low, high = table.wilson(3000, 3072)
    assert low < 100.0 * 3000 / 3072 < high and high - low < 1.2


def test_intervals_of_means_shrink_with_the_root_of_the_number(table):
    draw = np.random.default_rng(0).normal(2.0, 0.5, 1600)
    for n in (100, 1600):
        low, high = table.bootstrap(draw[:n])
        assert low < draw[:n].mean() < high
        assert high - low == pytest.approx(2 * 1.96 * draw[:n].std() / np.sqrt(n), rel=0.15)


def test_each_loss_counts_a_metre_and_both_figures_are_judged(table):
    n = 100
    ours = flown(table, np.arange(n) >= 2, 0.01)
    peer = flown(table, np.arange(n) < 90, 0.05)
    rows = {row.metric: row for row in table.compare("hover, calm", ours, peer, table.Wanted(99.0, 0.02))}
    both, all_of = rows["RMSE, where both survive"], rows["RMSE, lost ones 1 m"]
    assert (both.value, both.peer) == pytest.approx((0.01, 0.05))
    assert (all_of.value, all_of.peer) == pytest.approx((0.02 * 1.0 + 0.98 * 0.01, 0.1 + 0.9 * 0.05))
    assert both.holds and not all_of.holds and not rows["survived"].holds
    assert (rows["survived"].value, rows["survived"].peer) == (98.0, 90.0)


def test_chatter_is_judged_by_the_peers_of_the_same_run(table):
    alive = np.ones(20, bool)
    quiet, loud = flown(table, alive, 0.01, change=0.003), flown(table, alive, 0.01, change=0.03)
    for ours, peer, holds in ((quiet, loud, True), (quiet, quiet, True), (loud, quiet, False)):
        _, change, ratio = table.compare(table.CHATTER[0], ours, peer, table.Wanted())
        assert change.value == pytest.approx(ours.change[0]) and change.peer == pytest.approx(peer.change[0])
        assert ratio.value == pytest.approx(change.value / change.peer) and ratio.holds is holds
    _, _, wrapped = table.compare(table.CHATTER[0] + table.WRAPPED, loud, quiet, table.Wanted())
    assert wrapped.value == pytest.approx(10.0) and wrapped.target is None


def test_nothing_left_to_compare_meets_no_target(table):
    gone = flown(table, np.zeros(20, bool), 0.0)
    rows = table.compare("hover, calm", gone, gone, table.Wanted(50.0, 0.5))
    assert not any(row.holds for row in rows) and len(rows) == 4


def test_lost_airframes_are_listed_by_what_they_are(table):
    airframes = sample(LAWS["raptor"], 30, np.random.default_rng(1))
    survived = np.arange(30) % 10 != 3
    listed = table.lost(flown(table, survived, 0.01), airframes)
    assert (listed["count"], listed["of"]) == (3, 30)
    assert listed["thrust_to_weight"] == pytest.approx(airframes.thrust_to_weight[[3, 13, 23]], rel=1e-3)
    assert listed["mass"] == pytest.approx(np.asarray(airframes.airframe.mass)[[3, 13, 23]], rel=1e-3)
    assert all(len(listed[name]) == 3 for name in table.QUANTITIES)


def test_the_peers_wheel_and_its_weights_in_our_runtime_fly_alike(table, wheel):
    peer_weights = importlib.import_module("benchmarks.policy_step").peer_weights
    pilots = table.PeerPilot(wheel), table.OurPilot(GRUPolicy(peer_weights(wheel)))
    (a, frames), (b, again) = (table.scores("hover, calm", pilot, 24, [5]) for pilot in pilots)
    assert np.array_equal(frames.columns, again.columns)
    assert np.array_equal(a.survived, b.survived) and a.survived.sum() > 20
    assert a.rmse == pytest.approx(b.rmse, abs=1e-4)


@pytest.mark.parametrize("test", ["hover, calm", "sideways force 30 %"])
def test_the_harness_reproduces_the_peers_known_precision(table, wheel, test):
    reached, _ = table.scores(test, table.PeerPilot(wheel), 192, [11])
    rows = table.reproduction(test, reached, judged=True)
    assert rows[1].metric == table.CHECKS[1] and rows[1].holds
    off = table.reproduction(test, flown(table, reached.survived, 1.2 * table.FACTS[test][1]), judged=True)
    assert off[1].value == pytest.approx(20.0) and not off[1].holds


class Watching:
    """Sends 3 on every motor, and keeps what it was shown."""

    def __init__(self):
        self.seen = []

    def reset(self, count):
        self.seen = []

    def __call__(self, observation, truth):
        self.seen.append((observation, truth))
        return torch.full((4, observation.shape[1]), 3.0)


def test_what_stands_between_the_vehicle_and_the_policy():
    frames = sample(LAWS["raptor"], 6, np.random.default_rng(2))
    bare, limited = Watching(), Watching()
    _, used = fly_test("hover, calm", bare, 6, 3, airframes=frames)
    fly_test("hover, calm", limited, 6, 3, airframes=frames, clamped_feedback=True, wrapper=Wrapper(0.5, 1.0))
    assert np.array_equal(used.columns, frames.columns)
    (free, _), (held, _) = bare.seen[200], limited.seen[200]
    assert torch.all(free[18:] == 3.0) and torch.all(held[18:] == 1.0)
    assert free[0:3].abs().amax() > 2.0 and free[12:15].abs().amax() > 2.0  # full thrust for 2 s
    assert torch.equal(held[0:3], free[0:3].clamp(-0.5, 0.5))
    assert torch.equal(held[12:15], free[12:15].clamp(-1.0, 1.0))
    assert torch.equal(free[3:12], held[3:12]) and torch.equal(free[15:18], held[15:18])


def test_rotors_start_at_hover_or_anywhere():
    frames = sample(LAWS["raptor"], 6, np.random.default_rng(2))
    hovering, anywhere = Watching(), Watching()
    fly_test("hover, calm", hovering, 6, 3, airframes=frames)
    fly_test("hover, calm", anywhere, 6, 3, airframes=frames, any_rotors=True)
    start = (hovering.seen[0][1][22:26] + 1.0) / 2.0
    assert torch.allclose(start, torch.as_tensor(frames.hover_speed, dtype=start.dtype).expand(4, -1), atol=1e-6)
    assert (anywhere.seen[0][1][22:26] - hovering.seen[0][1][22:26]).abs().amax() > 0.3
    assert torch.equal(anywhere.seen[0][0], hovering.seen[0][0])


def refused(capsys, *options: str) -> str:
    code = main(["bench", "foundation", "--quick", *options])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert code == 2 and line.startswith("error: ")
    return line


@pytest.mark.skipif(shipped_path().is_file(), reason="weights are shipped")
def test_without_weights_it_says_so(capsys):
    assert "no weights come with this build" in refused(capsys)


def test_other_benches_take_no_weights(capsys):
    assert main(["bench", "sim", "--weights", "x.safetensors"]) == 2
    assert "belongs to 'bench foundation'" in capsys.readouterr().err


def test_what_cannot_be_used_is_refused_before_anything_flies(capsys, tmp_path, wheel):
    weights = random_weights(tmp_path)
    whole = weights.read_bytes()
    empty = tmp_path / "empty"
    empty.mkdir()
    ours = ("--weights", str(weights))
    assert "no files teachers_0" in refused(capsys, *ours, "--teachers", str(empty))
    assert "no .safetensors files" in refused(capsys, *ours, "--ablation", str(empty))
    save_file({"0.weight": np.zeros((3, 32, 29), np.float32)}, empty / "teachers_0.safetensors")
    assert "has no 'kept'" in refused(capsys, *ours, "--teachers", str(empty))
    own = {"airframes": np.zeros((51, 2)), "kept": np.ones(3, np.uint8)}
    save_file({"0.weight": np.zeros((3, 32, 29), np.float32), **own}, empty / "teachers_0.safetensors")
    assert "holds no teachers" in refused(capsys, *ours, "--teachers", str(empty))
    weights.write_bytes(whole[:500])
    assert "no whole safetensors file" in refused(capsys, *ours)


def test_teachers_come_with_their_own_airframes_and_dropped_ones_stay_out(tmp_path):
    frames = sample(LAWS["raptor"], 3, np.random.default_rng(4))
    weights = {"0.weight": torch.arange(3.0).reshape(3, 1, 1)}
    save_shard(weights, frames, torch.tensor([1, 0, 1]), tmp_path / "teachers_0.safetensors")
    ((kept, stack),) = importlib.import_module("benchmarks.foundation").read_teachers(tmp_path)
    assert np.array_equal(kept.columns, frames.columns[:, [0, 2]])
    assert stack["0.weight"].flatten().tolist() == [0.0, 2.0] and set(stack) == {"0.weight"}


def test_a_run_leaves_report_and_pictures_and_resumes(monkeypatch, capsys, tmp_path, wheel, table):
    """With a policy that loses everything: also then every row is there, and no figure is invented."""
    weights, report = random_weights(tmp_path), tmp_path / "report.json"
    whole = bench._groups
    chosen = ("hover, calm", "probes")
    monkeypatch.setattr(bench, "_groups", lambda *a: {n: g for n, g in whole(*a).items() if n in chosen})
    insight = importlib.import_module("benchmarks.foundation_insight")
    for module in (table, insight):
        monkeypatch.setattr(module, "airframe_count", lambda quick: 40)
    honest = insight._hidden_states

    def interrupted(*_):
        raise KeyboardInterrupt

    options = ["bench", "foundation", "--quick", "--weights", str(weights), "--json", str(report)]
    monkeypatch.setattr(insight, "_hidden_states", interrupted)
    assert main(options) == 130 and not report.exists()
    monkeypatch.setattr(insight, "_hidden_states", honest)
    monkeypatch.setattr(table, "measure", interrupted)  # its rows are there already
    assert main(options) == 0
    assert "takes the full run" in capsys.readouterr().out
    found = json.loads(report.read_text())
    rows = {(row["test"], row["metric"]): row for row in found["rows"]}
    peer = rows["hover, calm", "survived"]
    assert peer["value"] < 50.0 < 90.0 < peer["peer"] and peer["peer_interval"][0] < peer["peer"]
    assert found["details"]["hover, calm"]["ours"]["lost"]["count"] >= 20
    curve = found["details"]["probes"]["r2"]["peer"]["thrust/weight"]
    assert len(curve) == len(found["details"]["probes"]["times_s"]) and max(curve) > 0.5
    assert {p.name for p in tmp_path.iterdir()} >= {"report.png", "report_insight.png"}
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.partial"))


def test_probes_find_what_is_there_and_nothing_else():
    r2 = importlib.import_module("benchmarks.foundation_insight").held_out_r2
    rng = np.random.default_rng(0)
    h = rng.normal(size=(400, 8))
    assert r2(h, h @ rng.normal(size=(8, 2)) + 3.0) == pytest.approx(1.0, abs=1e-3)
    assert r2(h, rng.normal(size=(400, 1))) < 0.1
    assert np.isnan(r2(h[:20], h[:20, :1]))


def test_students_are_lined_up_by_one_thing_at_a_time():
    axis = importlib.import_module("benchmarks.foundation_insight").axis
    listed = [{"hidden": h, "teachers": t} for h, t in ((32, 100), (16, None), (8, 100), (16, 100), (16, 50))]
    assert [(s["hidden"], s["teachers"]) for s in axis(listed, "hidden")] == [(8, 100), (16, 100), (32, 100)]
    assert [(s["hidden"], s["teachers"]) for s in axis(listed, "teachers")] == [(16, 50), (16, 100)]
    assert axis(listed[:2], "teachers") == [] and axis([], "hidden") == []


def test_students_are_scored_with_what_their_cards_say(monkeypatch, tmp_path):
    insight = importlib.import_module("benchmarks.foundation_insight")
    monkeypatch.setattr(insight, "ABLATION_TESTS", ("hover, calm",))
    policy = random_policy()
    wrapped = SimpleNamespace(card={"training": {"teachers": 64}}, count=2084)
    student = SimpleNamespace(weights=wrapped, hidden_size=16, step=policy.step, initial_hidden=policy.initial_hidden)
    found = insight.ablation({"a": student}, 0, True)
    (entry,) = found.details["students"]
    assert entry["teachers"] == 64 and entry["hidden"] == 16
    assert 0.0 <= entry["hover, calm"]["survived"] < 50.0
    assert entry["hover, calm"]["rmse"] > 0.5  # losses count a metre each


def test_ways_of_training_are_told_apart_by_their_files(monkeypatch, tmp_path, table):
    insight = importlib.import_module("benchmarks.foundation_insight")
    for name in ("direct", "tuned"):
        shutil.copy(shipped_path(), tmp_path / f"{name}.safetensors")
        shutil.copy(shipped_path().with_suffix(".json"), tmp_path / f"{name}.json")
    policies = insight.trained(tmp_path)
    assert list(policies) == ["tuned", "direct"]  # the order of WAYS; distilled is not there
    untrained = random_policy()
    untrained.weights.card.pop("training", None)
    monkeypatch.setattr(insight, "WAYS_TESTS", ("hover, calm",))
    monkeypatch.setattr(insight, "best_lead", lambda *_: Wrapper().lead)
    rows = {(row.test, row.metric): row for row in insight.ways({**policies, "direct": untrained}, 0, True)}
    tuned, direct = (f"way: {insight.WAYS[name]}" for name in ("tuned", "direct"))
    kept = [rows[way, "hover, calm: survived"] for way in (tuned, direct)]
    assert kept[0].value > 98.0 > 50.0 > kept[1].value
    assert all(row.interval[0] <= row.value <= row.interval[1] for row in rows.values() if row.interval)
    assert rows[tuned, "wall time of its training"].value > 1.0
    assert (direct, "wall time of its training") not in rows


def test_pictures_have_a_panel_for_each_axis_that_students_differ_in(monkeypatch, tmp_path):
    picture = importlib.import_module("benchmarks.foundation_picture")
    panels = []
    monkeypatch.setattr(picture, "_scores", lambda axes, students, key, label: panels.append((key, len(students))))
    scored = {test: {"survived": 99.0, "rmse": 0.02} for test in picture.ABLATION_TESTS}
    students = [{"hidden": h, "teachers": t, **scored} for h, t in ((8, 64), (16, 64), (16, 1024), (16, None))]
    report = {"rows": [], "details": {"ablation": {"students": students}}}
    (path,) = picture.draw_insight(report, tmp_path / "insight.png")
    assert panels == [("hidden", 2), ("teachers", 2)] and path.read_bytes().startswith(b"\x89PNG")
    assert picture.draw_insight({"rows": [], "details": {}}, tmp_path / "none.png") == []


def test_teachers_fly_beside_both_policies_on_their_own_airframes(monkeypatch, table, wheel):
    module = importlib.import_module("benchmarks.foundation")
    monkeypatch.setattr(module, "TEACHER_TESTS", ("hover, calm",))
    frames = sample(LAWS["raptor"], 12, np.random.default_rng(5))
    stack = Teachers(12)
    weights = stack.stacked(stack.initial_weights(torch.Generator().manual_seed(0)))
    peer = table.PeerPilot(wheel)
    known = {row.metric: row.value for row in module._teachers([(frames, weights)], peer, peer, 0, True)}
    assert known["ours: survived"] == known["peer: survived"] > 80.0  # the same policy in both columns
    assert known["ours: RMSE, lost ones 1 m"] == known["peer: RMSE, lost ones 1 m"] < 0.3
    assert known["teachers: survived"] < 50.0  # never trained


def test_the_page_joins_both_figures_of_a_target(table, monkeypatch):
    spec = importlib.util.spec_from_file_location("foundation_figures", ROOT / "scripts" / "foundation_figures.py")
    tool = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    spec.loader.exec_module(tool)
    n = 100
    ours, peer = flown(table, np.arange(n) >= 2, 0.01), flown(table, np.ones(n, bool), 0.05)
    bare = table.compare("hover, calm", ours, peer, table.Wanted(error=0.02))
    eights = table.compare("eight, 5.5 s lap", ours, peer, table.Wanted())
    eights += table.compare("eight, 5.5 s lap, with wrapper", peer, ours, table.Wanted(error=0.06))
    rows = [{**row.__dict__, "holds": row.holds} for row in (*bare, *eights)]
    lines = {tuple(line.split(" | ")[:2]): line for line in tool.table_lines(rows, asked=True)[2:]}
    assert len(lines) == 4 and len(tool.table_lines(rows, asked=False)[2:]) == 2  # survival; medians are left out
    one = lines["| hover, calm", "RMSE, where both survive, m"]
    assert "0.01000" in one and one.endswith("| <= 0.02 | no |")  # alone it would hold
    fast = lines["| eight, 5.5 s lap", "RMSE, where both survive, m"]
    assert fast.endswith("| <= 0.06 (wrapper) | yes |")
    assert tool.other_lines(rows, asked=False)[2:] == tool.other_lines(rows, asked=True)[2:] == []
