"""control-stack verify policy|model PATH --box FILE: proves what a policy or a model does on a box before it is used.

A policy: the range of its raw action, not limited to [-1, 1], and its gains. A model: the range of its next state, its
slopes and local constant; with a set in the file, whether one step of the closed loop ever leaves it. Exits with 0 if
all that was asked is proved, 1 if a set is refuted or a claim left open, 2 if the input cannot be used.
"""

from __future__ import annotations

import argparse
from typing import Any

from control_stack.artefacts.tables import table
from control_stack.cli.arguments import output_file
from control_stack.errors import InvalidInput

EXIT_PROVED, EXIT_OPEN = 0, 1
_MOST_BOXES = 65_536


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the front door."""
    parser = commands.add_parser(
        "verify", help="prove ranges, gains and invariant sets of a policy or a model", description=__doc__
    )
    parser.add_argument("what", choices=["policy", "model"], help="a recurrent policy, or Lipschitz dynamics")
    parser.add_argument(
        "path",
        metavar="PATH",
        help=".safetensors with its card; 'shipped' is the shipped policy, 'shipped:TASK' a shipped model",
    )
    parser.add_argument(
        "--box", required=True, metavar="FILE", help="JSON: the box, and perhaps a set (docs/lipschitz.md)"
    )
    parser.add_argument("--json", metavar="FILE", help="where to write the report; a picture goes beside it")
    parser.add_argument(
        "--boxes", type=int, default=512, metavar="N", help="parts the box may be cut into (default 512)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Verifies; returns the exit code."""
    from control_stack.artefacts.runs import provenance, write_json
    from control_stack.verification import read_box_file, verify_model, verify_policy

    target = output_file("--json", options.json) if options.json is not None else None
    if target is not None and target.suffix == ".png":
        raise InvalidInput("--json names the report; the picture beside it ends in .png")
    if not 1 <= options.boxes <= _MOST_BOXES:
        raise InvalidInput(f"--boxes must be from 1 to {_MOST_BOXES}, got {options.boxes}")
    asked = read_box_file(options.box)
    if options.what == "policy":
        report = verify_policy(None if options.path == "shipped" else options.path, asked, options.boxes)
    else:
        report = verify_model(_model_path(options.path), asked, options.boxes)
    _print(report)
    if target is not None:
        from control_stack.verification.picture import verification_picture

        write_json(target, {**report, **provenance()})
        picture = verification_picture(report, target.with_suffix(".png"), _moved(report))
        print(f"report: {target}, picture: {picture}")
    return EXIT_PROVED if report["proved"] else EXIT_OPEN


def _model_path(path: str) -> str:
    """The file; 'shipped:TASK' names one that comes with the package."""
    from control_stack.learning.shipped import lipschitz_model_of

    prefix = "shipped:"
    return str(lipschitz_model_of(path.removeprefix(prefix))) if path.startswith(prefix) else path


def _moved(report: dict[str, Any]) -> Any:
    """Points of the set and where the closed loop takes them, without disturbance."""
    if "invariant" not in report:
        return None
    import numpy as np

    from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
    from control_stack.verification.picture import shown_points

    found, model = report["invariant"], LipschitzDynamics.load(report["file"])
    generators, center = np.array(found["matrix"]), np.array(found["center"])
    y = shown_points(len(center), found["shape"] == "ellipsoid")
    x = center + y @ generators.T
    steady = 0.5 * (np.array(found["inputs"]["lower"]) + np.array(found["inputs"]["upper"]))
    u = steady + (x - center) @ np.array(found["feedback"]).T
    return y, (model.step(x, u) - center) @ np.linalg.inv(generators).T


def _print(report: dict[str, Any]) -> None:
    if "outputs" in report:
        rows = [
            (o["name"], o["lower"], o["upper"], o["seen_lower"], o["seen_upper"], max(o["gain"]))
            for o in report["outputs"]
        ]
        print(table(rows, ("output", "proved from", "to", "seen from", "to", "largest gain")))
    if "never_limited" in report:
        print(f"raw action within [-1, 1], so never limited: {'yes' if all(report['never_limited']) else 'not proved'}")
    for name, claim in report.get("within", {}).items():
        print(f"{name} within {claim['lower']:g} .. {claim['upper']:g}: {'yes' if claim['proved'] else 'not proved'}")
    if "local_gamma" in report:
        print(f"gamma of g: {report['certificate']['gamma']:.4g} anywhere, {report['local_gamma']:.4g} in the box")
    if "invariant" in report:
        found = report["invariant"]
        print(f"set: {found['status']}: reach {found['reach']:.6g} (seen {found['seen']:.6g}), {found['method']}")
        if found["counterexample"] is not None:
            print(f"counterexample: {', '.join(f'{v:.6g}' for v in found['counterexample'])} leaves the set")
