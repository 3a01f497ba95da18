"""The black-box residual that Lagrangian models are compared with: same data, same context, no mechanics."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.library import load_arm
from control_stack.artefacts.runs import plain
from control_stack.cli.main import main
from control_stack.errors import InvalidInput
from control_stack.learning.data import FILE, dataset
from control_stack.learning.lagrangian import LagrangianDynamics, load
from control_stack.learning.lagrangian.structures import BLACK_BOXES, initial_weights
from control_stack.types import ArmState, JointReference

CONTEXTS, DT = 4, 0.02


def random_model(kind: str, arm_name: str, change: float) -> LagrangianDynamics:
    """As training starts, and all weights changed at random."""
    arm, rng = load_arm(arm_name), np.random.default_rng(0)
    weights = initial_weights(kind, arm.joints, CONTEXTS, 0, (12, 10))
    weights = {k: v + change * rng.uniform(0.0, 1.0, v.shape) / np.sqrt(v.shape[-1]) for k, v in weights.items()}
    return LagrangianDynamics(arm, kind, weights, CONTEXTS, DT)


def points(model: LagrangianDynamics, count: int) -> list[np.ndarray]:
    rng, n = np.random.default_rng(1), model.arm.joints
    return [rng.standard_normal((count, size)) for size in (n, n, n, CONTEXTS)]


@pytest.mark.parametrize("kind", BLACK_BOXES)
@pytest.mark.parametrize("arm_name", ["panda", "planar"])
def test_starts_as_the_nominal_arm_for_every_context(kind: str, arm_name: str) -> None:
    model = random_model(kind, arm_name, 0.0)
    q, qd, qdd, z = points(model, 20)
    nominal = ArmDynamics(model.arm, DT).inverse(q, qd, qdd)
    np.testing.assert_allclose(model.inverse(q, qd, qdd, z), nominal, atol=1e-12 * np.abs(nominal).max())
    moved = random_model(kind, arm_name, 0.3).inverse(q, qd, qdd, z)
    assert np.abs(moved - nominal).max() > 0.1


@pytest.mark.parametrize("kind", BLACK_BOXES)
def test_torch_numpy_and_casadi_agree_in_value_and_jacobian(kind: str) -> None:
    torch, ca = pytest.importorskip("torch"), pytest.importorskip("casadi")
    model = random_model(kind, "panda", 0.5)
    function = model.inverse_casadi()
    symbols = [ca.MX.sym(name, function.numel_in(k)) for k, name in enumerate(("q", "qd", "qdd", "p"))]
    jacobian = ca.Function("j", symbols, [ca.jacobian(function(*symbols), s) for s in symbols])
    for point in zip(*points(model, 3), strict=True):
        tensors = [torch.tensor(a, dtype=torch.float64) for a in point]
        tau = model.inverse(*tensors).numpy()
        scale = np.abs(tau).max()
        np.testing.assert_allclose(np.asarray(function(*point)).ravel(), tau, rtol=1e-6, atol=1e-9 * scale)
        np.testing.assert_allclose(model.inverse(*point), tau, rtol=1e-9, atol=1e-9 * scale)
        slopes = torch.autograd.functional.jacobian(lambda *a: model.inverse(*a), tuple(tensors))
        for mine, theirs in zip(jacobian(*point), slopes, strict=True):
            size = np.abs(theirs.numpy()).max()
            np.testing.assert_allclose(np.asarray(mine), theirs.numpy(), rtol=1e-6, atol=1e-7 * size)


def test_has_nothing_but_inverse_dynamics() -> None:
    model = random_model("mlp", "planar", 0.3)
    q, qd, qdd, z = (a[0] for a in points(model, 1))
    for asked in (
        lambda: model.mass_matrix(q, z),
        lambda: model.energy(q, qd, z),
        lambda: model.friction(qd, z),
        lambda: model.forward(q, qd, qdd, z),
        lambda: model.step(np.concatenate([q, qd]), qdd, z),
    ):
        with pytest.raises(InvalidInput, match="inverse dynamics only"):
            asked()


@pytest.mark.slow
def test_a_short_fit_learns_and_an_arm_controller_takes_its_model(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("casadi")
    from controllers.arm.factory import make_controller

    arm, rng = load_arm("planar"), np.random.default_rng(2)
    heavy = replace(arm, friction=arm.friction._replace(viscous=(0.8, 0.4)))  # what the nominal arm does not know of
    model, x = ArmDynamics(heavy, DT), np.tile(np.concatenate([arm.home, np.zeros(2)]), (12, 1))
    states, inputs = [x], []
    shape, rate = rng.uniform(0.2, 0.6, (12, 2)), rng.uniform(2.0, 5.0, (12, 2))
    for k in range(200):
        wanted, ahead = arm.home + shape * np.sin(rate * k * DT), -shape * rate**2 * np.sin(rate * k * DT)
        push = ahead + 100.0 * (wanted - x[:, :2]) + 20.0 * (shape * rate * np.cos(rate * k * DT) - x[:, 2:])
        inputs.append(model.inverse(x[:, :2], x[:, 2:], push))
        x = model.step(x, inputs[-1])
        states.append(x)
    data = dataset(list(zip(np.stack(states, 1), np.stack(inputs, 1), strict=True)), model.spec)
    source, out = tmp_path / "data", tmp_path / "fit"
    source.mkdir()
    replace(data, card={"arm_parameters": plain(arm)}).save(source / FILE)
    words = ["fit", "lagrangian", str(source), "--out", str(out), "--structure", "mlp-rates"]
    assert main([*words, "--contexts", "2", "--rounds", "8"]) == 0
    found = json.loads((out / "summary.json").read_text(encoding="utf-8"))["figures"]["test"]
    assert found["model"]["torque_share"] < 0.4 * found["nominal"]["torque_share"]
    assert "mass_share" not in found["model"]
    controller = make_controller(arm, "nmpc", str(out / "model.safetensors"))
    still = np.zeros(2)
    for k in range(2):
        command = controller(DT * k, ArmState(arm.home, still), JointReference(arm.home, still, still))
    held = load(out).inverse(arm.home, still, still, controller.p)
    np.testing.assert_allclose(command.effort, held, atol=1e-3 * np.abs(held).max())
    assert controller.p.shape == (2,) and np.abs(controller.p).max() > 0.0
