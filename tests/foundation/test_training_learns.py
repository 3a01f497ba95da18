"""Training visibly learns to fly: more airframes stay in the air, not only a smaller number on a curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from control_stack.foundation.airframes import LAWS, calm, sample
from control_stack.foundation.training.episodes import hover, starts
from control_stack.foundation.training.evaluation import NetworkPilot, fly
from control_stack.foundation.training.policy_gradient import Descent, Gradient, Settings
from control_stack.foundation.training.rollout import Nursery
from control_stack.foundation.training.simulator import Fleet
from control_stack.foundation.training.student import Student, initial_weights
from control_stack.foundation.training.teachers import Teachers

# Agile, strong airframes: what a short training can manage.
NARROW = replace(LAWS["raptor"], thrust_to_weight=(2.0, 3.0), torque_to_inertia=(400.0, 800.0), fall_time=(0.03, 0.1),
                 rise_time=(0.03, 0.06))  # fmt: skip


def narrow(count, rng):
    airframes = sample(NARROW, count, rng)
    return airframes, calm(airframes)


def survival(architecture, weights, privileged):
    """Share of 128 airframes of the law that hover at the end of 4 s, from RAPTOR's starts."""
    airframes, conditions = narrow(128, np.random.default_rng(900))
    x = starts(128, torch.Generator().manual_seed(900), torch.as_tensor(airframes.hover_speed)).float()
    pilot = NetworkPilot(architecture, weights, privileged)
    flight = fly(pilot, Fleet.of(airframes, conditions), x, hover(128), 400, 100, method="semi_implicit")
    return float(flight.survived.float().mean())


def train(architecture, weights, hidden, updates, seed):
    settings = Settings(vehicles=64, window=50, rate=5e-3)
    source = Gradient(architecture, weights, Nursery(narrow, 64, hidden, seed), settings, compiled=False)
    descent = Descent(source.weights, 1, settings)
    for k in range(updates):
        descent(source()[1], k / updates)
    return {name: w.detach() for name, w in source.weights.items()}


@pytest.mark.slow
def test_a_teacher_learns_to_hover():
    net = Teachers(1, 16)
    first = net.initial_weights(torch.Generator().manual_seed(0))
    assert survival(net, first, True) < 0.1
    assert survival(net, train(net, first, 0, 150, seed=0), True) > 0.7


@pytest.mark.slow
def test_a_recurrent_student_learns_to_hover_without_teachers():
    first = initial_weights(torch.Generator().manual_seed(0))
    assert survival(Student(), first, False) < 0.1
    assert survival(Student(), train(Student(), first, 16, 200, seed=0), False) > 0.6
