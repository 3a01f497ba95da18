"""Tables line up, and a benchmark's report says the same on screen and in its file."""

from __future__ import annotations

import io
import json
import math

import pytest

from control_stack.artefacts.tables import BenchRow, bench_report, number, table
from control_stack.errors import InvalidInput


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345, "0.01235"),
        (31.4159, "31.42"),
        (123456.0, "123456"),
        (0.0, "0.000"),
        (1.5e-7, "1.500e-07"),
        (-2.5, "-2.500"),
        (7, "7"),
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        ("racer", "racer"),
        (math.nan, "nan"),
    ],
)
def test_numbers_have_four_digits(value, text):
    assert number(value) == text


def test_columns_line_up_numbers_right_words_left():
    lines = table([["rmse", 0.05, "m"], ["landed upright", 12.0, ""]], ["figure", "value", "unit"]).splitlines()
    assert lines[0] == "figure            value  unit"
    assert lines[1] == "--------------  -------  ----"
    assert lines[2] == "rmse            0.05000  m"
    assert lines[3] == "landed upright    12.00"
    assert table([["a", 1], ["bb", 22]]) == "a    1\nbb  22"
    with pytest.raises(InvalidInput):
        table([["a", 1], ["b"]])


@pytest.mark.parametrize(
    ("value", "target", "holds"),
    [
        (30.0, ">= 30", True),
        (29.9, ">= 30", False),
        (0.1, "<= 0.10", True),
        (0.2, "<=0.10", False),
        (3.0, "> 3", False),
        (2.0, "< 3", True),
        (0.0, "== 0", True),
        (5e5, ">= 5e5", True),
        (1.0, None, None),
        (math.nan, "<= 1", False),
        (math.nan, ">= 1", False),
    ],
)
def test_targets(value, target, holds):
    assert BenchRow("sim", "rate", value, "x", target).holds is holds


@pytest.mark.parametrize("target", ["30", "about 30", ">= x", "=> 3", ">= 1e"])
def test_a_target_that_cannot_be_read_is_an_error(target):
    with pytest.raises(InvalidInput, match="target"):
        _ = BenchRow("sim", "rate", 1.0, "x", target).holds


def test_the_report_on_screen_and_in_the_file(tmp_path):
    rows = [
        BenchRow("analytic", "speed", 41.25, "x real time", ">= 30", 3.5),
        BenchRow("analytic", "error", math.nan, "m", "<= 0.10"),
        BenchRow("analytic", "steps", 1000, "1"),
    ]
    screen = io.StringIO()
    report = bench_report(rows, tmp_path / "bench.json", 7, screen)
    saved = json.loads((tmp_path / "bench.json").read_text())
    assert set(saved) == {"rows", "seed", "versions", "git_revision", "machine"}
    assert saved["seed"] == 7
    assert saved["rows"][0] == {
        "test": "analytic",
        "metric": "speed",
        "value": 41.25,
        "unit": "x real time",
        "target": ">= 30",
        "peer": 3.5,
        "holds": True,
    }
    assert saved["rows"][1]["value"] is None and saved["rows"][1]["holds"] is False
    assert saved["rows"][2]["holds"] is None
    assert report["versions"] == saved["versions"]
    text = screen.getvalue()
    assert "41.25" in text and "3.500" in text and len(text.splitlines()) == 5


def test_a_report_may_go_to_the_screen_only(capsys, tmp_path):
    bench_report([BenchRow("a", "b", 1.0, "s")], None, None)
    assert "1.000" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
