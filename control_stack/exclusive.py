"""What only one process on a host may have at a time.

A file lock: it dies with its process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from pathlib import Path
from typing import IO


def lock(name: str) -> IO[str] | None:
    """Takes a name for as long as the returned file stays open; None if somebody has it."""
    plain = re.sub(r"[^\w.-]", "_", name)
    file = (Path(tempfile.gettempdir()) / f"control_stack-{os.getuid()}-{plain}.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
