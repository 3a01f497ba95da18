"""The memories of a stack: rings of transitions, a member's own each, and n-step windows out of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """What a batch of B windows of K steps holds for each of M members.

    Attributes:
        pairs: (M, B, K, n + m) observations and actions; those beyond an episode's end do not count.
        counts: (M, B, K) 1 where the step belongs to the episode of the first one.
        last: (M, B, n) the observation after the last step that counts.
        discount: (M, B) gamma^(steps that count), 0 where the episode ended in failure.
    """

    pairs: Tensor
    counts: Tensor
    last: Tensor
    discount: Tensor


def returns(rewards: Tensor, windows: Windows, gamma: float) -> Tensor:
    """(M, B) sum_k gamma^k r_k over the steps that count; the value beyond them is left to ``discount``."""
    powers = gamma ** torch.arange(rewards.shape[-1], dtype=rewards.dtype)
    return (rewards * windows.counts * powers).sum(-1)


class Replay:
    """Rings of the newest transitions: ``capacity`` for each of M members, shared by its C copies of the task."""

    def __init__(self, capacity: int, count: int, copies: int, observation: int, action: int):
        self.rows, self.size, self.head = max(1, capacity // copies), 0, 0
        shape = (self.rows, count, copies)
        self.pairs = torch.zeros(*shape, observation + action)
        self.next = torch.zeros(*shape, observation)
        self.failed = torch.zeros(*shape, dtype=torch.bool)
        self.ended = torch.zeros(*shape, dtype=torch.bool)
        self._members = torch.arange(count)[:, None]

    def add(self, pairs: Tensor, following: Tensor, failed: Tensor, ended: Tensor) -> None:
        """One step of all copies: (M, C, n + m), (M, C, n), and (M, C) whether it failed, whether it ended at all."""
        self.pairs[self.head], self.next[self.head] = pairs, following
        self.failed[self.head], self.ended[self.head] = failed, ended
        self.head = (self.head + 1) % self.rows
        self.size = min(self.size + 1, self.rows)

    def windows(self, age: Tensor, copy: Tensor, steps: int, gamma: float) -> Windows:
        """Windows of ``steps`` that begin at drawn places.

        Args:
            age: (M, B) in 0..1, from the oldest place with a whole window to the newest.
            copy: (M, B) in 0..1, which copy of the task.
        """
        places = self.size - steps + 1
        first = (age * places).long().clamp_max(places - 1)
        row = (self.head - self.size + first[..., None] + torch.arange(steps)) % self.rows  # (M, B, K)
        lane = (copy * self.next.shape[2]).long()
        member = self._members.expand_as(first)
        at = (row, member[..., None], lane[..., None])
        running = (~self.ended[at]).to(self.pairs.dtype).cumprod(-1)
        counts = torch.cat([torch.ones_like(running[..., :1]), running[..., :-1]], dim=-1)
        steps_counted = counts.sum(-1)
        end = row.gather(-1, (steps_counted.long() - 1)[..., None]).squeeze(-1)
        failed = self.failed[end, member, lane]
        discount = torch.where(failed, torch.zeros_like(steps_counted), gamma**steps_counted)
        return Windows(self.pairs[at], counts, self.next[end, member, lane], discount)

    def state(self) -> dict[str, Tensor]:
        """What is filled, as tensors."""
        own = {name: getattr(self, name)[: self.size] for name in ("pairs", "next", "failed", "ended")}
        return own | {"size": torch.tensor(self.size), "head": torch.tensor(self.head)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Goes on with ``state``."""
        self.size, self.head = int(state["size"]), int(state["head"])
        for name in ("pairs", "next", "failed", "ended"):
            getattr(self, name)[: self.size] = state[name]
