"""docs/lipschitz.md: its example runs, its options and files are the program's own."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable

from control_stack.cli.main import build_parser, main
from control_stack.learning.shipped import lipschitz_model_of


def test_the_example_runs_on_the_shipped_model(page: Callable) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(page("lipschitz").blocks("python")[0], {})
    assert "cart.v [m/s] by force [N] in 1/kg" in printed.getvalue()


def test_the_boxes_of_the_page_are_read(page: Callable, tmp_path, capsys) -> None:
    boxes = page("lipschitz").blocks("json")
    (tmp_path / "box.json").write_text(boxes[0])
    assert main(["verify", "model", str(lipschitz_model_of("cartpole")), "--box", str(tmp_path / "box.json")]) == 0
    assert "next pole.rate [rad/s]" in capsys.readouterr().out
    (tmp_path / "box.json").write_text(boxes[1])  # of a system of two states: piecewise has them
    assert json.loads(boxes[1])["invariant"]["shape"] == "ellipsoid"
    code = main(["verify", "model", str(lipschitz_model_of("piecewise")), "--box", str(tmp_path / "box.json")])
    assert code in (0, 1) and "set: " in capsys.readouterr().out


def test_options_in_the_table_are_read(page: Callable) -> None:
    parser = build_parser()
    for row in page("lipschitz").table("Fit one"):
        words = row["option"].replace("relu|tanh", "tanh").replace("NAME ...", "wind").replace("--gamma G", "--gamma 2")
        words = words if words != "--method" else "--method spectral"
        options = parser.parse_args(["fit", "lipschitz", "DATA", "--out", "DIR", *words.split()])
        name, value = words.split()
        found = getattr(options, name.removeprefix("--"))
        assert value in (str(found), *map(str, found if isinstance(found, list) else ())) or float(found) == float(
            value
        )
