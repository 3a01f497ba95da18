"""Data sets: what is written is read, parts share no episode, and data that would spoil a training is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from control_stack.errors import InvalidInput
from control_stack.learning.data import Dataset, check, dataset, load
from control_stack.protocols import DynamicsSpec

SPEC = DynamicsSpec(("p [m]", "v [m/s]"), ("a [m/s^2]",), (), np.zeros(0), 0.1)


def episodes(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal((n + 1, 2)), rng.standard_normal((n, 1))) for n in lengths]


@pytest.fixture
def data() -> Dataset:
    return dataset(episodes([5, 3, 8, 8, 1, 6, 7, 2, 8, 4]), SPEC)


def test_what_is_written_is_read(data: Dataset, tmp_path: Path):
    path = data.save(tmp_path / "data.safetensors", {"task": "toy", "seed": 3})
    for again in (load(path), load(tmp_path)):
        for name in ("states", "inputs", "lengths"):
            np.testing.assert_array_equal(getattr(again, name), getattr(data, name))
            assert getattr(again, name).dtype == getattr(data, name).dtype
        assert again.spec.state == SPEC.state and again.spec.inputs == SPEC.inputs and again.spec.dt == SPEC.dt
        assert again.card == {"task": "toy", "seed": 3}
        # Saved again it is the same file.
        again.save(tmp_path / "again.safetensors")
        assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_shorter_episodes_are_padded_and_their_padding_is_never_used(data: Dataset):
    assert data.steps == 52 and data.states.shape == (10, 9, 2)
    np.testing.assert_array_equal(data.states[1, 4:], np.tile(data.states[1, 3], (5, 1)))
    for horizon in (1, 3, 8):
        states, inputs = data.windows(horizon)
        assert len(states) == sum(max(n - horizon + 1, 0) for n in data.lengths)
        expected = [
            (data.states[e, t : t + horizon + 1], data.inputs[e, t : t + horizon])
            for e, n in enumerate(data.lengths)
            for t in range(n - horizon + 1)
        ]
        np.testing.assert_array_equal(states, np.array([x for x, _ in expected]))
        np.testing.assert_array_equal(inputs, np.array([u for _, u in expected]))


@pytest.mark.parametrize("horizon", [0, 9])
def test_horizons_that_no_episode_has_are_refused(data: Dataset, horizon: int):
    with pytest.raises(InvalidInput, match="up to 8"):
        data.windows(horizon)


def test_parts_hold_every_episode_once(data: Dataset):
    parts = data.split([0.6, 0.2, 0.2], seed=1)
    assert [part.episodes for part in parts] == [6, 2, 2]
    first = np.concatenate([part.states[:, 0, 0] for part in parts])
    np.testing.assert_array_equal(np.sort(first), np.sort(data.states[:, 0, 0]))
    again, other = data.split([0.6, 0.2, 0.2], seed=1), data.split([0.6, 0.2, 0.2], seed=2)
    np.testing.assert_array_equal(parts[0].states, again[0].states)
    assert not np.array_equal(parts[0].states, other[0].states)


@pytest.mark.parametrize("fractions", [[], [0.5, 0.6], [1.2, -0.2], [0.99, 0.01]])
def test_impossible_splits_are_refused(data: Dataset, fractions: list[float]):
    with pytest.raises(InvalidInput, match="split"):
        data.split(fractions, seed=0)


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_values_that_are_not_finite_are_named(data: Dataset, bad: float):
    data.states[6, 2, 1] = bad
    with pytest.raises(InvalidInput, match=r"here: v \[m/s\] is .* in episode 6, step 2"):
        check(data, "here")
    with pytest.raises(InvalidInput, match="v"):
        data.save("never.safetensors")
    assert not Path("never.safetensors").exists()


def test_columns_that_never_change_are_named(data: Dataset):
    data.inputs[data.inputs != 0.0] = 2.0  # the zeros of the padding do not hide it
    with pytest.raises(InvalidInput, match=r"a \[m/s\^2\] has the same value everywhere"):
        check(data, "here")
    data.states[..., 0] = 1.0
    with pytest.raises(InvalidInput, match=r"p \[m\] has the same"):
        check(data, "here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"states": np.zeros((10, 8, 2))}, "states are"),
        ({"inputs": np.zeros((10, 8, 1), dtype=np.float32)}, "float32"),
        ({"lengths": np.full(10, 9)}, "lengths"),
        ({"lengths": np.zeros(10, dtype=int)}, "lengths"),
        ({"spec": replace(SPEC, dt=0.0)}, "dt"),
        ({"inputs": np.zeros((0, 8, 1))}, "no transitions"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(data: Dataset, change: dict, message: str):
    with pytest.raises(InvalidInput, match=message):
        check(replace(data, **change), "here")


def test_damaged_files_are_refused(data: Dataset, tmp_path: Path):
    path = data.save(tmp_path / "data.safetensors", {})
    whole, card = path.read_bytes(), path.with_suffix(".json")
    about = card.read_text()
    path.write_bytes(whole[:-9])
    with pytest.raises(InvalidInput, match="safetensors"):
        load(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InvalidInput, match="sha256"):
        load(path)
    path.write_bytes(whole)
    for broken, message in (
        (about.replace("episodes, 1", "episodes, 9"), "format"),
        (about.replace('"dt"', '"step"'), "dt"),
        ("[", "JSON"),
    ):
        card.write_text(broken)
        with pytest.raises(InvalidInput, match=message):
            load(path)
    card.unlink()
    with pytest.raises(InvalidInput, match="does not exist"):
        load(path)


@pytest.mark.parametrize("name", ["nothing.safetensors", "nothing.csv", "table.parquet"])
def test_files_that_are_no_data_are_refused(tmp_path: Path, name: str):
    with pytest.raises(InvalidInput, match=name):
        load(tmp_path / name)
    with pytest.raises(InvalidInput, match="collect again"):
        load(tmp_path)


GOOD = """\
# a drive
episode, t [s], p [m], v [m/s], u: a [m/s^2]
first, 10.00, 0.0, 1.0, 0.5

first, 10.10, 0.1, 1.05, 0.25
first, 10.20, 0.2, 1.1,
second, 0.0, 3.0, 0.0, 1.0
second, 0.1001, 3.0, 0.1, 0
"""


def test_a_log_becomes_a_data_set(tmp_path: Path):
    file = tmp_path / "log.csv"
    file.write_text(GOOD, encoding="utf-8")
    found = load(file)
    assert found.spec.state == ("p [m]", "v [m/s]") and found.spec.inputs == ("a [m/s^2]",)
    assert found.spec.dt == 0.1 and found.lengths.tolist() == [2, 1]
    np.testing.assert_array_equal(found.states[0], [[0.0, 1.0], [0.1, 1.05], [0.2, 1.1]])
    np.testing.assert_array_equal(found.inputs[:, :, 0], [[0.5, 0.25], [1.0, 0.0]])
    found.save(tmp_path / "stored.safetensors")  # and as any other
    np.testing.assert_array_equal(load(tmp_path / "stored.safetensors").states, found.states)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("t [s]", "time", r"line 2: column 't \[s\]' is missing"),
        ("episode", "run [1]", "column 'episode' is missing"),
        ("p [m]", "p", "column 'p' has no name or no unit"),
        ("p [m]", "[m]", r"column '\[m\]' has no name"),
        ("p [m]", "v [m/s]", r"column 'v \[m/s\]' is given twice"),
        ("u: a", "a", "no input column"),
        ("p [m], v [m/s]", "u: p [m], u: v [m/s]", "no state column"),
        ("1.05", "nan", r"line 5: v \[m/s\] is nan"),
        ("1.05", "fast", r"line 5: v \[m/s\] is 'fast', not a number"),
        ("1.05, 0.25", "1.05,", r"line 5: u: a \[m/s\^2\] is '', not a number"),
        ("0.1, 1.05", "0.1, 7, 1.05", "line 5: 6 values in 5 columns"),
        ("10.20", "10.25", "line 6: mixed sample times, 0.15 s here and 0.1"),
        ("10.20", "10.10", "line 6: time does not increase"),
        ("second, 0.0, 3.0, 0.0, 1.0\n", "", "line 7: episode second has a single row"),
        ("second, 0.1001, 3.0, 0.1, 0", "first, 10.3, 3.0, 0.1, 0", "line 7: episode second has a single row"),
        ("second", "first", r"line 6: u: a \[m/s\^2\] is '', not a number"),
        ("u: a [m/s^2]", "u: a [m/s^2], w [1]", "5 values in 6 columns"),
    ],
)
def test_logs_that_cannot_be_used_are_refused_with_the_line(tmp_path: Path, old: str, new: str, message: str):
    file = tmp_path / "log.csv"
    assert old in GOOD
    file.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(InvalidInput, match=message) as refused:
        load(file)
    assert "\n" not in str(refused.value) and "log.csv" in str(refused.value)


def test_an_episode_in_two_places_is_refused(tmp_path: Path):
    file = tmp_path / "log.csv"
    file.write_text(GOOD + "first, 0.0, 1.0, 1.0, 1.0\nfirst, 0.1, 1.0, 1.0, 1.0\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="line 9: episode first was ended"):
        load(file)


def test_a_constant_column_of_a_log_is_refused(tmp_path: Path):
    file = tmp_path / "log.csv"
    rows = "\n".join(f"a, {0.1 * k:.1f}, 0, {k}, {k % 3}" for k in range(6))
    file.write_text(f"episode, t [s], p [m], v [m/s], u: a [m/s^2]\n{rows}\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"p \[m\] has the same value everywhere"):
        load(file)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "episode, t [s], p [m], u: a [1]\n"])
def test_empty_logs_are_refused(tmp_path: Path, text: str):
    file = tmp_path / "log.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match="no rows of values"):
        load(file)
