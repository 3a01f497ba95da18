"""The learners of a stack: TD3 (Fujimoto, van Hoof, Meger 2018) on rewards of discriminators that learn beside it.

    y = sum_k gamma^k r_k + gamma^K min_j Q'_j(s_K, mu'(s_K) + noise),   r from the discriminator of now

Twin critics, an actor at every second update, noise on the target's action, rewards computed anew at every use. A
member that clones has an actor only, and learns |mu(s) - a|^2 on the demonstrations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from control_stack.learning.imitation import discriminator as judge
from control_stack.learning.imitation.arms import Member
from control_stack.learning.imitation.draws import Draw
from control_stack.learning.imitation.networks import Adam, forward, initial, layers
from control_stack.learning.imitation.replay import Replay, returns

CONSTANT_REWARD = 0.6931  # -log(1 - 1/2): of a discriminator that cannot decide
_JUDGE_RATE = 5e-4
_DELAY, _TRACK = 2, 0.005
_TARGET_NOISE, _TARGET_CLIP = 0.2, 0.5


@dataclass(frozen=True)
class Sizes:
    """Numbers of observations n and actions m, and the width of the two hidden layers of every network."""

    observation: int
    action: int
    width: int = 64

    @property
    def actor(self) -> tuple[int, ...]:
        """Layers of a policy."""
        return (self.observation, self.width, self.width, self.action)

    @property
    def value(self) -> tuple[int, ...]:
        """Layers of a critic, and of a discriminator."""
        return (self.observation + self.action, self.width, self.width, 1)


class Agents:
    """A stack of learners.

    Args:
        members: Those that act first, as ``arms.members`` orders them.
        demonstrations: (K, n + m) the expert's pairs, scaled as the networks see them.
        steps, gamma: Of the returns. rate: Of actors and critics.
    """

    def __init__(self, members: Sequence[Member], sizes: Sizes, demonstrations: Tensor, steps: int, gamma: float,
                 rate: float):  # fmt: skip
        self.members, self.sizes, self.demonstrations = tuple(members), sizes, demonstrations
        self._steps, self._gamma = steps, gamma
        acting = [member for member in members if member.rules.acts]
        judged = [k for k, member in enumerate(acting) if member.rules.judged]
        held = [k for k, place in enumerate(judged) if acting[place].rules.penalty]
        self.acting = len(acting)
        self._judged, self._held = torch.tensor(judged, dtype=torch.long), torch.tensor(held, dtype=torch.long)
        seeds, own = [member.seed for member in members], [member.seed for member in acting]
        self.actor = initial(sizes.actor, seeds, 1, gain=0.1)
        self.critic = torch.cat([initial(sizes.value, own, tag) for tag in (2, 3)]) if own else torch.zeros(0, 1)
        self.judge = initial(sizes.value, [own[k] for k in judged], 4) if judged else torch.zeros(0, 1)
        self.actor_target, self.critic_target = self.actor[: self.acting].clone(), self.critic.clone()
        self.spectral = judge.Spectral([acting[k].rules.spectral for k in judged], sizes.value)
        if judged:
            self.spectral.turn(layers(self.judge, sizes.value), 20)
        self.optimisers = {
            "actor": Adam(self.actor, rate), "critic": Adam(self.critic, rate), "judge": Adam(self.judge, _JUDGE_RATE)
        }  # fmt: skip

    @torch.no_grad()
    def act(self, observations: Tensor, everyone: bool = False) -> Tensor:
        """(M, C, m) actions in -1..1 for (M, C, n), of those that act, or of everyone."""
        stack = self.actor if everyone else self.actor[: self.acting]
        return torch.tanh(forward(layers(stack, self.sizes.actor), observations))

    def update(self, replay: Replay | None, draw: Draw, turn: int) -> None:
        """One update of all networks; the actors at every second turn. Without a replay only cloning goes on."""
        place = (draw.demonstration * len(self.demonstrations)).long()
        shown = self.demonstrations[place]  # (M, B, n + m)
        states = None
        if replay is not None:
            own = slice(0, self.acting)
            windows = replay.windows(draw.age[own], draw.copy[own], self._steps, self._gamma)
            first = windows.pairs[:, :, 0]
            states = first[..., : self.sizes.observation]
            if len(self._judged):
                self._update_judge(shown[self._judged], first[self._judged], draw)
            rewards = self.rewards(windows.pairs.flatten(1, 2)).view(windows.counts.shape)
            target = returns(rewards, windows, self._gamma)
            target += windows.discount * self._following(windows.last, draw.smoothing[own])
            self._update_critics(first, target)
        if turn % _DELAY == 0:
            self._update_actors(states, shown[self.acting :])
            if replay is not None:
                self.actor_target.lerp_(self.actor[: self.acting], _TRACK * _DELAY)
                self.critic_target.lerp_(self.critic, _TRACK * _DELAY)

    @torch.no_grad()
    def rewards(self, pairs: Tensor) -> Tensor:
        """(M, B) of pairs (M, B, n + m) by those that act, from their discriminators as they are now."""
        out = torch.full(pairs.shape[:2], CONSTANT_REWARD)
        if len(self._judged):
            stack = self.spectral(layers(self.judge, self.sizes.value))
            chosen = pairs if len(self._judged) == len(pairs) else pairs[self._judged]
            out[self._judged] = judge.reward(judge.logits(stack, chosen))
        return out

    def _update_judge(self, shown: Tensor, own: Tensor, draw: Draw) -> None:
        stack = layers(self.judge, self.sizes.value)
        self.spectral.turn(stack)
        weights = self.judge.requires_grad_()
        stack = self.spectral(layers(weights, self.sizes.value))
        both = judge.logits(stack, torch.cat([shown, own], dim=1))
        low, high = judge.LABELS
        labels = low + (high - low) * draw.label[self._judged]
        expert, mine = both.split(shown.shape[1], dim=1)
        loss = judge.losses(expert, mine, labels).sum()
        if len(self._held):
            points = judge.between(shown[self._held], own[self._held], draw.share[self._judged[self._held]])
            held = [(weight[self._held], bias[self._held]) for weight, bias in stack]
            loss = loss + judge.one_sided(judge.slopes(held, points)).sum()
        self._descend("judge", weights, loss)

    @torch.no_grad()
    def _following(self, observation: Tensor, smoothing: Tensor) -> Tensor:
        """(M, B) the lower of both target critics' values at the target actor's disturbed action."""
        action = torch.tanh(forward(layers(self.actor_target, self.sizes.actor), observation))
        noise = (_TARGET_NOISE * smoothing).clamp(-_TARGET_CLIP, _TARGET_CLIP)
        pairs = torch.cat([observation, (action + noise).clamp(-1.0, 1.0)], dim=-1)
        values = forward(layers(self.critic_target, self.sizes.value), pairs.repeat(2, 1, 1)).squeeze(-1)
        return torch.minimum(*values.split(self.acting))

    def _update_critics(self, pairs: Tensor, target: Tensor) -> None:
        weights = self.critic.requires_grad_()
        values = forward(layers(weights, self.sizes.value), pairs.repeat(2, 1, 1)).squeeze(-1)
        self._descend("critic", weights, (values - target.repeat(2, 1)).square().mean(1).sum())

    def _update_actors(self, states: Tensor | None, cloned: Tensor) -> None:
        weights, loss = self.actor.requires_grad_(), torch.zeros(())
        if states is not None:
            action = torch.tanh(forward(layers(weights[: self.acting], self.sizes.actor), states))
            first = layers(self.critic.detach()[: self.acting], self.sizes.value)
            loss = loss - forward(first, torch.cat([states, action], dim=-1)).mean((1, 2)).sum()
        if len(cloned):
            seen, wanted = cloned.split((self.sizes.observation, self.sizes.action), dim=-1)
            action = torch.tanh(forward(layers(weights[self.acting :], self.sizes.actor), seen))
            loss = loss + (action - wanted).square().mean((1, 2)).sum()
        self._descend("actor", weights, loss)

    def _descend(self, name: str, weights: Tensor, loss: Tensor) -> None:
        (gradient,) = torch.autograd.grad(loss, weights)
        weights.requires_grad_(False)
        self.optimisers[name].step(weights, gradient)

    def state(self) -> dict[str, Tensor]:
        """All weights, targets, moments and directions, as tensors."""
        out = {name: getattr(self, name) for name in _WEIGHTS}
        out |= {f"vector.{k}": vector for k, vector in enumerate(self.spectral.vectors)}
        for name, optimiser in self.optimisers.items():
            out |= {f"{name}.mean": optimiser.mean, f"{name}.square": optimiser.square}
            out[f"{name}.done"] = torch.tensor(optimiser.done)
        return out

    def restore(self, state: dict[str, Tensor]) -> None:
        """Goes on with ``state``."""
        for name in _WEIGHTS:
            setattr(self, name, state[name].clone())
        self.spectral.vectors = [state[f"vector.{k}"].clone() for k in range(len(self.spectral.vectors))]
        for name, optimiser in self.optimisers.items():
            optimiser.mean, optimiser.square = state[f"{name}.mean"].clone(), state[f"{name}.square"].clone()
            optimiser.done = int(state[f"{name}.done"])


_WEIGHTS = ("actor", "critic", "judge", "actor_target", "critic_target")
