"""SIGINT and SIGTERM: at once, only noted, and where a shell had SIGINT ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from control_stack.cli import interrupts
from control_stack.cli.interrupts import noted, raised

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def left_as_found():
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_raised_strikes_at_once(number: int) -> None:
    with pytest.raises(KeyboardInterrupt), raised():
        signal.raise_signal(number)


@pytest.mark.parametrize("number", SIGNALS)
def test_noted_strikes_when_asked_and_once(number: int) -> None:
    with noted() as check:
        check()
        signal.raise_signal(number)
        signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            check()
        check()


def test_what_is_stuck_can_be_ended_by_the_next_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_STUCK", -1.0)  # as if it had not asked for that long
    with noted() as check:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        check()


def test_other_threads_leave_the_handlers_alone() -> None:
    seen = []

    def body() -> None:
        with raised(), noted() as check:
            check()
            seen.append([signal.getsignal(number) for number in SIGNALS])

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [[signal.getsignal(number) for number in SIGNALS]]


WHILE_IMPORTING = """
import signal, sys

class Press:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            sys.meta_path.remove(self)
            signal.raise_signal(signal.{signal})

sys.meta_path.insert(0, Press())
from control_stack.cli import main
assert "numpy" not in sys.modules
sys.exit(main(["fly", "--no-ros", "--backend", "analytic"]))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("ignored", [False, True], ids=["", "ignored by the shell"])
def test_ended_while_importing_is_one_line(tmp_path, name: str, ignored: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WHILE_IMPORTING.format(signal=name)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
    assert not list(tmp_path.iterdir())
