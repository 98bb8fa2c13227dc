"""Unique ids of events."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from saxs_bluesky.documents import new_uid


def test_ids_are_of_the_usual_kind_and_none_comes_twice() -> None:
    with ThreadPoolExecutor(8) as threads:
        found = [uid for part in threads.map(lambda _: [new_uid() for _ in range(1000)], range(8)) for uid in part]
    assert len(set(found)) == 8000
    assert all(str(UUID(uid)) == uid and UUID(uid).version == 4 for uid in found)


def test_a_process_and_its_parent_make_others() -> None:
    new_uid()  # so that some are at hand
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, " ".join(new_uid() for _ in range(50)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 10_000).decode().split()
    os.close(reader)
    os.close(writer)
    assert len(theirs) == 50
    assert not set(theirs) & {new_uid() for _ in range(300)}
