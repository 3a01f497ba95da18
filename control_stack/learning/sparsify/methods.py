"""Ways to thin a net to a budget of ReLUs. Each is given the net of the rung before, and as many updates as others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from control_stack.learning.sparsify.gates import DrawnGates, GateSettings, kept_within
from control_stack.learning.sparsify.linear import harms, relieved
from control_stack.learning.sparsify.masks import Masks, best, magnitudes
from control_stack.learning.sparsify.net import IDENTITY, RELU, Net
from control_stack.learning.sparsify.recipe import Trainer

_FITTED = 2048  # transitions that stand-ins are fitted to
_ROUNDS = 20  # of taking away, within a rung


class Method(Protocol):
    """Thins a net."""

    def thin(self, net: Net, early: Net, budget: int, updates: int, trainer: Trainer) -> tuple[Net, Net]:
        """The net within the budget, still to be tuned, and its ``early`` weights.

        Args:
            net: Of the rung before; S = 1. It may be changed.
            early: The same units with the weights they had early in the dense net's training.
            budget: ReLUs in all copies.
            updates: Of the training meanwhile.
            trainer: What to train with.
        """


class Gates:
    """Gates drawn and learnt with the weights (``gates.DrawnGates``)."""

    def thin(self, net: Net, early: Net, budget: int, updates: int, trainer: Trainer) -> tuple[Net, Net]:
        """See ``Method``."""
        settings = GateSettings()
        gates = DrawnGates(net, settings, budget, updates, trainer.generator)
        extra = [(logits, settings.rate) for logits in gates.logits]
        trainer.descend(net, updates, trainer.recipe.horizons[0], gating=gates, extra=extra, begin=gates.draw)
        return relieved(net, gates.decided(), trainer.sample(net, _FITTED)[0]), early


class Replace:
    """Replaces, a few at a time, the ReLUs whose affine stand-ins do least harm, and trains in between."""

    def thin(self, net: Net, early: Net, budget: int, updates: int, trainer: Trainer) -> tuple[Net, Net]:
        """See ``Method``."""
        first, spent = net.count(RELU), 0
        for i in range(_ROUNDS):
            xi, change = trainer.sample(net, _FITTED // 4)
            worst = harms(net, xi, change)
            least = min(float(h.min()) for h in worst)
            scores = [torch.where(g == RELU, h - least + 1e-9, 0.0) for h, g in zip(worst, net.gates, strict=True)]
            linear = [torch.full_like(g, IDENTITY) for g in net.gates]
            target = round(first * (budget / first) ** ((i + 1) / _ROUNDS))
            net = relieved(net, kept_within(linear, scores, net.copies, target), trainer.sample(net, _FITTED)[0])
            until = round(updates * (i + 1) / _ROUNDS)
            trainer.descend(net, until - spent, trainer.recipe.horizons[0])
            spent = until
        return net, early


class Lasso:
    """A price on each ReLU's weights in times its weights out (group lasso), then the largest are kept."""

    price = 1e-3

    def thin(self, net: Net, early: Net, budget: int, updates: int, trainer: Trainer) -> tuple[Net, Net]:
        """See ``Method``."""

        def penalty() -> Tensor:
            return self.price * torch.stack([m.sum() for m in magnitudes(net)]).sum()

        trainer.descend(net, updates, trainer.recipe.horizons[0], penalty=penalty)
        return net.thinned(best(net, magnitudes(net), budget)), early


class GraNet:
    """Gradual pruning with regeneration (Liu et al., 2021), of whole ReLUs.

    The smallest go, on a cubic course to the budget; of those gone, the ones that the loss asks for most come back.
    """

    regenerated = 0.2  # of the kept at first; falls to 0 as a cosine would, here linearly

    def thin(self, net: Net, early: Net, budget: int, updates: int, trainer: Trainer) -> tuple[Net, Net]:
        """See ``Method``."""
        first, masks = net.count(RELU), Masks(net)
        every = max(1, updates // _ROUNDS)
        kept = best(net, magnitudes(net), first)

        def prune(update: int) -> None:
            nonlocal kept
            last = update == updates - 1
            if update % every != every - 1 and not last:
                return
            left = 0.0 if last else max(0.0, 1.0 - (update + 1) / (0.8 * updates))
            count = budget + (first - budget) * left**3
            with torch.no_grad():
                alive = [values * size for values, size in zip(masks.values, magnitudes(net), strict=True)]
                stay = best(net, alive, count * (1.0 - self.regenerated * left))
                asked = [s.abs() + 1e-12 for s in masks.slopes()]
                ceiling = 2.0 * max(float(a.max()) for a in asked)
                scores = [torch.where(g == RELU, ceiling, a) for g, a in zip(stay, asked, strict=True)]
                kept = best(net, scores, count)
                masks.set(kept)

        _descend_masked(net, masks, prune, updates, trainer)
        return net.thinned(kept), early


class Lottery:
    """The largest ReLUs of the trained net, with the weights they had early (Frankle et al., 2020)."""

    def thin(self, net: Net, early: Net, budget: int, updates: int, trainer: Trainer) -> tuple[Net, Net]:
        """See ``Method``."""
        early = early.thinned(best(net, magnitudes(net), budget))
        net = early.thinned(early.gates)
        trainer.descend(net, updates, trainer.recipe.horizons[0])
        return net, early


class BiLevel:
    """Bi-level pruning (Zhang et al., 2022), of whole ReLUs: weights below, scores m of the units above.

        m <- m - step (dL/dm - m |dL/dW_out|^2 / gamma),   the best m within the budget are kept

    The second term is how the weights answer to a change of m, with a price gamma / 2 |W_out|^2 below.
    """

    gamma, step, every = 1.0, 0.05, 5

    def thin(self, net: Net, early: Net, budget: int, updates: int, trainer: Trainer) -> tuple[Net, Net]:
        """See ``Method``."""
        first, masks = net.count(RELU), Masks(net)
        sizes = magnitudes(net)
        largest = max(float(size.max()) for size in sizes)
        scores = [0.5 + 0.5 * size / largest for size in sizes]
        kept = best(net, scores, first)

        def climb(update: int) -> None:
            nonlocal kept
            last = update == updates - 1
            if update % self.every and not last:
                return
            with torch.no_grad():
                slopes = []
                for k, slope in enumerate(masks.slopes()):
                    rows = net.weights[k + 1].grad[0, net.wiring.layers[k + 1].feature_count :]  # type: ignore[index]
                    answer = scores[k] * rows.square().sum(1) / self.gamma
                    slopes.append((slope - answer) * masks.relu[k])
                size = torch.cat(slopes).square().mean().sqrt().clamp_min(1e-12)
                for score, slope in zip(scores, slopes, strict=True):
                    score.sub_(self.step * slope / size).clamp_(1e-6, 1.0)
                left = max(0.0, 1.0 - (update + 1) / (0.8 * updates))
                kept = best(net, scores, budget if last else budget + (first - budget) * left)
                masks.set(kept)

        _descend_masked(net, masks, climb, updates, trainer)
        return net.thinned(kept), early


def _descend_masked(net: Net, masks: Masks, end: Callable[[int], None], updates: int, trainer: Trainer) -> None:
    """Trains under masks, of which the slopes are wanted but which the descent leaves as they are."""
    extra = [(values, 0.0) for values in masks.values]
    trainer.descend(net, updates, trainer.recipe.horizons[0], gating=masks, extra=extra, end=end)


METHODS: dict[str, Method] = {
    "gates": Gates(),
    "replace": Replace(),
    "lasso": Lasso(),
    "granet": GraNet(),
    "lottery": Lottery(),
    "bilevel": BiLevel(),
}
