"""Fitting an arm with context: it learns, finds loads and notices their change; data that would not do is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.library import load_arm
from control_stack.arm.load import Load
from control_stack.artefacts import tensors as artefact
from control_stack.artefacts.log import FlightLog
from control_stack.artefacts.runs import plain
from control_stack.cli.main import main
from control_stack.errors import InputRejected, InvalidInput
from control_stack.learning.data import FILE, Dataset, dataset
from control_stack.learning.data import load as load_data
from control_stack.learning.lagrangian import load
from control_stack.learning.lagrangian.features import context_matrix, periods, regressors, smoothed, unexplained
from control_stack.learning.lagrangian.labels import LABELS
from control_stack.learning.lagrangian.samples import arm_columns, make_samples
from control_stack.learning.lagrangian.structures import Structure
from control_stack.protocols import DynamicsSpec
from control_stack.types import ArmState, Array, JointCommand

ARM, DT, STEPS, EPISODES = "planar", 0.02, 200, 12
SENSORS = {"position_std": 2e-5, "velocity_std": 2e-3, "effort_std": 0.1}


def moved(seed: int = 0, episodes: int = EPISODES, steps: int = STEPS) -> tuple[Dataset, Array, Array]:
    """Episodes of the analytic arm under computed torque that knows no load; the load changes in the middle."""
    arm, rng = load_arm(ARM), np.random.default_rng(seed)
    model = ArmDynamics(arm, DT)
    load = np.zeros((episodes, steps, 10))
    for e in range(episodes):
        for part in (slice(0, steps // 2), slice(steps // 2, steps)):
            box = Load.box(rng.uniform(0.0, 2.0), rng.uniform(0.04, 0.16, 3), rng.uniform(-0.1, 0.1, 3))
            load[e, part] = box.parameters
    shape, phase, rate = (rng.uniform(low, high, (3, episodes, 2)) for low, high in ((0.1, 0.3), (0, 6.3), (1, 5)))
    x = np.concatenate([np.broadcast_to(arm.home, (episodes, 2)), np.zeros((episodes, 2))], axis=1)
    states, inputs = [x], []
    for k in range(steps):
        angle = rate * k * DT + phase
        wanted = arm.home + (shape * np.sin(angle)).sum(0), (shape * rate * np.cos(angle)).sum(0)
        ahead = -(shape * rate**2 * np.sin(angle)).sum(0)
        push = 144.0 * (wanted[0] - x[:, :2]) + 24.0 * (wanted[1] - x[:, 2:])
        tau = np.clip(model.inverse(x[:, :2], x[:, 2:], ahead + push), -arm.torque_limit, arm.torque_limit)
        x = model.step(x, tau, load[:, k])
        states.append(x)
        inputs.append(tau)
    spec = replace(model.spec, parameters=(), defaults=np.zeros(0))
    data = dataset(list(zip(np.stack(states, 1), np.stack(inputs, 1), strict=True)), spec)
    return replace(data, card={"sensors": SENSORS, "arm_parameters": plain(arm)}), load, np.ones((episodes, 2))


def stored(folder: Path, **options: Any) -> Path:
    data, load, friction = moved(**options)
    folder.mkdir(parents=True)
    data.save(folder / FILE)
    artefact.write(folder / LABELS, {"load": load, "friction": friction}, {}, "labels")
    return folder


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of data and of a short fit."""
    pytest.importorskip("torch")
    base = tmp_path_factory.mktemp("lagrangian")
    data, out = stored(base / "data"), base / "fit"
    assert main(fit_command(data, out)) == 0
    return data, out


def fit_command(data: Path, out: Path, *more: str) -> list[str]:
    words = ["fit", "lagrangian", str(data), "--out", str(out), "--contexts", "8", "--rounds", "4", "--seed", "1"]
    return [*words, *more]


def test_true_load_explains_the_torques_of_a_period() -> None:
    data, load, _ = moved(episodes=3, steps=60)
    arm = load_arm(ARM)
    samples = make_samples(data, arm, None, 1, 0)
    p = load[:, : samples.truth.q.shape[1]]
    added = ArmDynamics(arm, DT).inverse(samples.truth.q, samples.truth.qd, samples.truth.qdd, p)
    own = ArmDynamics(arm, DT).inverse(samples.truth.q, samples.truth.qd, samples.truth.qdd)
    left = samples.truth.torque - (added - own)
    assert np.sqrt(np.square(left).mean()) < 0.02 * np.sqrt(np.square(samples.truth.torque).mean())


def test_regressors_are_the_slopes_of_the_structure_by_its_context() -> None:
    from control_stack.learning.lagrangian import LagrangianDynamics
    from control_stack.learning.lagrangian.structures import initial_weights

    data, *_ = moved(episodes=2, steps=30)
    arm = load_arm(ARM)
    weights = initial_weights("flange", 2, 3, 0, ())
    model = LagrangianDynamics(arm, "flange", weights, 3, DT)
    seen = periods(data.states[0], data.inputs[0], DT)
    a = context_matrix(regressors(Structure("flange", arm, {}), seen), weights)
    zero = model.inverse(seen.q, seen.qd, seen.qdd)
    for k, unit in enumerate(1e-3 * np.eye(3)):
        np.testing.assert_allclose((model.inverse(seen.q, seen.qd, seen.qdd, unit) - zero) / 1e-3, a[..., k], atol=1e-8)
    np.testing.assert_allclose(unexplained(Structure("flange", arm, {}), seen), seen.torque - zero, atol=1e-12)


def test_the_low_pass_is_a_weighted_mean_of_what_there_was() -> None:
    x = np.random.default_rng(0).standard_normal((30, 2))
    y = smoothed(x, 0, 0.7)
    for t in (0, 1, 7, 29):
        weights = 0.7 ** np.arange(t, -1, -1)
        np.testing.assert_allclose(y[t], weights @ x[: t + 1] / weights.sum(), atol=1e-12)


def test_a_short_fit_learns(fitted: tuple[Path, Path]) -> None:
    summary = json.loads((fitted[1] / "summary.json").read_text(encoding="utf-8"))
    found = summary["figures"]["test"]
    assert found["model"]["torque_share"] < 0.15 * found["nominal"]["torque_share"]
    assert found["model"]["mass_share"] < 0.4 * found["nominal"]["mass_share"]
    assert found["model"]["qdd_rmse"] < 0.2 * found["nominal"]["qdd_rmse"]
    assert (fitted[1] / "fit.png").stat().st_size > 5000
    card = load(fitted[1]).card
    assert card["training"]["data"]["loads"] > 0 and "--seed 1" in card["training"]["command"]


def test_the_estimator_finds_a_load_and_notices_another(fitted: tuple[Path, Path]) -> None:
    model = load(fitted[1])
    data, true, _ = moved(seed=7, episodes=1)
    noise = np.repeat([SENSORS["position_std"], SENSORS["velocity_std"]], 2)
    states = data.states[0] + noise * np.random.default_rng(0).standard_normal(data.states[0].shape)
    estimator = model.estimator()
    nominal, arm = ArmDynamics(model.arm, DT), model.arm
    left, none, spread = [], [], []
    for k, x in enumerate(states):
        p, std = estimator.update(DT * k, ArmState(x[:2], x[2:]), JointCommand(data.inputs[0, max(k - 1, 0)]))
        ahead = min(k + 5, STEPS - 1)
        q, qd = data.states[0, ahead, :2], data.states[0, ahead, 2:]
        wanted = nominal.inverse(q, qd, np.zeros(2), true[0, ahead])
        left.append(np.abs(model.inverse(q, qd, np.zeros(2), p) - wanted).max())
        none.append(np.abs(nominal.inverse(q, qd, np.zeros(2)) - wanted).max())
        spread.append(std.min())  # of what moves torques; nothing tells of the rest
    for late in (slice(50, 95), slice(150, 195)):  # a second after the start, and after the change
        assert np.mean(left[late]) < 0.2 * np.mean(none[late])
    assert spread[0] == 1.0 and spread[90] < 0.2
    assert estimator.gaps == 0 and arm.joints == 2
    again = model.estimator()
    for k, x in enumerate(states):
        p_again, _ = again.update(DT * k, ArmState(x[:2], x[2:]), JointCommand(data.inputs[0, max(k - 1, 0)]))
    np.testing.assert_array_equal(p, p_again)
    again.reset()
    np.testing.assert_array_equal(again.update(0.0, ArmState(x[:2], x[2:]), JointCommand(np.zeros(2)))[0], np.zeros(8))


def test_run_time_estimates_are_those_of_the_training(fitted: tuple[Path, Path]) -> None:
    from control_stack.learning.lagrangian.recipe import Recipe
    from control_stack.learning.lagrangian.train import Training

    model = load(fitted[1])
    data, *_ = moved(seed=9, episodes=1, steps=60)
    data = replace(data, card={})  # as it is, without noise
    samples = make_samples(data, model.arm, None, 1, 0)
    training = Training(
        Recipe(contexts=8, batch=1, rounds=1), make_samples(moved(episodes=2, steps=90)[0], model.arm, None, 1, 0)
    )
    training.take_weights(dict(model.weights))
    expected = training.contexts_of(samples)[0][0]
    estimator = model.estimator()
    for k, x in enumerate(data.states[0]):
        p, _ = estimator.update(DT * k, ArmState(x[:2], x[2:]), JointCommand(data.inputs[0, max(k - 1, 0)]))
        if k:
            np.testing.assert_allclose(p, expected[k - 1], atol=1e-3 * max(1.0, np.abs(expected).max()))


def test_the_estimator_skips_gaps_and_refuses_nonsense(fitted: tuple[Path, Path]) -> None:
    estimator = load(fitted[1]).estimator()
    still, torque = ArmState(np.zeros(2), np.zeros(2)), JointCommand(np.ones(2))
    estimator.update(0.0, still, torque)
    before = estimator.update(0.02, still, torque)[0]
    np.testing.assert_array_equal(estimator.update(0.2, still, torque)[0], before)
    assert estimator.gaps == 1
    for state, sent in (
        (ArmState(np.array([np.nan, 0.0]), np.zeros(2)), torque),
        (still, JointCommand(np.array([np.inf, 0.0]))),
        (ArmState(np.zeros(3), np.zeros(3)), torque),
    ):
        with pytest.raises(InputRejected):
            estimator.update(0.22, state, sent)
    np.testing.assert_array_equal(estimator.update(0.2, still, torque)[0], before)


@pytest.mark.slow
def test_a_fit_that_was_stopped_goes_on_to_the_same_model(fitted: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from control_stack.learning.lagrangian import train
    from control_stack.learning.lagrangian.recipe import Recipe

    samples = make_samples(moved(episodes=3, steps=90)[0], load_arm(ARM), None, 1, 0)
    recipe = Recipe(contexts=6, batch=2, rounds=4)
    whole = train.Training(recipe, samples)
    whole.run(tmp_path / "a.safetensors", lambda done, loss: None)

    class Stop(Exception):
        pass

    def stop(done: int, loss: float) -> None:
        if done == 3:
            raise Stop

    patched = train._EVERY
    train._EVERY = 2
    try:
        with pytest.raises(Stop):
            train.Training(recipe, samples).run(tmp_path / "b.safetensors", stop)
    finally:
        train._EVERY = patched
    rest = train.Training(recipe, samples)
    before: list[np.ndarray] = []
    rest.run(tmp_path / "b.safetensors", lambda done, loss: before.append(rest.spent.copy()))
    assert (before[0] > 0.0).all() and (rest.spent > before[0]).all()  # what went before the stop counts
    for name, value in whole.arrays().items():
        np.testing.assert_array_equal(value, rest.arrays()[name])


def test_another_fit_in_the_same_folder_is_refused(
    fitted: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = fitted
    assert main(fit_command(data, out)) == 0  # done already
    assert main(fit_command(data, out, "--structure", "factor")) == 2
    assert "holds another fit" in capsys.readouterr().err


@pytest.mark.parametrize(("structure", "context"), [("factor", "oracle"), ("sum", "gru"), ("full", "none")])
def test_the_other_structures_can_be_fitted(
    structure: str, context: str, fitted: tuple[Path, Path], tmp_path: Path
) -> None:
    more = ["--structure", structure, "--context", context, "--rounds", "1"]
    assert main(fit_command(fitted[0], tmp_path / "fit", *more)) == 0
    model = load(tmp_path / "fit")
    assert model.kind == structure and np.isfinite(model.inverse(np.zeros(2), np.zeros(2), np.zeros(2))).all()


def logged(path: Path, data: Dataset, episode: int = 0, *, names: tuple[str, ...] = ("joint1", "joint2"), jump: int = 0,
           nan: bool = False) -> Path:  # fmt: skip
    """An arm's log; ``jump``: from this step on stamps are off."""
    with FlightLog(path) as log:
        log.clock(0.0)
        for k, x in enumerate(data.states[episode]):
            t = DT * k + (0.03 if jump and k >= jump else 0.0)
            q = np.where(np.arange(2) == (0 if nan and k == 5 else -1), np.nan, x[:2])
            log.joints("joint_states", t, list(names), position=q, velocity=x[2:], frame="base_link")
            if k < len(data.inputs[episode]):
                log.joints("actuators/command", t, ["joint1", "joint2"], effort=data.inputs[episode, k], frame="joints")
    return path


@pytest.mark.slow
def test_logs_are_fitted(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    data, *_ = moved(episodes=4)
    (tmp_path / "logs").mkdir()
    for e in range(4):
        logged(tmp_path / "logs" / f"{e}.mcap", data, e)
    assert main(fit_command(tmp_path / "logs", tmp_path / "fit", "--rounds", "1")) == 0
    found = json.loads((tmp_path / "fit" / "summary.json").read_text(encoding="utf-8"))["figures"]["test"]
    assert found["model"]["torque_share"] < found["nominal"]["torque_share"] and "mass_share" not in found["model"]
    assert load(tmp_path / "fit").arm.name == ARM


def test_logs_that_would_not_do_are_refused_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    data, *_ = moved(episodes=1, steps=120)
    for name, options, reason in (
        ("missing", {"names": ("joint1", "other")}, "joint2.position"),
        ("irregular", {"jump": 40}, "sample time"),
        ("nan", {"nan": True}, "nan"),
        ("short", {}, "samples"),
    ):
        path = logged(tmp_path / f"{name}.mcap", data, **options)
        assert main(fit_command(path, tmp_path / name, "--arm", ARM)) == 2
        assert reason in capsys.readouterr().err
    assert main(fit_command(tmp_path / "none.mcap", tmp_path / "none")) == 2


def test_data_of_another_arm_is_refused_and_the_joint_named() -> None:
    with pytest.raises(InvalidInput, match=r"panda_joint1.position"):
        arm_columns(moved(episodes=1, steps=20)[0], load_arm("panda"))


def test_labels_of_other_data_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    data, other = stored(tmp_path / "a", episodes=3, steps=60), stored(tmp_path / "b", episodes=4, steps=60)
    for suffix in (".safetensors", ".json"):
        shutil.copy((other / LABELS).with_suffix(suffix), (data / LABELS).with_suffix(suffix))
    assert main(fit_command(data, tmp_path / "fit")) == 2
    assert "not of the data beside it" in capsys.readouterr().err
    assert isinstance(load_data(data).spec, DynamicsSpec)
