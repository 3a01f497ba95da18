"""How episodes begin, what they follow, and when a vehicle is lost.

Starts after RAPTOR's task: a tenth of the vehicles at rest at the reference, the others anywhere in half a metre,
moving, turning and tilted up to 1 rad about any axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from control_stack.foundation.observation import NO_LEAD, Lead, shown

_AT_REST = 0.1
_WAVES = 3  # sine waves per axis: enough for an eight and for smooth wandering


def starts(count: int, generator: torch.Generator, rotors: Tensor | None = None) -> Tensor:
    """(17, N) states: p +-0.5 m, v +-1 m/s, w +-1 rad/s, tilt 0..1 rad; a tenth at rest at the reference.

    Args:
        rotors: (N,) normalised speed that all four rotors start from (hover); None draws each rotor's from 0..1.
    """
    device = generator.device

    def uniform(rows: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(rows, count, generator=generator, device=device)

    axis = torch.randn(3, count, generator=generator, device=device)
    axis = axis / axis.norm(dim=0, keepdim=True).clamp_min(1e-9)
    half = 0.5 * uniform(1, 0.0, 1.0)
    moving = (uniform(1, 0.0, 1.0) >= _AT_REST).to(half.dtype)
    x = torch.cat(
        [
            0.5 * uniform(3, -1.0, 1.0),
            uniform(3, -1.0, 1.0),
            axis * half.sin(),
            half.cos() - 1.0,
            uniform(3, -1.0, 1.0),
        ]
    )
    x = x * moving
    x[9] += 1.0
    anywhere = uniform(4, 0.0, 1.0)
    return torch.cat([x, anywhere if rotors is None else rotors.expand(4, -1).to(x)])


@dataclass
class Waves:
    """References as sums of sine waves per axis, each vehicle its own: hover, eights and wandering alike.

        p(t) = sum_k a_k (sin(w_k s(t) + f_k) - sin f_k),  s' = min(t / ramp, 1)

    Attributes:
        amplitude, frequency, phase: (3 axes, _WAVES, N) m, rad/s, rad.
        ramp: (N,) s, time to full speed.
    """

    amplitude: Tensor
    frequency: Tensor
    phase: Tensor
    ramp: Tensor

    def at(self, t: Tensor) -> Tensor:
        """(6, N) position and velocity at times t (N,) s."""
        return self.ahead(t, NO_LEAD)

    def ahead(self, t: Tensor, lead: Lead) -> Tensor:
        """(6, N) position and velocity at times t as the lead shows them."""
        below = t < self.ramp
        s = torch.where(below, 0.5 * t * t / self.ramp, t - 0.5 * self.ramp)
        rate = torch.where(below, t / self.ramp, torch.ones_like(t))
        angle = self.frequency * s + self.phase
        sine, cosine = angle.sin(), angle.cos()
        moving = self.amplitude * self.frequency
        p = (self.amplitude * (sine - self.phase.sin())).sum(1)
        v = (moving * cosine).sum(1) * rate
        if lead == NO_LEAD:
            return torch.cat([p, v])
        surge = torch.where(below, 1.0 / self.ramp, torch.zeros_like(t))
        bend = (moving * self.frequency * sine).sum(1)
        twist = (moving * self.frequency**2 * cosine).sum(1)
        a = (moving * cosine).sum(1) * surge - bend * rate * rate
        j = -twist * rate**3 - 3.0 * bend * rate * surge
        position, velocity = shown(tuple(p), tuple(v), tuple(a), tuple(j), lead)
        return torch.stack([*position, *velocity])

    def replace(self, chosen: Tensor, other: Waves) -> Waves:
        """Takes the references of ``other`` where ``chosen`` (N,) is true."""
        mine = (self.amplitude, self.frequency, self.phase, self.ramp)
        theirs = (other.amplitude, other.frequency, other.phase, other.ramp)
        return Waves(*(torch.where(chosen, b, a) for a, b in zip(mine, theirs, strict=True)))


def hover(count: int, device: torch.device | str = "cpu") -> Waves:
    """Stay at the origin."""
    zero = torch.zeros(3, _WAVES, count, device=device)
    return Waves(zero, zero.clone(), zero.clone(), torch.ones(count, device=device))


def eights(count: int, lap: float, size: tuple[float, float] = (1.0, 0.5), ramp: float = 3.0,
           device: torch.device | str = "cpu") -> Waves:  # fmt: skip
    """x = size_x sin(phi), y = size_y sin(2 phi), level; phi' rises to 2 pi / lap over the ramp."""
    waves = hover(count, device)
    omega = 2.0 * math.pi / lap
    waves.amplitude[0, 0], waves.frequency[0, 0] = size[0], omega
    waves.amplitude[1, 0], waves.frequency[1, 0] = size[1], 2.0 * omega
    waves.ramp[:] = ramp
    return waves


def training_references(count: int, generator: torch.Generator, shares: tuple[float, float] = (0.5, 0.25)) -> Waves:
    """A share hovers, a share flies eights of 4 to 15 s a lap, turned anyhow, and the rest wanders smoothly.

    Accelerations stay below 7 m/s^2: the fastest, largest eights need most.
    """
    device = generator.device

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator, device=device)

    kind = uniform(count)
    waves = hover(count, device)
    omega = 2.0 * math.pi / uniform(count, low=4.0, high=15.0)
    scale = uniform(count, low=0.4, high=1.2)
    turn = uniform(count, high=2.0 * math.pi)
    eight = hover(count, device)
    for axis, (a, b) in enumerate(((turn.cos(), -turn.sin()), (turn.sin(), turn.cos()))):
        eight.amplitude[axis, 0], eight.frequency[axis, 0] = scale * a, omega
        eight.amplitude[axis, 1], eight.frequency[axis, 1] = 0.5 * scale * b, 2.0 * omega
    frequency = uniform(3, _WAVES, count, low=0.3, high=2.5)
    acceleration = uniform(3, _WAVES, count, high=0.8)
    wander = Waves(
        (acceleration / frequency.square()).clamp_max(0.6),
        frequency,
        uniform(3, _WAVES, count, high=2.0 * math.pi),
        torch.ones(count, device=device),
    )
    eight.ramp = uniform(count, low=0.5, high=3.0)
    waves = waves.replace(kind > shares[0], eight)
    return waves.replace(kind > shares[0] + shares[1], wander)


def lost(x: Tensor, reference: Tensor) -> Tensor:
    """(N,) true where nothing can be learned any more: not finite, 5 m away, 15 m/s, or 60 rad/s."""
    far = (x[0:3] - reference[0:3]).abs().amax(0) > 5.0
    fast = x[3:6].abs().amax(0) > 15.0
    spinning = x[10:13].abs().amax(0) > 60.0
    return far | fast | spinning | ~torch.isfinite(x).all(0)
