"""Lower bounds on the cost over batches of boxes of inputs, by back-substitution from the cost to the inputs.

In a box of u with enclosures lo <= z <= hi, from splits or otherwise, multipliers make the cost affine:

    cost >= pi.s - conj(pi) + nu.v       pi within what supports the cost, nu >= 0, as v <= 0
            - beta^+ (z - lo) - beta^- (hi - z)     any beta = beta^+ - beta^-, as z lies between
    h >= alpha z                         where its coefficient kappa >= 0, alpha in [0, 1] (1 or 0 if the sign is known)
    h <= hi (z - lo) / (hi - lo)         where kappa < 0
         >= k.u + const                  which is least at a corner of the box

Any multipliers are valid. The best give the bound of the linear program with the triangle of each ReLU (Salman et al.,
*A convex relaxation barrier to tight robustness verification*, NeurIPS 2019; fixed signs: Wang et al., *Beta-CROWN*,
NeurIPS 2021). A pass forward from the corner gives their supergradient: kappa z, s, v, and how far z is outside.
beta is used where a sign is known: elsewhere it helped less than it slowed the others down.

Rounding is charged to the constant: the float coefficients carried are those of a valid inequality after ``unit``
times the sum of all terms' largest absolute values is taken off twice (see ``control_stack.bounds.rounding``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from control_stack.bounds.arrays import Tensor
from control_stack.bounds.rounding import TINY, gamma
from control_stack.types import Array
from controllers.planning.branching_boxes import Affine, Ascent, Boxes, Dual, centre_radius, chord
from controllers.planning.branching_form import MAX, SQUARE, Form, Rows

ROWS = 4096  # bounds computed at once: what limits memory


class Bounder:
    """A form as tensors of float64 on a device."""

    def __init__(self, form: Form, device: str = "cpu"):
        def put(value: Array) -> Tensor:
            return torch.as_tensor(np.array(value, dtype=float), device=device)

        def affine(rows: Rows) -> Affine:
            terms = np.abs(rows.on_u) @ u_size + np.abs(rows.on_h) @ form.z_size + np.abs(rows.constant) + TINY
            return Affine(*(put(part) for part in (rows.on_u, rows.on_h, rows.constant, terms, rows.slack)))

        u_size = np.maximum(np.abs(form.lower), np.abs(form.upper))
        self.form, self.layers = form, form.layers
        self.z, self.s, self.v = affine(form.units), affine(form.cost), affine(form.limits)
        self.lower, self.upper, self.z_size = put(form.lower), put(form.upper), put(form.z_size)
        self.weight = put(form.weight)
        self.max, self.square = (torch.as_tensor(form.kind == kind, device=device) for kind in (MAX, SQUARE))
        self.step = torch.as_tensor(form.step, device=device)
        self.steps = int(form.step.max(initial=0)) + 1
        self.face = torch.as_tensor(form.face, device=device)
        self.groups = int(form.face.max(initial=-1)) + 1
        self.unit = gamma(2 * (len(form.lower) + len(self.z.terms) + len(self.s.terms) + len(self.v.terms)) + 40)
        # Above every cost: where no plan is known yet, what exceeds it is empty.
        most = self.weight * torch.where(self.square, self.s.terms**2, self.s.terms)
        self.ceiling = float(most.sum()) * 1.000001 + 1e-9
        # Per unit of v as much as the cost's own rows would move.
        reach = [(rows.on_u.abs().sum(-1) + rows.on_h.abs().sum(-1)).clamp(min=1e-9) for rows in (self.s, self.v)]
        self.nu_scale = (self.weight * reach[0]).sum() / reach[1]

    def root(self) -> Boxes:
        """The whole box; no cost is negative."""
        n, m, q, p = (len(part) for part in (self.lower, self.z.terms, self.s.terms, self.v.terms))
        zero = self.lower.new_zeros
        middle = 0.5 * (self.lower + self.upper)[None]
        s = self.forward(middle)[1]
        share = 2.0 * self.weight * s.clamp(min=0.0)
        pi = torch.where(self.square, share, self.supporting(0.5 * self.weight[None]))
        return Boxes(
            self.lower[None], self.upper[None], -self.z_size[None], self.z_size[None], zero(1, m) + 0.5,
            zero(1, m), pi, zero(1, p), (self.face < 0)[None], zero(1), zero(1, m), middle + zero(1, n),
        )  # fmt: skip

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z (N, m), s (N, q) and v (N, p) at inputs u (N, n)."""
        z = u @ self.z.on_u.T + self.z.constant
        h = torch.zeros_like(z)
        for where in self.layers:
            if where.start:
                z[:, where] += h[:, : where.start] @ self.z.on_h[where, : where.start].T
            h[:, where] = z[:, where].clamp(min=0.0)
        s, v = (u @ rows.on_u.T + h @ rows.on_h.T + rows.constant for rows in (self.s, self.v))
        return z, s, v

    # ---- enclosures -------------------------------------------------------------------------------------------

    def enclose(self, boxes: Boxes) -> Boxes:
        """Narrows lo and hi by linear bounds layer by layer, and finds what is empty."""
        lo, hi = boxes.lo.clone(), boxes.hi.clone()
        boxes = replace(boxes, lo=lo, hi=hi)
        for k, where in enumerate(self.layers):
            loose = ((lo[:, where] < 0.0) & (hi[:, where] > 0.0)).any(0)
            units = torch.arange(where.start, where.stop, device=lo.device)[loose]
            if len(units):
                rows = self.z[units]
                lo[:, units] = torch.maximum(lo[:, units], self._least(boxes, rows, 1.0, k))
                hi[:, units] = torch.minimum(hi[:, units], -self._least(boxes, rows, -1.0, k))
        empty = (lo > hi).any(-1)
        enforced = boxes.enforced
        if len(self.v.terms):
            possible = self._least(boxes, self.v, 1.0, len(self.layers)) <= 0.0
            of_face = self.face >= 0
            empty |= (~possible & ~of_face).any(-1)
            ways = torch.zeros(len(lo), self.groups, dtype=torch.long, device=lo.device)
            ways.scatter_add_(1, self.face[of_face].expand(len(lo), -1), possible[:, of_face].long())
            empty |= (ways == 0).any(-1)
            only = possible & (ways[:, self.face.clamp(min=0)] == 1 if self.groups else possible)
            enforced = torch.where(of_face, only, enforced)
        bound = torch.where(empty, torch.inf, boxes.bound)
        return replace(boxes, lo=torch.minimum(lo, hi), enforced=enforced, bound=bound)

    def _least(self, boxes: Boxes, rows: Affine, sign: float, layers: int) -> Tensor:
        """(B, rows) proven lower bounds of sign * rows, which read the first ``layers`` layers only."""
        end = self.layers[layers - 1].stop if layers else 0
        lo, hi = boxes.lo[:, :end], boxes.hi[:, :end]
        slope, above, mixed = chord(lo, hi)
        low_slope = torch.where(mixed, (hi > -lo).to(lo.dtype), slope)
        kappa = (sign * rows.on_h[:, :end]).expand(len(lo), -1, -1).clone()
        mu, size = torch.zeros_like(kappa), torch.zeros_like(kappa)
        for where in reversed(self.layers[:layers]):
            k = kappa[..., where]
            mu[..., where] = torch.where(k >= 0.0, low_slope[:, None, where], slope[:, None, where]) * k
            if where.start:
                kappa[..., : where.start] += mu[..., where] @ self.z.on_h[where, : where.start]
        size = mu.abs()
        on = mu @ self.z.on_u[:end] + sign * rows.on_u
        constant = mu @ self.z.constant[:end] + sign * rows.constant
        constant = constant + (kappa.clamp(max=0.0) @ above[..., None])[..., 0]
        error = size @ (self.unit * self.z.terms[:end] + self.z.slack[:end])
        error = error + self.unit * ((kappa.abs() @ above[..., None])[..., 0] + rows.terms) + rows.slack
        centre, radius = centre_radius(boxes)
        return constant + (on @ centre[..., None] - on.abs() @ radius[..., None])[..., 0] - 2.0 * error

    def tighten(self, boxes: Boxes, units: Tensor, cut: float, iterations: int, rate: float) -> Boxes:
        """Narrows lo and hi of some units (B, K) to where the cost can be at most ``cut``.

        Least of +-z + rho (cost - cut), by the same multipliers as the cost itself; the best of ``iterations``.
        """
        batch, count = units.shape
        if not count:
            return boxes
        boxes = replace(boxes, lo=boxes.lo.clone(), hi=boxes.hi.clone())
        for first in range(0, batch, max(1, ROWS // (2 * count))):
            part = slice(first, first + max(1, ROWS // (2 * count)))
            found = self._tightened(boxes[part], units[part], cut, iterations, rate)
            boxes.lo[part] = torch.maximum(boxes.lo[part].scatter(1, units[part], found[..., 0]), boxes.lo[part])
            boxes.hi[part] = torch.minimum(boxes.hi[part].scatter(1, units[part], -found[..., 1]), boxes.hi[part])
        empty = (boxes.lo > boxes.hi).any(-1)
        bound = torch.where(empty, torch.inf, boxes.bound)
        return replace(boxes, lo=torch.minimum(boxes.lo, boxes.hi), bound=bound)

    def _tightened(self, boxes: Boxes, units: Tensor, cut: float, iterations: int, rate: float) -> Tensor:
        known = torch.stack([boxes.lo.gather(1, units), -boxes.hi.gather(1, units)], -1)
        sign = known.new_tensor([1.0, -1.0]).expand(known.shape).reshape(-1, 1)
        rows = self.z[units.repeat_interleave(2, 1).reshape(-1)]
        base = Affine(sign * rows.on_u, sign * rows.on_h, sign[:, 0] * rows.constant, rows.terms, rows.slack)
        spread = -known.sum(-1, keepdim=True).expand(known.shape).reshape(-1, 1)  # hi - lo
        each = boxes.repeated(2 * units.shape[1])
        # Beyond this rho the bound is below the known one, if the box's bound is right.
        most = spread / (cut - each.bound[:, None]).clamp(min=1e-3 * max(abs(cut), 1e-6), max=1e300)
        best = known.reshape(-1)
        each.beta, each.nu = 0.3 * most * each.beta, 0.3 * most * each.nu
        search = Ascent([each.alpha, each.pi, each.beta, each.nu, torch.full_like(most, 0.3)])
        for i in range(iterations):
            each.alpha, each.pi, each.beta, each.nu, share = search.values
            rho = share * most
            dual = self.dual(each, rho, base, cut)
            best = torch.maximum(best, dual.value)
            gradient, scale = self._gradient(each, dual, rho)
            gradient.append(most * ((each.pi * dual.s).sum(-1) - self.conjugate(each.pi) - cut)[:, None])
            search.step(gradient, [*scale, torch.full_like(most, 0.5)], rate * (1.0 - i / iterations))
            self._project(search.values, each)
            search.values[4] = search.values[4].clamp(0.0, 1.0)
        return best.reshape(known.shape)

    # ---- the bound of the cost --------------------------------------------------------------------------------

    def ascend(self, boxes: Boxes, iterations: int, rates: Tensor) -> Boxes:
        """Improves multipliers from where they are; bound, gap and corner follow.

        Args:
            rates: (B,) size of the first step of each.
        """
        slices = [slice(i, i + ROWS) for i in range(0, len(boxes), ROWS)]
        parts = [self._ascended(boxes[part], iterations, rates[part, None]) for part in slices]
        return parts[0] if len(parts) == 1 else Boxes.joined(parts)

    def _ascended(self, boxes: Boxes, iterations: int, rate: Tensor) -> Boxes:
        at = replace(boxes)
        best = torch.full_like(boxes.bound, -torch.inf)
        search = Ascent([at.alpha, at.pi, at.beta, at.nu])
        kept = list(search.values)
        # The relaxation's minimiser is an average of the corners that the multipliers call for, not one of them.
        means: list[Tensor] = []
        first = iterations // 3
        for i in range(iterations):
            at.alpha, at.pi, at.beta, at.nu = search.values
            dual = self.dual(at)
            better = (dual.value > best)[:, None]
            best = torch.maximum(best, dual.value)
            kept = [torch.where(better, new, old) for new, old in zip(search.values, kept, strict=True)]
            if i >= first:
                found = [dual.corner, dual.z, dual.h, dual.kappa]
                means = [a + b for a, b in zip(means, found, strict=True)] if means else found
            gradient, scale = self._gradient(at, dual)
            search.step(gradient, scale, rate * (1.0 - i / iterations))
            self._project(search.values, at)
        corner, z, h, kappa = (mean / (iterations - first) for mean in means)
        gap = torch.where(dual.mixed, kappa.abs() * (z.clamp(min=0.0) - h).abs() + 1e-9 * (at.hi - at.lo), 0.0)
        alpha, pi, beta, nu = kept
        bound = torch.maximum(boxes.bound, best)
        return replace(boxes, alpha=alpha, pi=pi, beta=beta, nu=nu, bound=bound, gap=gap, corner=corner)

    def dual(self, boxes: Boxes, rho: Tensor | None = None, base: Affine | None = None, cut: float = 0.0) -> Dual:
        """The bound of the cost, or of base + rho (cost - cut)."""
        slope, above, mixed = chord(boxes.lo, boxes.hi)
        low_slope = torch.where(mixed, boxes.alpha, slope)
        pi, conjugate = boxes.pi, self.conjugate(boxes.pi)
        if rho is not None:
            pi, conjugate = rho * pi, rho[:, 0] * (conjugate + cut)
        on, kappa = pi @ self.s.on_u, pi @ self.s.on_h
        constant = pi @ self.s.constant - conjugate
        error = pi @ (self.unit * self.s.terms + self.s.slack) + self.unit * conjugate.abs()
        if rho is not None:
            error = error + 4.0 * self.unit * rho[:, 0] * abs(cut)
        if len(self.v.terms):
            on, kappa = on + boxes.nu @ self.v.on_u, kappa + boxes.nu @ self.v.on_h
            constant = constant + boxes.nu @ self.v.constant
            error = error + boxes.nu @ (self.unit * self.v.terms + self.v.slack)
        if base is not None:
            on, kappa, constant = on + base.on_u, kappa + base.on_h, constant + base.constant
            error = error + self.unit * base.terms + base.slack
        mu = torch.zeros_like(kappa)
        for where in reversed(self.layers):
            k = kappa[:, where]
            line = torch.where(k >= 0.0, low_slope[:, where], slope[:, where])
            mu[:, where] = line * k - boxes.beta[:, where]
            if where.start:
                kappa[:, : where.start] += mu[:, where] @ self.z.on_h[where, : where.start]
        rising = kappa >= 0.0
        line, lift = torch.where(rising, low_slope, slope), torch.where(rising, 0.0, above)
        chords = kappa * lift
        fixed = boxes.beta.clamp(min=0.0) * boxes.lo + boxes.beta.clamp(max=0.0) * boxes.hi
        size = kappa.abs() * line + 2.0 * boxes.beta.abs()
        error = error + size @ (self.unit * self.z.terms + self.z.slack) - self.unit * chords.sum(-1)
        on = on + mu @ self.z.on_u
        centre, radius = centre_radius(boxes)
        value = constant + (chords + fixed).sum(-1) + mu @ self.z.constant
        value = value + (on * centre).sum(-1) - (on.abs() * radius).sum(-1)
        value = value - 2.0 * error - self.unit * value.abs()
        corner = torch.where(on > 0.0, boxes.lower, torch.where(on < 0.0, boxes.upper, centre))
        z = corner @ self.z.on_u.T + self.z.constant
        h = torch.zeros_like(z)
        for where in self.layers:
            if where.start:
                z[:, where] += h[:, : where.start] @ self.z.on_h[where, : where.start].T
            h[:, where] = line[:, where] * z[:, where] + lift[:, where]
        s, v = (corner @ rows.on_u.T + h @ rows.on_h.T + rows.constant for rows in (self.s, self.v))
        return Dual(value, corner, z, h, s, v, kappa, mixed)

    def influence(self, boxes: Boxes) -> Tensor:
        """(B, n): how much of the gaps hangs on each input, by how far it moves each ReLU's argument."""
        slope = chord(boxes.lo, boxes.hi)[0]
        moved = self.z.on_u.expand(len(boxes), -1, -1).clone()
        for where in self.layers[1:]:
            earlier = slice(0, where.start)
            moved[:, where] += self.z.on_h[where, earlier] @ (slope[:, earlier, None] * moved[:, earlier])
        width = (boxes.upper - boxes.lower)[:, None]
        moved = moved.abs() * width
        share = moved / (moved.sum(-1, keepdim=True) + 1e-300)
        return (boxes.gap[..., None] * share).sum(1) + 1e-12 * width[:, 0]

    def _gradient(self, at: Boxes, dual: Dual, rho: Tensor | float = 1.0) -> tuple[list[Tensor], list[Tensor]]:
        """Supergradient of alpha, pi, beta, nu, and the size of a step in each."""
        of_alpha = torch.where((dual.kappa > 0.0) & dual.mixed, dual.kappa * dual.z, 0.0)
        size = dual.kappa.abs()
        curved = self.weight * 2.0 * (dual.s.abs() + 0.1 * dual.s.abs().mean(-1, keepdim=True))
        scales = [
            torch.ones_like(of_alpha),
            torch.where(self.square, curved, self.weight).expand(dual.s.shape),
            0.5 * (size + size.mean(-1, keepdim=True)),
            self.nu_scale.expand(dual.v.shape) * rho,
        ]
        slope = torch.where(self.square, at.pi / (2.0 * self.weight), 0.0)
        # At beta = 0 the one-sided derivatives: none where z is inside.
        outside = torch.where(at.beta > 0.0, at.lo - dual.z, torch.where(at.beta < 0.0, at.hi - dual.z, 0.0))
        outside = torch.where(
            at.beta == 0.0, (at.lo - dual.z).clamp(min=0.0) + (at.hi - dual.z).clamp(max=0.0), outside
        )
        of_pi = dual.s - slope
        if bool(self.max.any()):  # what one row of a maximum gains, the others of its step lose
            totals = of_pi.new_zeros(len(of_pi), self.steps)
            totals.scatter_add_(1, self.step.expand(len(of_pi), -1), at.pi * of_pi * self.max)
            common = totals.clamp(min=0.0)[:, self.step] / self.weight
            of_pi = torch.where(self.max, of_pi - common, of_pi)
        return [of_alpha, rho * of_pi, outside, dual.v], scales

    def _project(self, values: list[Tensor], at: Boxes) -> None:
        """Into where multipliers are valid."""
        values[0] = values[0].clamp(0.0, 1.0)
        values[1], values[3] = values[1].clamp(min=0.0), values[3].clamp(min=0.0)
        values[1] = torch.where(self.square, values[1], self.supporting(values[1]))
        beta = values[2]
        values[2] = torch.where(at.lo >= 0.0, beta.clamp(min=0.0), torch.where(at.hi <= 0.0, beta.clamp(max=0.0), 0.0))
        values[3] = values[3] * at.enforced

    def supporting(self, pi: Tensor) -> Tensor:
        """pi <= c of sums; of a maximum the sum over a step is at most c."""
        pi = pi.minimum(self.weight)
        if not bool(self.max.any()):
            return pi
        totals = pi.new_zeros(len(pi), self.steps).scatter_add_(1, self.step.expand(len(pi), -1), pi * self.max)
        share = (self.weight / totals[:, self.step].clamp(min=1e-300)).clamp(max=1.0) * (1.0 - 1e-12)
        return torch.where(self.max, pi * share, pi)

    def conjugate(self, pi: Tensor) -> Tensor:
        """(B,) conj: c (s^+)^2 >= pi s - pi^2 / 4 c for pi >= 0; none for sums and maxima."""
        if not bool(self.square.any()):
            return pi.new_zeros(len(pi))
        return torch.where(self.square, pi**2 / (4.0 * self.weight), 0.0).sum(-1)
