"""CSV files: what is read, and the line named when it is refused."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.errors import InvalidInput
from control_stack.trajectories import Lissajous, load_csv, load_waypoints, sample

GOOD = "t,x,y,z\n0,0,0,1\n1,1,0,1\n2,1,1,1\n3,0,1,1\n"


@pytest.fixture
def write(tmp_path):
    def _write(text: str | bytes):
        path = tmp_path / "path.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return _write


def test_passes_its_rows_smoothly(write, check):
    path = load_csv(write("# by hand\nt, x, y, z, yaw\n10,0,0,1,0\n\n11,1,0,1,0.5\n12,1,1,1,1\n13.5,0,1,1,1.5\n"))
    assert path.duration == pytest.approx(3.5)
    np.testing.assert_allclose(path(1.0).position_w, [1, 0, 1], atol=1e-12)
    assert path(2.0).yaw == pytest.approx(1.0)
    check.derivatives(path, 0.0, path.duration, tolerance=1e-4)


@pytest.mark.parametrize("columns", ["t,x,y,z", "t,x,y,z,yaw,vx,vy,vz", "z,y,x,vz,vy,vx,t"])
def test_a_written_trajectory_is_read_back(write, columns):
    eight = Lissajous(lap=4.0, laps=1)
    s = sample(eight, 20.0)
    named = dict(
        zip(
            ("t", "x", "y", "z", "vx", "vy", "vz", "yaw"),
            (s.times, *s.positions.T, *s.velocities.T, s.yaws),
            strict=True,
        )
    )
    rows = zip(*(named[name] for name in columns.split(",")), strict=True)
    text = "\n".join([columns, *(",".join(repr(float(v)) for v in row) for row in rows)])
    path = load_csv(write(text))
    for t in np.linspace(0.0, eight.duration, 301):
        np.testing.assert_allclose(path(t).position_w, eight(t).position_w, atol=5e-5)
        np.testing.assert_allclose(path(t).velocity_w, eight(t).velocity_w, atol=5e-3)


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        (GOOD.replace("2,1,1,1", "2,nan,1,1"), 4, "finite"),
        (GOOD.replace("2,1,1,1", "2,1,inf,1"), 4, "finite"),
        (GOOD.replace("2,1,1,1", "1,1,1,1"), 4, "time must increase"),
        (GOOD.replace("3,0,1,1", "2.5,0,1,1\n2.4,0,1,1"), 6, "time must increase"),
        (GOOD.replace("2,1,1,1", "2,one,1,1"), 4, "not a number"),
        (GOOD.replace("2,1,1,1", "2,1,1"), 4, "3 values in 4 columns"),
        (GOOD.replace("2,1,1,1", "2,1,1,1,1"), 4, "5 values in 4 columns"),
        (GOOD.replace("2,1,1,1", "2,,1,1"), 4, "not a number"),
        ("# comment\n\n" + GOOD.replace("2,1,1,1", "2,nan,1,1"), 6, "finite"),
        (GOOD.replace("t,x,y,z", "t,x,y"), 1, "'z' is missing"),
        (GOOD.replace("t,x,y,z", "x,y,z,yaw"), 1, "'t' is missing"),
        (GOOD.replace("t,x,y,z", "time,x,y,z"), 1, "unknown column 'time'"),
        (GOOD.replace("t,x,y,z", "t,x,x,z"), 1, "twice"),
        (GOOD.replace("t,x,y,z", "t,x,y,z,vx"), 1, "'vy' is missing"),
        (GOOD.partition("\n")[2], 1, "unknown column"),
        ("t,x,y,z\n0,0,0,1\n1,1,0,1\n2,1,1,1\n", 4, "at least 4"),
        ("t,x,y,z\n", 1, "at least 4"),
        ("", 1, "empty"),
        ("\n\n", 1, "empty"),
    ],
)
def test_refused_with_file_and_line(write, text, line, word):
    path = write(text)
    with pytest.raises(InvalidInput) as caught:
        load_csv(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line {line}:") and word in message and "\n" not in message


def test_what_is_no_text_or_no_file_is_refused(write, tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_csv(write(b"\x93NUMPY\xff\xfe\x00"))
    with pytest.raises(InvalidInput, match="does not exist"):
        load_csv(tmp_path / "none.csv")


def test_waypoints_begin_where_the_vehicle_is(write):
    path = load_waypoints(write("x,y,z,yaw\n1,0,1,0\n1,1,1,1\n"), start=[0, 0, 1])
    for t, point in zip(path.breaks, [[0, 0, 1], [1, 0, 1], [1, 1, 1]], strict=True):
        np.testing.assert_allclose(path(t).position_w, point, atol=1e-9)
    with pytest.raises(InvalidInput, match="line 3: the same point"):
        load_waypoints(write("x,y,z\n1,0,1\n1,0,1\n"))
