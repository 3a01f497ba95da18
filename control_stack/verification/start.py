"""Whether what is about to run is proved to do what was asked: by a box, proved anew, or by a report and its digest.

A box file is verified again with every start. A report of ``control-stack verify`` is read and compared: it must be of
the same weights (SHA-256) and must say that all it was asked is proved. Else it is believed, as any file of the user's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from control_stack.errors import InvalidInput
from control_stack.foundation.weights import PolicyWeights
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.verification.box_file import read_box_file
from control_stack.verification.verify import verify_model, verify_policy

_REPORT_KEYS = {"kind", "sha256", "proved"}


def require_proof(path: str | Path, subject: PolicyWeights | LipschitzDynamics, name: str) -> dict[str, Any]:
    """The report that lets ``subject`` run.

    Args:
        path: Box file (``box_file``), or report of ``control-stack verify``.
        subject: Weights or model that are about to be used. name: What the error calls them.

    Raises:
        InvalidInput: The file cannot be used, is a report of something else, or a proof fails; the message says which.
    """
    kind = "policy" if isinstance(subject, PolicyWeights) else "model"
    report = _read_report(Path(path))
    if report is None:
        asked = read_box_file(path)
        if isinstance(subject, PolicyWeights):
            report = verify_policy(subject, asked)
        else:
            report = verify_model(subject, asked)
    elif report["kind"] != kind:
        raise InvalidInput(f"{path}: a report of a {report['kind']}, but '{name}' runs a {kind}")
    elif report["sha256"] != subject.card.get("sha256"):
        raise InvalidInput(f"{path}: a report of other weights than those of '{name}': verify these")
    if report["proved"] is not True:
        raise InvalidInput(f"{path}: '{name}' is not proved to do what was asked: {'; '.join(_open(report))}")
    return report


def _read_report(file: Path) -> dict[str, Any] | None:
    """The report in a file; None if it holds something else, of which ``read_box_file`` says what is wrong."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.keys() >= _REPORT_KEYS else None


def _open(report: dict[str, Any]) -> list[str]:
    """What is not proved, one phrase each."""
    ranges = {output["name"]: output for output in report.get("outputs", [])}
    said = [
        f"{name} reaches {ranges[name]['lower']:.4g} .. {ranges[name]['upper']:.4g}, "
        f"asked {claim['lower']:.4g} .. {claim['upper']:.4g}"
        for name, claim in report.get("within", {}).items()
        if not claim["proved"]
    ]
    verdict = report.get("invariant")
    if verdict is not None and verdict["status"] != "proved":
        said.append(f"the set is {verdict['status']}, reach {verdict['reach']:.4g}")
    return said or ["the report says so"]
