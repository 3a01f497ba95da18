"""control-stack airframes sample|show|plot: the laws that random quadrotors are drawn from.

raptor is the law of Eschmann, Albani, Loianno 2025; wide adds what that one never varies.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

import numpy as np

from control_stack.artefacts.tables import number, table
from control_stack.cli.arguments import check_seed, output_file
from control_stack.errors import InvalidInput, UnknownName

_MAX_COUNT = 10_000_000
_PRESET = "raptor-crazyflie"  # the base airframe of RAPTOR's law; 'crazyflie' is this stack's vehicle


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command with its three verbs."""
    parser = commands.add_parser("airframes", help="draw, describe and plot random quadrotors", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", metavar="sample|show|plot", required=True)
    drawing = verbs.add_parser("sample", help="draw airframes and the conditions of one flight of each, as CSV")
    drawing.add_argument("--law", default="raptor", help="raptor or wide (default raptor)")
    drawing.add_argument("--out", required=True, metavar="FILE", help="CSV to write; units stand in its header")
    drawing.set_defaults(run=sample)
    showing = verbs.add_parser("show", help="ranges of a law and quantiles of a sample; or a vehicle")
    showing.add_argument(
        "name", nargs="?", default="raptor", help=f"a law (default raptor), {_PRESET}, a vehicle or its YAML file"
    )
    showing.set_defaults(run=show)
    plotting = verbs.add_parser("plot", help="a picture of all laws over one another")
    plotting.add_argument("--out", required=True, metavar="FILE", help="PNG to write")
    plotting.set_defaults(run=plot)
    for verb in (drawing, showing, plotting):
        count = 1024 if verb is drawing else 20_000
        verb.add_argument("--count", type=int, default=count, metavar="N", help=f"how many (default {count})")
        verb.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")


def sample(options: argparse.Namespace) -> int:
    """Draws airframes into a file."""
    from control_stack.foundation.quantities import write_csv

    path = output_file("--out", options.out)
    airframes, conditions = _draw(options.law, options)
    try:
        write_csv(path, airframes, conditions)
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}") from None
    print(f"{path}: {len(airframes)} airframes of the law {options.law}, seed {options.seed}")
    return 0


def show(options: argparse.Namespace) -> int:
    """Prints a law, or one vehicle."""
    from control_stack.foundation.airframes import LAWS, crazyflie_preset
    from control_stack.foundation.quantities import QUANTITIES, of_vehicle
    from control_stack.quadrotor.parameters import load_vehicle, vehicle_names

    if options.name not in LAWS:
        if options.name == _PRESET:
            one = crazyflie_preset()
        elif options.name in vehicle_names() or options.name.endswith((".yaml", ".yml")):
            one = of_vehicle(load_vehicle(options.name))
        else:
            raise UnknownName("airframe law or vehicle", options.name, [*LAWS, _PRESET, *vehicle_names()])
        rows = [(name, float(value(one)[0]), unit) for (name, unit), value in QUANTITIES.items()]
        print(table(rows, (options.name, "value", "unit")))
        return 0
    law = LAWS[options.name]
    ranges = [(field.name, _text(getattr(law, field.name))) for field in fields(law)]
    print(table(ranges, (f"law {options.name}", "drawn from")))
    drawn: list[tuple[Any, ...]] = []
    for (name, unit), values in _columns(options.name, options).items():
        low, first, middle, last, high = np.quantile(values, (0.0, 0.05, 0.5, 0.95, 1.0)).tolist()
        drawn.append((name, unit, low, first, middle, last, high))
    print()
    title = f"{options.count} drawn, seed {options.seed}"
    print(table(drawn, (title, "unit", "least", "5 %", "median", "95 %", "most")))
    return 0


def plot(options: argparse.Namespace) -> int:
    """Draws the marginals of all laws."""
    from control_stack.foundation.airframes import LAWS
    from control_stack.foundation.law_picture import law_picture

    path = output_file("--out", options.out)
    law_picture({name: _columns(name, options) for name in LAWS}, path, options.seed)
    print(f"{path}: {options.count} airframes of each law")
    return 0


def _draw(law_name: str, options: argparse.Namespace) -> tuple[Any, Any]:
    from control_stack.foundation.airframes import law_named, sample, sample_conditions

    check_seed(options.seed)
    if not 1 <= options.count <= _MAX_COUNT:
        raise InvalidInput(f"--count must be from 1 to {_MAX_COUNT}, got {options.count}")
    law, rng = law_named(law_name), np.random.default_rng(options.seed)
    airframes = sample(law, options.count, rng)
    return airframes, sample_conditions(law, airframes, rng)


def _columns(law_name: str, options: argparse.Namespace) -> dict[tuple[str, str], Any]:
    from control_stack.foundation.quantities import columns

    return columns(*_draw(law_name, options))


def _text(value: Any) -> str:
    if value is None:
        return "as RAPTOR's"
    if isinstance(value, tuple):
        return number(value[0]) if value[0] == value[1] else f"{number(value[0])} .. {number(value[1])}"
    return number(value)
