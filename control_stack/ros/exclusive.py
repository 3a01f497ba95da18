"""One vehicle node per ROS domain and namespace on a host: two would answer the same services and fight over topics.

A file lock, not a look at the graph: discovery takes anything from 0.1 to 3 s, and a lock dies with its process.
"""

from __future__ import annotations

import os
from typing import IO

from control_stack.errors import InvalidInput
from control_stack.exclusive import lock


def claim(namespace: str) -> IO[str]:
    """Claims this domain and namespace for as long as the returned file stays open.

    Raises:
        InvalidInput: Another vehicle node on this host has it.
    """
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    file = lock(f"{domain}-{namespace.strip('/').replace('/', '.') or 'root'}")
    if file is None:
        place = f"namespace '{namespace}' of " if namespace.strip("/") else ""
        raise InvalidInput(
            f"a vehicle node is already running in {place}ROS domain {domain} on this host: "
            "stop it, or set another ROS_DOMAIN_ID or namespace"
        )
    return file
