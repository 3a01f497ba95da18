"""The emulated autopilot with its ports: stepped by a test's clock, or by ``serve`` along the wall's."""

from __future__ import annotations

from collections import Counter

from control_stack.errors import InvalidInput
from control_stack.quadrotor.parameters import QuadrotorParameters
from sim.analytic import AnalyticQuadrotor
from sim.config import SimulationConfig
from sim.emulators.px4.autopilot import Autopilot
from sim.emulators.px4.options import PX4EmulatorOptions
from sim.emulators.px4.route import Route
from sim.emulators.px4.table import ParameterTable

TICK = 0.005  # s between two looks at the ports; the inner loops run at physics rate in between


class PX4Emulator:
    """A simulated quadrotor behind MAVLink.

    Attributes:
        quad: The simulated quadrotor: ground truth, wind, payload.
        autopilot: Its decisions, with their events in emulator time.
        routes: Its ports, the offboard one first.
    """

    def __init__(
        self,
        parameters: QuadrotorParameters,
        options: PX4EmulatorOptions | None = None,
        simulation: SimulationConfig | None = None,
    ):
        """Raises InvalidInput for a vehicle without a ``px4:`` block, LinkError for a port that is taken."""
        if parameters.px4 is None:
            raise InvalidInput(f"vehicle '{parameters.name}' has no px4: block in its file")
        options = options or PX4EmulatorOptions()
        self.quad = AnalyticQuadrotor(parameters, simulation or SimulationConfig())
        self.quad.connect()
        roll, pitch, _ = parameters.gains.attitude.tolist()  # what its loops have, PX4's own default is 6.5
        self.autopilot = Autopilot(self.quad, ParameterTable(parameters.px4, options.system, (roll, pitch)))
        self.routes: list[Route] = []
        try:
            for local, remote in options.routes():
                self.routes.append(Route(self.autopilot, options, local, remote))
        except BaseException:
            self.close()
            raise
        self.autopilot.on_text = self._say

    @property
    def drops(self) -> Counter[str]:
        """What was dropped or refused on all ports, by reason."""
        total: Counter[str] = Counter()
        for route in self.routes:
            total += route.codec.decoder.drops + route.refused
        return total

    def step(self, dt: float) -> None:
        """Advances by a whole number of ticks, s: reads, decides, flies, tells."""
        ticks = round(dt / TICK)
        if ticks < 1 or abs(ticks * TICK - dt) > 1e-9:
            raise InvalidInput(f"the emulator steps by multiples of {TICK:g} s, got {dt:g} s")
        for _ in range(ticks):
            for route in self.routes:
                route.receive()
            self.autopilot.step(TICK)
            for route in self.routes:
                route.telemetry()

    def close(self) -> None:
        """Releases the ports."""
        for route in self.routes:
            route.close()
        self.quad.close()

    def _say(self, severity: int, words: str) -> None:
        for route in self.routes:
            route.text(severity, words)
