"""Bad input: one line on stderr that says what was expected, exit code 2, no traceback, no folder left
behind."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from sim.wind import parse_wind

CRAZYFLIE = resources.files("control_stack") / "vehicles" / "crazyflie.yaml"
CSV = "t,x,y,z\n0,0,0,1\n1,0,0,1\n2,0.1,0,1\n3,0,0,1\n"


def assert_refused(done, *fragments: str) -> None:
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith("error: ") and "Traceback" not in done.out + done.err
    for fragment in fragments:
        assert fragment in line
    assert not done.folder.exists() and not (done.folder.parent / "runs").exists()


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (["--vehicle", "crazyfly"], ["unknown vehicle 'crazyfly'", "crazyflie", "racer", "x500"]),
        (["--vehicle", "missing.yaml"], ["vehicle file missing.yaml does not exist"]),
        (["--vehicle", "/"], ["vehicle file / is a folder"]),
        (["--out", ""], ["the run folder needs a name"]),
        (["--controller", "pid"], ["unknown controller 'pid'", "gp_cem, lqr, nmpc, path/to/file.py:ClassName"]),
        (["--controller", "missing.py:Mine"], ["missing.py does not exist"]),
        (["--also", "lqr", "pid"], ["unknown controller 'pid'"]),
        (["--controller", "lqr", "--level", "ctbr"], ["'lqr'", "rotors", "ctbr", "no common command level"]),
        (["--level", "velocity"], ["--level", "'rotors', 'ctbr', 'attitude'"]),
        (["--backend", "gazebo"], ["--backend", "'bullet', 'analytic'"]),
        (["--trajectory", "circle"], ["unknown trajectory 'circle'", "hover, eight"]),
        (["--trajectory", "eight:radius=1"], ["'radius'", "lap, size, laps, ramp"]),
        (["--trajectory", "eight:lap=-1"], ["lap=-1"]),
        (["--trajectory", "eight:lap=nan"], ["lap=nan"]),
        (["--trajectory", "hover:duration=inf"], ["duration=inf"]),
        (["--trajectory", "hover:duration=4000"], ["'hover:duration=4000' takes 4000 s", "at most 3600 s"]),
        (["--trajectory", "eight:laps=900000"], ["'eight:laps=900000' takes 4950008 s"]),
        (["--trajectory", "eight:lap=0.01"], ["'eight:lap=0.01' reaches", "crazyflie flies at most 3 m/s"]),
        (["--trajectory", "eight:size=1000x1000"], ["'eight:size=1000x1000' reaches", "max_speed"]),
        (["--trajectory", "eight:lap=1e-200"], ["lap=1e-200", "from 1e-6 to 1e6"]),
        (["--trajectory", "missing.csv"], ["missing.csv does not exist"]),
        (["--wind", "strong"], ["wind 'strong'", "dryden:light"]),
        (["--wind", "1,2"], ["wind '1,2'"]),
        (["--wind", "-1,0,0"], ["--wind: expected one argument", "--wind=-1,0,0"]),
        (["--wind", "nan,0,0"], ["steady wind"]),
        (["--wind", "1e6,0,0"], ["steady wind is at most 100 m/s, got 1e+06 m/s"]),
        (["--wind", "1,0,0+dryden:1e6"], ["wind at 20 ft must be from 0 to 100 m/s, got 1e+06"]),
        (["--also", "lqr"], ["--also needs ROS"]),
        (["--trajectory", "eight:laps=1,laps=2"], ["'eight'", "'laps' is given twice"]),
        (["--sensors", "gps"], ["'gps'", "none, mocap, vio"]),
        (["--takeoff-height", "0"], ["--takeoff-height must be between 0.1 and 100 m"]),
        (["--takeoff-height", "nan"], ["--takeoff-height", "nan"]),
        (["--takeoff-height", "inf"], ["--takeoff-height", "inf"]),
        (["--realtime", "0"], ["--realtime must be between 0.01 and 100"]),
        (["--realtime", "nan"], ["--realtime", "nan"]),
        (["--seed", "-1"], ["--seed must be from 0"]),
        (["--seed", "1.5"], ["--seed", "invalid int value"]),
        (["--namespace", "a b"], ["--namespace must be names", "'a b'"]),
        (["--namespace", "/a//b"], ["--namespace"]),
        (["--wnid", "1,0,0"], ["unrecognized arguments: --wnid", "--help"]),
        (["extra"], ["unrecognized arguments: extra"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0].startswith("-") else "",
)
def test_arguments(fly: Callable, options: list[str], fragments: list[str]) -> None:
    assert_refused(fly(*options), *fragments)


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        (CSV.replace("2,0.1", "2,nan"), ["line 4", "x is nan"]),
        (CSV.replace("2,0.1", "2,inf"), ["line 4", "not a finite number"]),
        (CSV.replace("2,0.1", "2,1e9"), ["line 4", "x is 1e9, further than 1e+06 from 0"]),
        (CSV.replace("2,0.1", "2,30"), ["m/s", "crazyflie flies at most 3 m/s"]),
        (CSV.replace("2,0.1", "1.00001,3"), ["m/s", "crazyflie flies at most 3 m/s"]),
        (CSV.replace(",0,1", ",9e5,1").replace("0.1,0", "0.1,9e5"), ["with the way to its start", "at most 3600 s"]),
        (CSV.replace("2,0.1", "2,abc"), ["line 4", "'abc'"]),
        (CSV.replace("2,0.1", "0.5,0.1"), ["line 4", "time must increase"]),
        (CSV.replace("2,0.1,0,1", "2,0.1,0"), ["line 4", "3 values in 4 columns"]),
        (CSV.replace("t,x,y,z", "t,x,y,h"), ["line 1", "unknown column 'h'", "t,x,y,z"]),
        (CSV.replace("2,0.1,0,1", "2,0.1,0,-1"), ["below the ground"]),
        ("", ["line 1", "empty"]),
    ],
    ids=["nan", "inf", "huge", "fast", "jump", "far", "word", "time", "short", "column", "underground", "empty"],
)
def test_trajectory_files(fly: Callable, tmp_path: Path, text: str, fragments: list[str]) -> None:
    file = tmp_path / "path.csv"
    file.write_text(text)
    assert_refused(fly("--trajectory", str(file)), "path.csv", *fragments)


def test_the_same_file_without_a_mistake_flies(fly: Callable, tmp_path: Path) -> None:
    (tmp_path / "path.csv").write_text(CSV)
    assert fly("--trajectory", "path.csv").code == 0


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        (lambda text: text.replace("mass:", "mas:", 1), ["mas"]),
        (lambda text: text.replace("value: 0.027", "value: .nan", 1), ["mass"]),
        (lambda text: text.replace("value: 0.027", "value: heavy", 1), ["mass"]),
        (lambda text: text.replace("value: 0.027", "value: [0.027", 1), []),
        (lambda text: text.replace("name: crazyflie", "name: 3", 1), ["'name' must be text, got 3"]),
        (lambda text: "- just\n- a list\n", []),
        (lambda text: "", []),
    ],
    ids=["unknown key", "nan", "word", "broken yaml", "name", "list", "empty"],
)
def test_vehicle_files(fly: Callable, tmp_path: Path, change: Callable, fragments: list[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(change(CRAZYFLIE.read_text()))
    assert_refused(fly("--vehicle", str(file)), "mine.yaml", *fragments)


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("class Other:\n    pass\n", ["no class 'Mine'", "Other"]),
        ("class Mine:\n    pass\n", ["Mine has no levels"]),
        ("class Mine(:\n", ["line 1", "SyntaxError"]),
        ("import nothing_of_that_name\n", ["line 1", "ModuleNotFoundError"]),
        (
            "from controllers.geometric import GeometricController\n"
            "class Mine(GeometricController):\n"
            "    def __init__(self, *arguments):\n"
            "        raise RuntimeError('weights not found')\n",
            ["line 4", "RuntimeError: weights not found"],
        ),
    ],
    ids=["other class", "no interface", "syntax", "import", "constructor"],
)
def test_controller_files(fly: Callable, tmp_path: Path, text: str, fragments: list[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    assert_refused(fly("--controller", f"{file}:Mine"), "mine.py", *fragments)


def test_an_old_run_is_never_mixed_with_a_new_one(run: Callable, tmp_path: Path) -> None:
    options = ("fly", "--no-ros", "--backend", "analytic", "--trajectory", "hover:duration=1")
    used = tmp_path / "used"
    used.mkdir()
    (used / "notes.txt").write_text("keep")
    for out, word in ((used, "not empty"), (used / "notes.txt", "is a file")):
        done = run(*options, "--out", str(out))
        assert done.code == 2 and word in done.err and len(done.err.splitlines()) == 1
    assert [p.name for p in used.iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    assert run(*options, "--out", str(tmp_path / "empty")).code == 0


def test_bad_input_is_found_before_ros_is_needed(run: Callable, without: Callable) -> None:
    without("rclpy")
    assert_refused(run("fly", "--backend", "analytic", "--vehicle", "tank"), "unknown vehicle 'tank'")
    assert_refused(run("fly", "--backend", "analytic"), "'rclpy' is not installed", "-e '.[ros]'", "--no-ros")


def test_without_pybullet_the_analytic_simulator_flies_with_a_word(run: Callable, without: Callable) -> None:
    without("pybullet")
    assert_refused(run("fly", "--no-ros", "--backend", "bullet"), "'pybullet' is not installed", "--backend analytic")
    done = run("fly", "--no-ros", "--trajectory", "hover:duration=1")
    assert done.code == 0 and done.summary["backend"] == "analytic"
    assert done.err.splitlines() == ["PyBullet is not installed: flying the analytic simulator instead"]


@pytest.mark.parametrize("arguments", [[], ["walk"], ["fly", "--seed"]])
def test_a_call_that_cannot_be_parsed_is_one_line_too(run: Callable, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code == 2 and len(done.err.splitlines()) == 1 and "--help" in done.err


@pytest.mark.parametrize("arguments", [["--help"], ["fly", "--help"], ["bench", "--help"], ["doctor", "--help"]])
def test_help_shows_what_there_is(run: Callable, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code == 0 and done.err == "" and "`" not in done.out
    assert ("examples:" in done.out) == (arguments[0] == "fly")


def test_help_names_every_option_of_trajectories_and_wind(run: Callable) -> None:
    words = " ".join(run("fly", "--help").out.split())
    for option in ("duration", "lap", "size", "laps", "ramp", "speed", "acceleration"):
        assert f"{option}=" in words
        kind = {"duration": "hover", "speed": "waypoints", "acceleration": "waypoints"}.get(option, "eight")
        assert_refused(
            run("fly", "--trajectory", f"{kind}:a.csv,{option}=x" if kind == "waypoints" else f"{kind}:{option}=x"),
            f"{option}=x cannot be used",
        )
    assert "dryden:light|moderate|severe|<m/s at 20 ft>" in words and parse_wind("dryden:3.5").wind_20ft == 3.5
    assert f"always {1e3 / 100.0:g} ms" in words
