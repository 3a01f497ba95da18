"""QuadrotorDynamics as a batched model: shapes, batches of airframes, rollouts, torch.compile, refusals."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

from control_stack.errors import InvalidInput, UnknownName
from control_stack.quadrotor.model import QuadrotorDynamics
from control_stack.quadrotor.parameters import QuadrotorParameters

torch = pytest.importorskip("torch")
DT = 0.01


def heavier(vehicle: QuadrotorParameters, factors) -> QuadrotorParameters:
    """A batch of vehicles of other masses."""
    return replace(vehicle, mass=vehicle.mass * np.asarray(factors))


def test_spec_names_every_component_with_its_unit(crazyflie: QuadrotorParameters):
    spec = QuadrotorDynamics(crazyflie, DT).spec
    assert (len(spec.state), len(spec.inputs), len(spec.parameters)) == (17, 4, 9)
    names = (*spec.state, *spec.inputs, *spec.parameters)
    assert len(set(names)) == 30 and all(name.endswith("]") for name in names)
    assert spec.state[9] == "quat_xyzw.w [1]" and spec.parameters[3] == "force_w.x [N]"
    assert spec.dt == DT and not spec.defaults.any()


@pytest.mark.parametrize(
    ("x_batch", "u_batch", "p_batch"),
    [((), (), ()), ((5,), (), ()), ((), (5,), ()), ((3, 1), (5,), (3, 5)), ((0,), (), ())],
)
@pytest.mark.parametrize("convert", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_leading_dimensions_broadcast(crazyflie: QuadrotorParameters, near_hover, x_batch, u_batch, p_batch, convert):
    x, u, p = (
        a[: int(np.prod(b))].reshape(*b, -1) if np.prod(b) else np.zeros((*b, a.shape[-1]))
        for a, b in zip(near_hover(crazyflie, 15), (x_batch, u_batch, p_batch), strict=True)
    )
    batch = np.broadcast_shapes(x_batch, u_batch, p_batch)
    model = QuadrotorDynamics(crazyflie, DT)
    out = model.step(convert(x), convert(u), convert(p))
    assert type(out) is type(convert(x)) and out.shape == (*batch, 17)
    full = [np.broadcast_to(a, (*batch, a.shape[-1])) for a in (x, u, p)]
    for index in np.ndindex(*batch):
        assert np.allclose(np.asarray(out)[index], model.step(*(a[index] for a in full)), rtol=1e-12, atol=1e-12)


def test_a_batch_of_vehicles_is_each_of_them(crazyflie: QuadrotorParameters, near_hover):
    x, u, p = near_hover(crazyflie, 4)
    factors = np.array([0.8, 1.0, 1.2])
    together = QuadrotorDynamics(heavier(crazyflie, factors[:, None]), DT)
    assert together.batch == (3, 1)
    arrays = together.step(x, u, p)
    tensors = together.step(torch.tensor(x), torch.tensor(u), torch.tensor(p))
    flat = torch.tensor(heavier(crazyflie, factors[:, None]).flatten(), requires_grad=True)
    from_flat = QuadrotorDynamics(flat, DT).step(x, u, p)  # NumPy states, airframe in torch
    assert from_flat.requires_grad
    for i, factor in enumerate(factors):
        alone = QuadrotorDynamics(heavier(crazyflie, factor), DT).step(x, u, p)
        for result in (arrays, tensors.numpy(), from_flat.detach().numpy()):
            assert np.allclose(result[i], alone, rtol=1e-13, atol=1e-13)


def test_one_state_of_a_batch_of_vehicles(crazyflie: QuadrotorParameters, near_hover):
    x, u, _ = near_hover(crazyflie, 1)
    x[0, 3:10] = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]  # level and at rest
    out = QuadrotorDynamics(heavier(crazyflie, [0.9, 1.1]), DT).step(x[0], u[0])
    assert out.shape == (2, 17) and out[0, 5] > out[1, 5]  # same thrust: the heavier one rises less
    rates = slice(10, 17)
    assert np.array_equal(out[0, rates], out[1, rates])  # mass touches neither rotation nor rotors


@pytest.mark.parametrize("convert", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_a_rollout_is_its_steps(crazyflie: QuadrotorParameters, near_hover, convert):
    x, u, p = near_hover(crazyflie, 6)
    us = np.stack([u, u[::-1], 0.9 * u], axis=1)
    model = QuadrotorDynamics(crazyflie, DT)
    path = np.asarray(model.rollout(convert(x), convert(us), convert(p)))
    assert path.shape == (6, 4, 17)
    expected = x
    for t in range(4):
        assert np.allclose(path[:, t], expected, rtol=1e-12, atol=1e-12)
        if t < 3:
            expected = model.step(expected, us[:, t], p)


@pytest.mark.parametrize("convert", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_many_input_sequences_from_one_state(crazyflie: QuadrotorParameters, near_hover, convert):
    """What a sampling controller asks for; and the empty sequence."""
    x, u, _ = near_hover(crazyflie, 8)
    model = QuadrotorDynamics(crazyflie, DT)
    path = model.rollout(convert(x[0]), convert(np.repeat(u[:, None], 2, axis=1)))
    assert path.shape == (8, 3, 17)
    assert np.array_equal(np.asarray(path)[:, 0], np.tile(x[0], (8, 1)))
    assert model.rollout(convert(x), convert(np.zeros((8, 0, 4)))).shape == (8, 1, 17)


def test_the_arguments_are_not_touched(crazyflie: QuadrotorParameters, near_hover):
    originals = near_hover(crazyflie, 3)
    for convert in (np.array, torch.tensor):
        arguments = [convert(a) for a in originals]
        QuadrotorDynamics(crazyflie, DT).step(*arguments)
        assert all(np.array_equal(np.asarray(a), b) for a, b in zip(arguments, originals, strict=True))


@pytest.mark.parametrize(
    ("x", "u", "p", "word"),
    [
        (np.zeros(16), np.zeros(4), None, "x must have 17"),
        (np.zeros(17), np.zeros(3), None, "u must have 4"),
        (np.zeros(17), np.zeros(4), np.zeros(6), "p must have 9"),
        (np.zeros(()), np.zeros(4), None, "x must have 17"),
        (np.zeros((2, 17)), np.zeros((3, 4)), None, r"do not broadcast: x \(2, 17\), u \(3, 4\)"),
    ],
)
@pytest.mark.parametrize("convert", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_wrong_shapes_are_refused(crazyflie: QuadrotorParameters, convert, x, u, p, word):
    with pytest.raises(InvalidInput, match=word):
        QuadrotorDynamics(crazyflie, DT).step(convert(x), convert(u), None if p is None else convert(p))


def test_other_misuse_is_refused(crazyflie: QuadrotorParameters):
    with pytest.raises(UnknownName, match="unknown integration method 'euler'; expected one of: rk4"):
        QuadrotorDynamics(crazyflie, DT, method="euler")
    for dt in (0.0, -0.01, float("nan"), float("inf")):
        with pytest.raises(InvalidInput, match="dt must be"):
            QuadrotorDynamics(crazyflie, dt)
    with pytest.raises(InvalidInput, match="parameters must have 51"):
        QuadrotorDynamics(np.zeros(50), DT)
    with pytest.raises(InvalidInput, match="floating type"):
        QuadrotorDynamics(crazyflie, DT).step(torch.zeros(17, dtype=torch.int64), np.zeros(4))
    with pytest.raises(InvalidInput, match=r"us must have shape \(\.\.\., T, 4\)"):
        QuadrotorDynamics(crazyflie, DT).rollout(np.zeros(17), np.zeros(4))
    with pytest.raises(InvalidInput, match="one vehicle"):
        QuadrotorDynamics(heavier(crazyflie, [1.0, 2.0]), DT).to_casadi()


def test_numpy_needs_no_torch():
    """A whole NumPy rollout in a fresh interpreter never imports torch."""
    code = (
        "import sys, numpy as np\n"
        "from control_stack.quadrotor.model import QuadrotorDynamics\n"
        "from control_stack.quadrotor.parameters import load_vehicle\n"
        "x = np.zeros((2, 17)); x[:, 9] = 1.0\n"
        "QuadrotorDynamics(load_vehicle('x500'), 0.01).rollout(x, np.zeros((2, 3, 4)))\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_equations_trace_without_graph_breaks(crazyflie: QuadrotorParameters, near_hover):
    """fullgraph=True raises on any break; this backend runs the traced graph as it is, without compiler."""
    x, u, p = (torch.tensor(a) for a in near_hover(crazyflie, 3))
    model = QuadrotorDynamics(crazyflie, DT)
    traced = torch.compile(model._tensor_slope, fullgraph=True, backend="eager")
    assert torch.equal(traced(x, u, p, None), model._tensor_slope(x, u, p, None))


def test_without_a_compiler_it_says_so_and_flies_on(crazyflie: QuadrotorParameters, near_hover, monkeypatch):
    def no_compiler(function):
        def fail(*arguments):
            raise RuntimeError("No working C++ compiler found\nand a long story")

        return fail

    monkeypatch.setattr(torch, "compile", no_compiler)
    x, u, p = (torch.tensor(a) for a in near_hover(crazyflie, 3))
    model = QuadrotorDynamics(crazyflie, DT)
    fast = model.compiled()
    with pytest.warns(RuntimeWarning, match="running eagerly: No working C.. compiler found$") as caught:
        first = fast.step(x, u, p)
    assert len(caught) == 1  # once, not at each of the four stages
    assert torch.allclose(first, model.step(x, u, p), rtol=1e-12, atol=1e-12)
    assert torch.equal(fast.rollout(x, u[:, None], p)[:, 1], first)  # and silently from then on


@pytest.mark.slow
def test_compiled_gives_what_eager_gives(crazyflie: QuadrotorParameters, near_hover):
    x, u, p = (torch.tensor(a) for a in near_hover(crazyflie, 64))
    model = QuadrotorDynamics(crazyflie, DT)
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always", RuntimeWarning)
        result = model.compiled().rollout(x, u[:, None].repeat(1, 5, 1), p)
    if any("torch.compile failed" in str(w.message) for w in caught):
        pytest.skip("no working compiler here")
    assert torch.allclose(result, model.rollout(x, u[:, None].repeat(1, 5, 1), p), rtol=1e-12, atol=1e-12)
