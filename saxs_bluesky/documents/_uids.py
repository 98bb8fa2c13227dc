"""Unique ids of events, a few hundred from one call of the system."""

from __future__ import annotations

import os
from uuid import UUID

_AT_A_TIME = 256

_random: list[bytes] = []


def new_uid() -> str:
    """Make a unique id, as ``str(uuid.uuid4())`` does.

    One is made for each event of a raw and of a reduced run. A call of the system for each would let the other threads
    take the interpreter away.
    """
    while True:
        try:
            return str(UUID(bytes=_random.pop(), version=4))
        except IndexError:
            fresh = os.urandom(16 * _AT_A_TIME)
            _random.extend(fresh[start : start + 16] for start in range(0, len(fresh), 16))


# Or a process and its parent would make the same ones.
os.register_at_fork(after_in_child=_random.clear)
