"""control-stack fit lipschitz: the forms' constants, fits that go on, and what is refused."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from control_stack.cli.main import main
from control_stack.errors import InvalidInput
from control_stack.learning.data import Dataset, dataset
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.protocols import DynamicsSpec

torch = pytest.importorskip("torch")

from control_stack.learning.lipschitz import fit as fit_folder  # noqa: E402
from control_stack.learning.lipschitz.fit import Fit, problem  # noqa: E402
from control_stack.learning.lipschitz.fitting import Course, Recipe, Samples, fit  # noqa: E402
from control_stack.learning.lipschitz.forms import Form, cayley, jacobian  # noqa: E402
from control_stack.learning.lipschitz.slope import steepest  # noqa: E402

SPEC = DynamicsSpec(("angle [rad]", "rate [rad/s]"), ("torque [N m]", "wind [m/s]"), (), np.zeros(0), 0.05)


def pendulum(bend: float = 1.0, episodes: int = 20) -> Dataset:
    """A pendulum under torque and wind; with bend 0 a linear oscillator."""
    random = np.random.default_rng(0)
    flown = []
    for _ in range(episodes):
        x, u = [random.uniform(-1.0, 1.0, 2)], random.uniform(-1.0, 1.0, (30, 2))
        for torque, wind in u:
            a, w = x[-1]
            pull = 4.0 * (bend * np.sin(a) + (1.0 - bend) * a)
            x.append(x[-1] + SPEC.dt * np.array([w, torque + 0.3 * wind - pull - 0.2 * w]))
        flown.append((np.array(x), u))
    return dataset(flown, SPEC)


def sine(count: int = 400) -> Samples:
    """One input, one output of slope at most 2."""
    a = np.linspace(-2.0, 2.0, count)[:, None]
    return Samples(a, np.sin(2.0 * a), np.ones(1), np.ones(1))


@pytest.mark.parametrize(("q", "p"), [(1, 1), (5, 3), (3, 5), (16, 16)])
def test_cayley_identity(q, p):
    generator = torch.Generator().manual_seed(q)
    for size in (0.1, 1.0, 30.0):
        x, y = (size * torch.randn(n, q, dtype=torch.float64, generator=generator) for n in (q, p))
        a, b = cayley(x, y)
        assert a.shape == (q, q) and b.shape == (q, p)
        torch.testing.assert_close(a @ a.T + b @ b.T, torch.eye(q, dtype=torch.float64), atol=1e-9, rtol=0.0)


@pytest.mark.parametrize("method", ["sandwich", "spectral"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_constant_by_construction_holds_for_any_numbers(method, activation):
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        form = Form(method, (3, 9, 7, 2), 0.7, generator)
        with torch.no_grad():
            for tensor in form.parameters[:-1]:
                tensor.normal_(generator=generator)
            layers = form.layers()
            z = 3.0 * torch.randn(4000, 3, dtype=torch.float64, generator=generator)
            slopes = torch.linalg.matrix_norm(jacobian(layers, z, activation), 2)
            assert slopes.max() <= form.constant() <= 0.7
            gamma, _ = form.proof([w.numpy() for w, _ in layers])
        assert gamma <= 0.7 * (1.0 + 1e-4)


@pytest.mark.parametrize("method", ["sandwich", "spectral", "penalty", "free"])
def test_every_method_fits_and_is_proved(method):
    gamma = None if method == "free" else 3.0
    samples = sine()
    network = fit(samples, Recipe(method, gamma, (12, 12), updates=500, seed=1))
    slope, pairs = steepest(network, samples.arguments.min(0), samples.arguments.max(0), 300, 20_000, 20)
    assert pairs <= network.certificate.gamma and slope <= network.certificate.gamma
    if method in ("sandwich", "spectral"):
        assert network.certificate.gamma <= 3.0 * (1.0 + 1e-4)
    assert np.sqrt(np.mean((network(samples.arguments) - samples.targets) ** 2)) < 0.5  # a constant has 0.69


def test_the_ascent_finds_the_steepest_piece_of_a_hat():
    # |z| < 0.01 has slope 5 in a range of 2000 times its width: chance alone would hardly ever land there
    weights = (np.array([[1.0], [1.0]]), np.array([[5.0, -5.0]]))
    from control_stack.learning.lipschitz.certificate import Certificate
    from control_stack.learning.lipschitz.network import CertifiedNetwork
    from control_stack.learning.lipschitz.sdp import tightened

    gamma, multipliers = tightened(weights)
    hat = CertifiedNetwork(
        weights, (np.array([0.01, -0.01]), np.zeros(1)), "relu", np.zeros(1), np.zeros(1),
        Certificate(gamma, np.ones(1), np.ones(1), multipliers),
    )  # fmt: skip
    slope, _ = steepest(hat, np.array([-1.0]), np.array([1.0]), 500, 1000)
    assert slope == pytest.approx(5.0) and gamma == pytest.approx(5.0, rel=1e-3)


def test_a_training_goes_on_as_if_it_had_not_stopped():
    recipe = Recipe(widths=(6,), updates=60, seed=3)
    whole, first, second = (Course(sine(), recipe) for _ in range(3))
    whole.advance(60)
    first.advance(25)
    second.restore({name: value.copy() for name, value in first.state().items()})
    second.advance(60)
    assert second.done == 60
    for a, b in zip(whole.form.parameters, second.form.parameters, strict=True):
        assert torch.equal(a, b)


def test_nothing_is_left_to_the_network_where_the_data_is_linear():
    found = problem(pendulum(bend=0.0), "linear", [], 0)
    a = found.samples.arguments
    assert np.abs(found.samples.targets / found.samples.output_scale).max() < 1e-6
    assert a.shape[1] == 4 and found.matrix.shape == (2, 4)


def test_inputs_that_are_parameters_become_p():
    found = problem(pendulum(), "identity", ["wind [m/s]"], 0)
    assert found.spec.inputs == ("torque [N m]",) and found.spec.parameters == ("wind [m/s]",)
    with pytest.raises(InvalidInput, match="no input 'sun'"):
        problem(pendulum(), "identity", ["sun"], 0)
    with pytest.raises(InvalidInput, match="nothing is left to command"):
        problem(pendulum(), "identity", list(SPEC.inputs), 0)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fit_folder, "_SAVE_EVERY", 20)
    monkeypatch.setattr(fit_folder, "steepest", partial(steepest, starts=200, pairs=2000, steps=10))
    path = tmp_path / "data.safetensors"
    pendulum().save(path)
    return path


def test_the_command_fits_goes_on_and_does_not_mix(data, tmp_path, capsys):
    out = tmp_path / "fit"
    options = ["fit", "lipschitz", str(data), "--out", str(out), "--widths", "8", "8", "--nominal", "linear"]
    assert main([*options, "--updates", "60"]) == 0
    assert "gamma, proved" in capsys.readouterr().out
    model = LipschitzDynamics.load(out / "model.safetensors")
    card = json.loads((out / "model.json").read_text())
    assert card["figures"]["gamma"] >= card["figures"]["largest_slope_found"]
    assert (out / "slopes.png").stat().st_size > 1000 and not (out / "progress.safetensors").exists()
    assert main([*options, "--updates", "60"]) == 0  # it is finished: nothing changes
    assert LipschitzDynamics.load(out / "model.safetensors").card == model.card
    capsys.readouterr()
    assert main([*options, "--updates", "60", "--gamma", "2"]) == 2
    assert "holds another fit (gamma None, not 2.0)" in capsys.readouterr().err


def test_a_stopped_fit_ends_in_the_same_model(data, tmp_path):
    from control_stack.learning.data import load

    recipe = Recipe(widths=(6,), updates=60, batch=32)

    class Stopped(Exception):
        pass

    def stop(done: int, loss: float) -> None:
        if done == 50:
            raise Stopped

    models = []
    for name, report in (("whole", None), ("stopped", stop)):
        folder = tmp_path / name
        try:
            with Fit(folder, recipe, load(data), "linear", [], report) as going:
                going.run()
        except Stopped:
            assert (folder / "progress.safetensors").is_file()
            with Fit(folder, recipe, load(data), "linear", []) as going:
                going.run()
        models.append(LipschitzDynamics.load(folder / "model.safetensors"))
    for a, b in zip(models[0].network.weights, models[1].network.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--gamma", "-1"], "gamma must be above 0"),
        (["--gamma", "nan"], "gamma must be above 0"),
        (["--method", "penalty"], "a gradient penalty needs a gamma"),
        (["--method", "free", "--gamma", "2"], "the method free has no gamma to hold"),
        (["--widths", "0"], "units, got [0]"),
        (["--updates", "0"], "at least 1 update"),
        (["--parameters", "sun"], "no input 'sun' to be a parameter"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(data, tmp_path, capsys, options, reason):
    assert main(["fit", "lipschitz", str(data), "--out", str(tmp_path / "fit"), *options]) == 2
    error = capsys.readouterr().err.strip()
    assert reason in error and "\n" not in error
    assert not (tmp_path / "fit").exists()


def test_the_net_is_chosen_by_validation_episodes_and_not_by_the_test(monkeypatch):
    """Looked at after each update of a restless training: the net is the best on validation, whatever comes after."""
    from control_stack.learning.lipschitz import fitting

    monkeypatch.setattr(fitting, "_LOOK", 1)
    found = problem(pendulum(), "linear", [], 0)
    episodes = [tuple(map(tuple, part.states[:, 0])) for part in (found.train, found.validation, found.test)]
    assert all(not set(a) & set(b) for a, b in zip(episodes, episodes[1:] + episodes[:1], strict=True))
    course = found.course(Recipe(method="free", widths=(8, 8), updates=40, batch=16, rate=0.1, seed=2))
    errors = []
    while course.done < 40:
        course.advance(1)
        layers = [(w.detach(), b.detach()) for w, b in course.form.layers()]
        now = fitting.forward(layers, course._held_out[0], "relu") - course._held_out[1]
        errors.append(float(now.square().mean().sqrt()))
    assert course.best_error == min(errors) < errors[-1] and course.best_at == errors.index(min(errors)) + 1
    chosen = found.scaled_error(found.model(course), found.validation)
    assert chosen == pytest.approx(min(errors), rel=1e-6)
    # and the training itself is untouched by the choice
    plain = Course(found.samples, course.recipe)
    plain.advance(40)
    for a, b in zip(plain.form.parameters, course.form.parameters, strict=True):
        assert torch.equal(a, b)
