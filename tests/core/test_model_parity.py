"""One model in four forms: floats, NumPy, torch and CasADi agree in value and in derivative."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.quadrotor.dynamics import rk4_step
from control_stack.quadrotor.model import QuadrotorDynamics
from control_stack.quadrotor.parameters import QuadrotorParameters

ca = pytest.importorskip("casadi")
torch = pytest.importorskip("torch")

DT = 0.01
N = 25


def relative(a, b) -> float:
    """Largest difference over the size of each component in the batch."""
    a, b = np.asarray(a), np.asarray(b)
    return float((np.abs(a - b) / np.abs(b).max(axis=tuple(range(b.ndim - 1)))).max())


@pytest.mark.parametrize("with_disturbance", [False, True])
def test_values_agree_to_rounding(vehicle: QuadrotorParameters, near_hover, with_disturbance: bool):
    x, u, p = near_hover(vehicle, N)
    model = QuadrotorDynamics(vehicle, DT)
    given = p if with_disturbance else None
    q = p if with_disturbance else np.zeros_like(p)
    floats = np.array(
        [
            rk4_step(tuple(a), tuple(b), vehicle.airframe, DT, tuple(c))
            for a, b, c in zip(x.tolist(), u.tolist(), q.tolist(), strict=True)
        ]
    )
    batch = model.step(x, u, given)
    one_by_one = [model.step(x[i], u[i], None if given is None else given[i]) for i in range(N)]
    tensor = model.step(torch.tensor(x), torch.tensor(u), None if given is None else torch.tensor(given))
    f = model.to_casadi()
    symbolic = np.array([np.array(f(x[i], u[i], q[i])).ravel() for i in range(N)])
    for other in (batch, one_by_one, tensor.numpy(), symbolic):
        assert relative(other, floats) < 1e-12


def test_jacobians_agree(vehicle: QuadrotorParameters, near_hover):
    x, u, p = near_hover(vehicle, 5, seed=1)
    model = QuadrotorDynamics(vehicle, DT)
    f = model.to_casadi()
    inputs = [ca.SX.sym("x", 17), ca.SX.sym("u", 4), ca.SX.sym("p", 9)]
    jacobian = ca.Function("jacobian", inputs, [ca.jacobian(f(*inputs), v) for v in inputs])
    for a, b, c in zip(x, u, p, strict=True):
        by_torch = torch.autograd.functional.jacobian(model.step, tuple(torch.tensor(v) for v in (a, b, c)))
        for ours, theirs in zip(by_torch, jacobian(a, b, c), strict=True):
            theirs = np.array(theirs)
            assert np.allclose(ours.numpy(), theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())


def test_gradients_agree_with_differences(crazyflie: QuadrotorParameters, near_hover):
    """In state, input, disturbance and, as for system identification, in the airframe itself."""
    x, u, p = near_hover(crazyflie, 2, seed=2)
    flat = torch.tensor(crazyflie.flatten())
    size = flat.abs().clamp(min=1e-3)  # the parameters span twelve decades: vary each by parts of itself
    rotor_scale = 2000.0

    def step(x, speed, u, p, parts):
        full = torch.cat([x, rotor_scale * speed], -1)
        return QuadrotorDynamics(flat + parts * size, DT).step(full, rotor_scale * u, p)

    arguments = [x[:, :13], x[:, 13:] / rotor_scale, u / rotor_scale, p, np.zeros((2, flat.shape[0]))]
    tensors = tuple(torch.tensor(a, requires_grad=True) for a in arguments)
    assert torch.autograd.gradcheck(step, tensors, eps=1e-6, atol=1e-4, rtol=1e-4)


def test_gradients_flow_through_a_rollout(crazyflie: QuadrotorParameters, near_hover):
    x, u, _ = near_hover(crazyflie, 3, seed=3)
    us = torch.tensor(np.repeat(u[:, None], 6, axis=1), requires_grad=True)
    QuadrotorDynamics(crazyflie, DT).rollout(torch.tensor(x), us)[:, -1, 2].sum().backward()
    assert torch.isfinite(us.grad).all()
    assert (us.grad[:, :-1].abs().sum(-1) > 0.0).all()


def test_float32_is_close_and_stays_float32(vehicle: QuadrotorParameters, near_hover):
    x, u, p = near_hover(vehicle, N)
    model = QuadrotorDynamics(vehicle, DT)
    single = model.step(*(torch.tensor(a, dtype=torch.float32) for a in (x, u, p)))
    assert single.dtype is torch.float32
    assert relative(single.numpy(), model.step(x, u, p)) < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_gives_the_same(vehicle: QuadrotorParameters, near_hover):
    x, u, p = near_hover(vehicle, N)
    model = QuadrotorDynamics(vehicle, DT)
    on_gpu = model.step(*(torch.tensor(a, device="cuda") for a in (x, u, p)))
    assert on_gpu.device.type == "cuda"
    assert relative(on_gpu.cpu().numpy(), model.step(x, u, p)) < 1e-12
