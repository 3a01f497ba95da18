"""``control-stack doctor`` with its two processes."""

from __future__ import annotations

import os
import subprocess
import sys


def test_discovery_is_told_and_nothing_else(domain: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "control_stack.cli", "doctor"],
        capture_output=True,
        text=True,
        env={**os.environ, "ROS_DOMAIN_ID": domain},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"works in domain {domain}, first message after" in done.stdout.splitlines()[-1]
