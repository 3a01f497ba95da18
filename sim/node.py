"""The sim node: a simulated quadrotor on ROS 2, in lockstep with a controller or at a real-time factor."""

from __future__ import annotations

import sys
import time

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState

from control_stack.boundary import fresh
from control_stack.errors import InputRejected
from control_stack.flight.advance import ComputeDelay, advance
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.ros import messages, qos
from control_stack.ros.lifecycle import run
from control_stack.ros.parameters import Declared
from control_stack.ros.vehicle_node import VehicleNode
from sim.air import MODELS
from sim.config import SimulationConfig
from sim.factory import BACKENDS, make_vehicle
from sim.sensors import PRESETS, sensor_preset
from sim.wind import parse_wind

PARAMETERS = (
    Declared("backend", "bullet", "simulator", choices=tuple(BACKENDS)),
    Declared("lockstep", True, "hold time until the command for each state has arrived"),
    Declared("lockstep_timeout", 1.0, "s of wall time to wait for a command before time runs on", limits=(0.01, 60.0)),
    Declared("real_time_factor", 1.0, "speed of simulated time when not in lockstep", limits=(0.01, 100.0)),
    Declared("control_rate", 100.0, "control periods per second", limits=(10.0, 1000.0)),
    Declared("physics_rate", 1000.0, "physics steps per second", limits=(100.0, 10000.0)),
    Declared("compute_delay", "none", "when a command acts", choices=("none", "fixed", "measured")),
    Declared("fixed_delay", 0.01, "s, for compute_delay fixed", limits=(0.0, 1.0)),
    Declared("seed", 0, "of gusts and sensor noise", limits=(0, 2**31 - 1)),
    Declared("wind", "none", "'x,y,z' in m/s, 'dryden:light|moderate|severe', or both joined by '+'"),
    Declared("sensors", "none", "sensor errors", choices=tuple(PRESETS)),
    Declared("air", "linear", "drag of the vehicle file, or also what that leaves out", choices=MODELS),
    Declared("pose_source", "internal", "where the pose comes from", choices=("internal", "external")),
)
_WATCH_PERIOD = 0.02  # s of wall time between looks at whether the controller still answers


class SimNode(VehicleNode):
    """Lockstep is driven by messages: a command that echoes the pending stamp ends the period and begins the next.

    When the wait is over (liveliness lost, or the time-out) time runs on at the real-time factor without
    commands, and the supervisor's time-outs count from there; the first fitting command locks time again.
    """

    def __init__(self) -> None:
        super().__init__("sim", PARAMETERS)
        self._ticks = 0
        self._open = False  # a period has begun and waits for its command
        self._opened_at = 0.0  # wall, steady
        self._pending = 0.0  # stamp of the state that waits for its command: sensors may be behind the clock
        self._free = False
        self._missed = 0
        self._deadline = 0.0
        self._timers: list = []

    def now(self) -> float:
        """Simulated time, s."""
        return self._ticks * self._dt

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Builds the world."""
        return self.guarded(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Opens the inputs; time starts when a controller is there."""
        self.open_inputs(self._lockstep)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        period = _WATCH_PERIOD if self._lockstep else self._dt / self._factor
        self._timers = [self.create_timer(period, self._watch if self._lockstep else self._real_time, clock=steady)]
        return super().on_activate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forgets the world; a new one starts at time 0."""
        self._ticks = self._missed = 0
        return super().on_cleanup(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stops time."""
        for timer in self._timers:
            self.destroy_timer(timer)
        self.close_inputs()
        self._open = self._free = False
        return super().on_deactivate(state)

    def _configure(self) -> None:
        config = SimulationConfig(
            physics_rate_hz=self.parameter("physics_rate"),
            control_rate_hz=self.parameter("control_rate"),
            seed=self.parameter("seed"),
            wind=parse_wind(self.parameter("wind")),
            sensors=sensor_preset(self.parameter("sensors")),
            air=self.parameter("air"),
            pose_source=self.parameter("pose_source"),
        )
        parameters = load_vehicle(self.parameter("vehicle"))
        self._dt, self._physics_dt = 1.0 / config.control_rate_hz, 1.0 / config.physics_rate_hz
        self._delay = ComputeDelay(self.parameter("compute_delay"), self.parameter("fixed_delay"))
        self._lockstep = self.parameter("lockstep")
        self._patience = self.parameter("lockstep_timeout")
        self._factor = self.parameter("real_time_factor")
        self._vehicle = make_vehicle(self.parameter("backend"), parameters, config)
        self._clock_out = self.create_publisher(ClockMessage, "/clock", qos.PUBLISH)
        self.build(self._vehicle, parameters)

    def on_command(self, message: JointState) -> None:
        """Ends the period that the command answers and begins the next (lockstep), or keeps it (real time)."""
        side = self._side()
        try:
            stamp = messages.to_seconds(message.header.stamp)
            if not self._lockstep:
                fresh(stamp, self.now(), self.parameter("max_input_age"))
            elif not self._open or abs(stamp - self._pending) > 1e-6:
                raise InputRejected("stale", f"stamp {stamp:.3f}, waiting for {self._pending:.3f}")
            command = messages.command_from_joints(message)
        except InputRejected as error:
            side.rejections.add("command", error)
            # A bad answer is an answer: time goes on, and the supervisor's time-out with it.
            if error.reason == "stale" or not self._lockstep:
                return
        else:
            try:
                side.receive(self.now(), command)
            except InputRejected:
                pass  # counted where it was raised
        if self._lockstep:
            self._free = False
            self._end_period(time.monotonic() - self._opened_at)
            self._begin_period()

    def on_controller_alive(self, alive: bool) -> None:
        """A controller that died is not waited for."""
        if self._lockstep and not alive and self._open:
            self._run_free("the controller's liveliness is lost")

    def diagnostics(self) -> dict[str, str]:
        """Adds time and lockstep."""
        own = {"lockstep": str(self._lockstep and not self._free)}
        return {**super().diagnostics(), **own, "missed_periods": str(self._missed)}

    def _begin_period(self) -> None:
        state, self._truth = self._side().observe(), self._vehicle.true_state()
        self._open, self._opened_at, self._pending = True, time.monotonic(), state.stamp
        if self._clock_out.get_subscription_count():
            self._clock_out.publish(ClockMessage(clock=messages.to_time(self.now())))
        self.publish_state(state, self._lockstep)

    def _end_period(self, waited: float) -> None:
        t, side = self.now(), self._side()
        self._open = False
        self._missed += waited > self._dt
        advance(side, self._vehicle, t, self._dt, self._physics_dt, self._delay.seconds(waited))
        self.recorder.period(t, side, self._truth)
        self._ticks += 1

    def _watch(self) -> None:
        if not self._open and not self._free:
            if self.matched():
                self._begin_period()
            return
        wall = time.monotonic()
        if not self._free and wall - self._opened_at > self._patience:
            self._run_free(f"no command for {self._patience:g} s")
        while self._free and wall >= self._deadline:
            self._end_period(0.0)
            self._begin_period()
            self._deadline += self._dt / self._factor

    def _run_free(self, why: str) -> None:
        self.get_logger().warning(f"[{self.now():.2f} s] {why}: time runs on without commands")
        self._free, self._deadline = True, time.monotonic()

    def _real_time(self) -> None:
        if self._open:
            self._end_period(0.0)
        self._begin_period()


def main(arguments: list[str] | None = None) -> int:
    """Runs the node; the executable ``sim_node``."""
    return run(SimNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
