"""What the parts of ``control-stack fly`` hand to each other: the configuration, the outcome, the progress bar."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from tqdm import tqdm

from control_stack.safety.events import Phase


@dataclass(frozen=True)
class FlyConfig:
    """A flight, resolved: saved as config.yaml in the run folder. uri: of a vehicle's link; None for simulators."""

    vehicle: str
    backend: str
    controller: str
    controllers: tuple[str, ...]
    levels: tuple[str, ...]
    trajectory: str
    wind: str
    sensors: str
    seed: int
    ros: bool
    namespace: str
    real_time_factor: float | None
    compute_delay: str
    takeoff_height: float
    control_rate: float
    physics_rate: float
    uri: str | None = None
    fallback: tuple[str, ...] = ()
    fence: str = "none"
    air: str = "linear"
    filter: str | None = None
    verify: str | None = None


@dataclass
class Outcome:
    """What only the running flight knows: wall-clock figures, and whether the user ended it."""

    real_time_factor: float = float("nan")
    loop_period_p50_s: float = float("nan")
    loop_period_p99_s: float = float("nan")
    loop_period_error_p50_s: float = float("nan")
    loop_period_error_p99_s: float = float("nan")
    rejections: dict[str, int] = field(default_factory=dict)
    filter: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False
    aborted: str | None = None


class ProgressBar:
    """A bar of the vehicle's time since it was first told, with the phase before it."""

    _began: float | None = None

    def __enter__(self) -> ProgressBar:
        self._bar = tqdm(
            unit="s",
            total=30.0,
            bar_format="{desc:<9} {bar} {n:.1f}/{total:.1f} s [{elapsed}]",
            file=sys.stderr,
            leave=False,
            disable=None,
        )
        return self

    def __exit__(self, *details: object) -> None:
        self._bar.close()

    def expect(self, duration: float) -> None:
        """Sets the length of the bar, s of the vehicle's time."""
        self._bar.total = duration

    def __call__(self, t: float, phase: Phase) -> None:
        """Shows time and phase."""
        self._began = t if self._began is None else self._began
        t -= self._began
        # tqdm forgets a total that is exceeded.
        self._bar.total = max(self._bar.total, t + 0.1)
        self._bar.set_description_str(phase.value, refresh=False)
        self._bar.update(t - self._bar.n)
