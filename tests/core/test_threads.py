"""Processes that control multiply on one thread, unless the user says otherwise."""

import json
import os
import subprocess
import sys

import pytest

from control_stack.threads import blas_threads

NAMES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
COMMAND = """
import json
from control_stack.cli import main
try:
    main(["--version"])
except SystemExit:
    pass
import numpy
from threadpoolctl import threadpool_info
print(json.dumps([pool["num_threads"] for pool in threadpool_info()]))
"""


def threads(**said: str) -> list[int]:
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | said
    done = subprocess.run([sys.executable, "-c", COMMAND], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_the_command_line_multiplies_on_one_thread_unless_told_otherwise():
    pytest.importorskip("threadpoolctl")
    assert set(threads()) == {1}
    if os.cpu_count() > 1:
        assert 2 in threads(OMP_NUM_THREADS="2")


@pytest.mark.parametrize("name", NAMES)
def test_what_the_user_says_is_kept(name, monkeypatch):
    for each in NAMES:
        monkeypatch.delenv(each, raising=False)
    assert blas_threads() == {"OPENBLAS_NUM_THREADS": "1"}
    monkeypatch.setenv(name, "4")
    assert blas_threads() == {}
