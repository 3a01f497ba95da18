"""The one error tree. Every class also inherits the builtin that fits, so callers may catch either."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

# What code of the user's own may raise: anything, and sys.exit() must not end a flight without a word.
USER_ERRORS = (Exception, SystemExit)


class ControlStackError(Exception):
    """Base of everything this stack raises on purpose. ``str(error)`` is one clear line for the user."""


class UnknownName(ControlStackError, KeyError):
    """A vehicle, controller, parameter or key that does not exist.

    Attributes:
        kind: What was looked up ("vehicle", "controller", ...).
        name: The name that was asked for.
        known: The names that would have been accepted.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        self.kind, self.name, self.known = kind, name, tuple(known)
        close = get_close_matches(name, self.known, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        super().__init__(f"unknown {kind} '{name}'; expected one of: {', '.join(self.known)}{hint}")

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return str(self.args[0])


class InvalidInput(ControlStackError, ValueError):
    """User data (file, argument, parameter) that cannot be used; the message names the place."""


class InputRejected(ControlStackError, ValueError):
    """One message or state at a boundary that is dropped and counted; flight goes on.

    Attributes:
        reason: Short stable key under which diagnostics count the rejection.
    """

    def __init__(self, reason: str, detail: str = ""):
        self.reason = reason
        super().__init__(f"{reason}: {detail}" if detail else reason)


class MissingDependency(ControlStackError, ImportError):
    """An optional dependency is not installed.

    Attributes:
        module: The import that failed.
        extra: The extra of this package that brings it.
    """

    def __init__(self, module: str, extra: str, note: str = ""):
        self.module, self.extra = module, extra
        super().__init__(f"'{module}' is not installed: {install_command(extra)}{'; ' + note if note else ''}")


class IncompatibleLevels(ControlStackError, TypeError):
    """Controller and vehicle share no command level; raised when they are composed, never in the air."""

    def __init__(self, controller: str, offered: Iterable[str], vehicle: str, accepted: Iterable[str], note: str = ""):
        self.offered, self.accepted = tuple(offered), tuple(accepted)
        super().__init__(
            f"controller '{controller}' emits {', '.join(self.offered)} but vehicle '{vehicle}' accepts "
            f"{', '.join(self.accepted)}: no common command level{'; ' + note if note else ''}"
        )


class NotConnected(ControlStackError, RuntimeError):
    """A vehicle was used before ``connect()`` or after ``close()``."""


class FlightAborted(ControlStackError, RuntimeError):
    """A flight did not reach its planned end; the message says which phase and why."""


class VehicleRefused(FlightAborted):
    """A vehicle declined what it was asked (arming, a mode); the message gives its own words."""


class NotReady(ControlStackError, RuntimeError):
    """A connected vehicle that is not to be armed now; the message names what failed on its pre-flight list."""


class LinkError(ControlStackError, ConnectionError):
    """No link to a vehicle, or one of another kind; the message names what was found and what is needed."""


class TrainingAborted(ControlStackError, RuntimeError):
    """A training did not reach its end; the message says why, and whether it can be resumed."""


def install_command(extra: str) -> str:
    """What brings an extra: of the clone that this package runs from, or else of the installed package."""
    clone = Path(__file__).resolve().parents[1]
    if (clone / "pyproject.toml").is_file():
        return f"pip install -e '.[{extra}]' (in the clone)"
    return f"pip install 'control-stack[{extra}]'"
