"""One vehicle node per ROS domain and namespace on a host: two would answer the same services and fight over topics.

A file lock, not a look at the graph: discovery takes anything from 0.1 to 3 s, and a lock dies with its process.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

from control_stack.errors import InvalidInput


def claim(namespace: str) -> IO[str]:
    """Claims this domain and namespace for as long as the returned file stays open.

    Raises:
        InvalidInput: Another vehicle node on this host has it.
    """
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    name = f"control_stack-{os.getuid()}-{domain}-{namespace.strip('/').replace('/', '.') or 'root'}.lock"
    file = (Path(tempfile.gettempdir()) / name).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        place = f"namespace '{namespace}' of " if namespace.strip("/") else ""
        raise InvalidInput(
            f"a vehicle node is already running in {place}ROS domain {domain} on this host: "
            "stop it, or set another ROS_DOMAIN_ID or namespace"
        ) from None
    return file
