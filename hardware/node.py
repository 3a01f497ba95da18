"""The hardware node: a Crazyflie or a PX4 vehicle on ROS 2, with the supervisor and the surface of a simulated one."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque

import numpy as np
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import JointState

from control_stack.boundary import fresh
from control_stack.errors import ControlStackError, InputRejected
from control_stack.flight.hardware import Check, fence_checks
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.ros import messages
from control_stack.ros.lifecycle import run
from control_stack.ros.parameters import Declared
from control_stack.ros.vehicle_node import VehicleNode
from control_stack.safety.events import AIRBORNE, Event, Phase, Reply, Severity
from hardware.factory import BACKENDS, Driver, make_vehicle

PARAMETERS = (
    Declared("backend", "crazyflie", "whose link", choices=tuple(BACKENDS)),
    Declared("uri", "", "where the vehicle's link is found; empty: the back end's own default"),
    Declared("arm", False, "whether the service arm may let the motors run"),
    Declared("control_rate", 100.0, "states and commands per second", limits=(10.0, 250.0)),
)
_PATIENCE = 1.5  # periods until time goes on without a new state, so that the time-outs run
_SHORTEST, _NAP = 0.75, 0.0005  # of a period; s
_FRESH = 0.5  # s to wait for a state to judge by
_WINDOW = 500  # periods that are reported
_STEP = 0.05  # s between the node's clock and our stamps from which the stamps follow it


class HardwareNode(VehicleNode):
    """A state begins a period. The command that answers it, or else the next state, ends it.

    The vehicle's steady time runs the supervisor; stamps are on the node's clock, and follow its steps while disarmed
    only. Nothing is taken over: a vehicle that flies when this node starts is left to whoever flies it, or to its own
    failsafes, and arming is refused until it is down.
    """

    def __init__(self) -> None:
        super().__init__("hardware", PARAMETERS)
        self._open = False  # a state has been told and waits for its command
        self._reader: threading.Thread | None = None
        self._reading, self._taken = threading.Event(), threading.Event()
        self._acted: deque[float] = deque(maxlen=_WINDOW)  # steady, s
        self._heard: deque[float] = deque(maxlen=_WINDOW)  # when new states were read
        self._refusal = ""

    def now(self) -> float:
        """The vehicle's clock, s."""
        return self._vehicle.now()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Connects."""
        return self.guarded(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Opens the inputs; every state of the vehicle is told from now on."""
        self.open_inputs(lockstep=False)
        self._arrived = self.create_guard_condition(self._on_state)
        self._reading.set()
        self._reader = threading.Thread(target=self._read, name="states", daemon=True)
        self._reader.start()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Refused while armed: nobody would look after the vehicle."""
        if self._side().phase not in (Phase.DISARMED, Phase.EMERGENCY):
            self.get_logger().error(f"not deactivated in phase {self._side().phase.value}: land and disarm first")
            return TransitionCallbackReturn.FAILURE
        self._stop_reading()
        self.destroy_guard_condition(self._arrived)
        self.close_inputs()
        return super().on_deactivate(state)

    def finish(self) -> None:
        """Lets go of the link; see the driver's ``close`` for what becomes of a vehicle in the air."""
        self._stop_reading()
        super().finish()

    def may_end(self, asked: int) -> bool:
        """Told to stop in the air it lands first; told again it cuts."""
        side = self.side
        if side is None or side.phase not in AIRBORNE:
            return True
        if asked > 1:
            self.emergency()
        elif side.phase is not Phase.LANDING:
            self.land()
        return side.phase not in AIRBORNE

    def on_command(self, message: JointState) -> None:
        """Sends the answer to the newest state at once; a further one waits for the next."""
        side = self._side()
        try:
            stamp = messages.to_seconds(message.header.stamp) - self.epoch
            if side.phase in AIRBORNE:  # before, nobody flies them, and arming makes the node deaf for a second
                fresh(stamp, self.now(), self.parameter("max_input_age"))
            command = messages.command_from_joints(message)
        except InputRejected as error:
            side.rejections.add("command", error)
            return
        try:
            side.receive(self.now(), command)
        except InputRejected:
            return  # counted where it was raised
        if self._open:
            self._act()

    def arm(self) -> Reply:
        """Arms the vehicle itself, if this node may; the reply gives the vehicle's own words when it declines."""
        side = self._side()
        if not self.parameter("arm"):
            return Reply(False, "this node may not arm: start it with the parameter arm set (control-stack fly: --arm)")
        if self._reader is None:
            return Reply(False, "the node is not active")
        if side.phase is Phase.DISARMED:
            self._vehicle.wait_for_state(_FRESH)  # while nodes start, machines are busy: not one from before that
            failed = [check for check in self._checks() if not check.ok]
            if failed:
                return Reply(False, "; ".join(f"{check.name}: {check.detail}" for check in failed))
        side.observe()
        reply = super().arm()
        if reply.accepted and not self._act():
            return Reply(False, self._refusal)
        return reply

    def emergency(self) -> Reply:
        """Motors off at once; also those of a vehicle that flies without us, as far as it lets us."""
        side = self._side()
        ours = side.phase in (Phase.ARMED, *AIRBORNE)
        reply = side.supervisor.emergency(self.now())
        try:
            if ours:
                side.act(self.now())
            else:
                self._vehicle.disarm()
        except ControlStackError as error:
            return Reply(False, str(error))
        return reply

    def diagnostics(self) -> dict[str, str]:
        """Adds the loop, the link and, before a flight, the pre-flight list."""
        now, periods = time.monotonic(), np.diff(self._acted)
        rate = float(sum(1 for t in self._heard if now - t <= 1.0))
        own = {"state_rate_hz": f"{rate:.0f}", "link_quality": f"{min(rate / self.parameter('control_rate'), 1.0):.2f}"}
        if len(periods):
            p50, p99 = np.percentile(periods, [50, 99])
            own |= {"loop_period_p50_s": f"{p50:.3e}", "loop_period_p99_s": f"{p99:.3e}"}
        own |= {f"link_{key}": f"{value:.4g}" for key, value in self._vehicle.link_status().items()}
        if self._side().phase is Phase.DISARMED:
            checks = self._checks()
            own |= {f"preflight_{c.name.replace(' ', '_')}": f"{'ok' if c.ok else 'FAIL'}: {c.detail}" for c in checks}
        return {**super().diagnostics(), **own}

    def _configure(self) -> None:
        parameters = load_vehicle(self.parameter("vehicle"))
        rate = self.parameter("control_rate")
        self._patience, self._shortest = _PATIENCE / rate, _SHORTEST / rate
        self._vehicle: Driver = make_vehicle(self.parameter("backend"), parameters, self.parameter("uri"), rate)
        self.build(self._vehicle, parameters)
        self._align()
        for check in self._checks():
            line = f"pre-flight: {check.name}: {check.detail}"
            # Two calls, because rclpy ties a severity to the place that it is logged from.
            if check.ok:
                self.get_logger().info(line)
            else:
                self.get_logger().warning(f"{line} (FAIL)")

    def _checks(self) -> list[Check]:
        fence = fence_checks(self.parameter("fence"), self.parameter("takeoff_height"), self._vehicle.state())
        return [*self._vehicle.preflight(), *fence]

    def _takeoff(self) -> Reply:
        if self._side().phase is Phase.ARMED:  # arming has held the executor up, and with it the states
            self._vehicle.wait_for_state(_FRESH)
            self._side().observe()
        return super()._takeoff()

    def _read(self) -> None:
        """In a thread: wakes the executor once a period, for a new state or, when none comes, without one."""
        woken = -np.inf
        while self._reading.is_set():
            # PX4 sends its estimate in two forms, each of which makes a state: one a period is enough.
            while self._vehicle.wait_for_state(self._patience) and time.monotonic() - woken < self._shortest:
                time.sleep(_NAP)
            woken = time.monotonic()
            self._taken.clear()
            self._arrived.trigger()
            while self._reading.is_set() and not self._taken.wait(0.1):
                pass

    def _stop_reading(self) -> None:
        self._reading.clear()
        if self._reader is not None:
            self._reader.join()
            self._reader = None

    def _on_state(self) -> None:
        if self._open:
            self._act()
        side = self._side()
        if side.phase is Phase.DISARMED:
            self._align()
        before, state = side.state.stamp, side.observe()
        self._taken.set()
        if state.stamp != before:
            self._heard.append(time.monotonic())
        self._open = True
        self.publish_state(state)

    def _act(self) -> bool:
        """Ends the period with what the supervisor decides; whether the vehicle did what it was asked."""
        side, t = self._side(), self.now()
        self._open = False
        lost = self._vehicle.lost_control() if side.phase in (Phase.ARMED, *AIRBORNE) else None
        if lost and side.phase in AIRBORNE:
            side.release(t, lost)
        elif lost:
            self.tell(Event(t, Severity.WARN, "control_lost", f"{lost}: disarmed"))
            side.supervisor.disarm(t)
        refusal = ""
        try:
            side.act(t)
        except ControlStackError as error:
            refusal = str(error)
            if side.phase is Phase.ARMED:
                side.supervisor.disarm(t)
            if refusal != self._refusal:  # told once; a disarm that is refused is tried every period
                self.tell(Event(t, Severity.ERROR, "vehicle_refused", refusal))
        self._refusal = refusal
        self._acted.append(time.monotonic())
        self.recorder.period(t, side)
        return not refusal

    def _align(self) -> None:
        offset = self.get_clock().now().nanoseconds * 1e-9 - self.now()
        if abs(offset - self.epoch) > _STEP:
            self.epoch = offset


def main(arguments: list[str] | None = None) -> int:
    """Runs the node; the executable ``hardware_node``."""
    return run(HardwareNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
