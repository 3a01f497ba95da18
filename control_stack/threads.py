"""How many threads linear algebra takes in a process that controls: one, unless the user says otherwise.

The products of a controller are small. Spread over threads they take several times as long, and all cores besides: that
of an arm's NMPC took 25 ms of processor time a call instead of 9 on two cores.
"""

from __future__ import annotations

import os

_SAID = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")


def blas_threads() -> dict[str, str]:
    """What the environment of such a process lacks; numpy reads it when it is first imported."""
    return {} if any(name in os.environ for name in _SAID) else {_SAID[0]: "1"}
