"""Clients that others wrote fly the emulated autopilot, by the scripts in examples/. They run where installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pymavlink")
from px4_bench import free_port

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def port() -> Iterator[int]:
    """Where a served emulator sends to."""
    port = free_port()
    command = [sys.executable, "-m", "control_stack.cli", "sim", "serve", "--as", "px4", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None and "serving PX4" in server.stdout.readline()
    yield port
    server.send_signal(signal.SIGINT)
    assert server.wait(10.0) == 0


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mavsdk") is None, reason="mavsdk is not installed")
def test_mavsdk_takes_off_goes_offboard_and_lands(port: int):
    script = ROOT / "examples" / "px4_mavsdk.py"
    done = subprocess.run(
        [sys.executable, str(script), f"udpin://127.0.0.1:{port}"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok   ") == 4


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mavproxy.py") is None, reason="MAVProxy is not installed")
def test_mavproxy_takes_off_and_lands(port: int):
    script = ROOT / "examples" / "px4_mavproxy.sh"
    done = subprocess.run(["sh", str(script), f"udpin:127.0.0.1:{port}"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Mode TAKEOFF" in done.stdout and "Disarmed by landing" in done.stdout
