"""Controllers by name and from files, and what is said when that fails."""

from __future__ import annotations

import textwrap

import pytest

from control_stack.errors import IncompatibleLevels, InvalidInput, UnknownName
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import CommandLevel
from controllers.geometric import GeometricController
from controllers.loader import build_controller, controller_names, load_controller

GOOD = """
    from helper_beside import LEVEL
    from control_stack.types import AttitudeThrustCommand, CommandLevel
    from controllers.base import BaseController

    class Mine(BaseController):
        levels = (LEVEL,)
        warm_up = 3

        def __call__(self, t, state, reference):
            return AttitudeThrustCommand(state.quat_xyzw, 1.0)
"""


@pytest.fixture
def write(tmp_path):
    (tmp_path / "helper_beside.py").write_text(
        "from control_stack.types import CommandLevel\nLEVEL = CommandLevel.ATTITUDE\n"
    )

    def _write(text: str):
        path = tmp_path / "mine.py"
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return path

    return _write


def one_line(error) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_built_in_names():
    assert load_controller("geometric") is GeometricController
    assert controller_names() == ["foundation", "geometric", "gp_cem", "lqr", "nmpc"]
    for name in ("geometric", "gp_cem", "lqr", "nmpc"):  # foundation takes no rate but its own: tests/foundation
        controller = build_controller(name, load_vehicle("crazyflie"), list(CommandLevel), 50.0)
        assert controller.spec.name == name and controller.spec.rate_hz == 50.0


def test_a_file_of_ones_own_is_built_at_its_level(write):
    controller = build_controller(f"{write(GOOD)}:Mine", load_vehicle("crazyflie"), list(CommandLevel))
    assert (controller.level, controller.spec.name, controller.spec.warm_up) == (
        CommandLevel.ATTITUDE,
        "Mine",
        3,
    )
    assert controller.last_result.status == "ok"
    controller.reset()


def test_the_first_level_that_the_vehicle_accepts_is_chosen():
    parameters = load_vehicle("crazyflie")
    for accepted, expected in (
        ((CommandLevel.ATTITUDE, CommandLevel.ROTORS), CommandLevel.ROTORS),
        ((CommandLevel.ATTITUDE, CommandLevel.CTBR), CommandLevel.CTBR),
        ((CommandLevel.POSITION, CommandLevel.ATTITUDE), CommandLevel.ATTITUDE),
    ):
        assert build_controller("geometric", parameters, accepted).level is expected
    with pytest.raises(IncompatibleLevels, match="no common command level"):
        build_controller("lqr", parameters, (CommandLevel.CTBR, CommandLevel.ATTITUDE))


@pytest.mark.parametrize("text", ["geometrik", "", "package.module:Class"])
def test_an_unknown_name_lists_the_known(text):
    with pytest.raises(UnknownName) as error:
        load_controller(text)
    assert "geometric, gp_cem, lqr, nmpc, path/to/file.py:ClassName" in one_line(error)


def test_a_missing_file_or_class_is_named(write, tmp_path):
    with pytest.raises(InvalidInput, match="does not exist"):
        load_controller(f"{tmp_path}/none.py:Mine")
    path = write(GOOD)
    for text in (f"{path}:Other", f"{path}", f"{path}:"):
        with pytest.raises(InvalidInput) as error:
            load_controller(text)
        assert one_line(error).endswith("it defines: Mine")


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("x = 1\ny = undefined_name\n", 2, "NameError: name 'undefined_name'"),
        ("import no_such_module_anywhere\n", 1, "ModuleNotFoundError"),
        ("def f():\n    return 1 +\n", 2, "SyntaxError"),
        ("def f():\n    raise ValueError('two\\nlines')\n\nf()\n", 2, "ValueError: two"),
        ("import sys\n\nsys.exit(1)\n", 3, "SystemExit: 1"),
    ],
)
def test_an_error_on_import_is_one_line_with_its_place(write, text, line, word):
    path = write(text)
    with pytest.raises(InvalidInput) as error:
        load_controller(f"{path}:Mine")
    message = one_line(error)
    assert message.startswith(f"{path}, line {line}: ") and word in message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("class Mine:\n    pass\n", "has no levels, spec, reset, __call__"),
        (GOOD.replace("def __call__", "def call"), "has no __call__"),
        (GOOD.replace("(LEVEL,)", "('attitude',)"), "must be a tuple of CommandLevel"),
        (GOOD.replace("(LEVEL,)", "()"), "must be a tuple of CommandLevel"),
    ],
)
def test_a_class_without_the_interface_is_refused(write, text, word):
    with pytest.raises(InvalidInput) as error:
        load_controller(f"{write(text)}:Mine")
    assert word in one_line(error)


def test_an_error_in_the_constructor_is_one_line_with_its_place(write):
    text = GOOD + "\n        def __init__(self, parameters, level, rate_hz):\n            self.k = parameters.mine\n"
    path = write(text)
    with pytest.raises(InvalidInput) as error:
        build_controller(f"{path}:Mine", load_vehicle("crazyflie"), list(CommandLevel))
    assert one_line(error).startswith(f"{path}, line 13: AttributeError")


def test_an_exit_in_the_constructor_is_no_exit(write):
    text = GOOD + "\n        def __init__(self, parameters, level, rate_hz):\n            raise SystemExit('enough')\n"
    path = write(text)
    with pytest.raises(InvalidInput) as error:
        build_controller(f"{path}:Mine", load_vehicle("crazyflie"), list(CommandLevel))
    assert one_line(error).startswith(f"{path}, line 13: SystemExit: enough")


def test_a_constructor_that_forgets_its_base_is_told_so(write):
    text = GOOD + "\n        def __init__(self, parameters, level, rate_hz):\n            pass\n"
    with pytest.raises(InvalidInput) as error:
        build_controller(f"{write(text)}:Mine", load_vehicle("crazyflie"), list(CommandLevel))
    assert "has no 'level'" in one_line(error)
