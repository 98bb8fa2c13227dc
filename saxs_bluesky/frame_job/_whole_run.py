"""The work on one frame, and on a whole run that is there already."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from saxs_bluesky.documents import (
    FrameTask,
    Handler,
    NamedDocument,
    RawRun,
    Result,
    RunReduction,
    known,
    load,
    read_values,
)
from saxs_bluesky.errors import reason_of
from saxs_bluesky.reduction import Reducer, differences

_log = logging.getLogger(__name__)


def reduce_task(
    reducer: Reducer, task: FrameTask, deadline: float, remark: Callable[[str], None] | None = None
) -> Result:
    """Read and reduce one frame; whatever goes wrong becomes the text that the reduced run records.

    Parameters
    ----------
    reducer
        What makes the curves.
    task
        Which frame.
    deadline
        Until when to wait for a file that is not whole, in seconds of ``time.time()``.
    remark
        Told how the header of the image contradicts the calibration, where it does.
    """
    if task.reference is None or task.failure:
        return task.failure
    try:
        frame = load(task.reference, deadline)
        if (
            remark is not None
            and frame.header is not None
            and (found := differences(reducer.calibration, frame.header))
        ):
            remark(f"{reducer.calibration.where} contradicts the header of {task.reference.path}: {'; '.join(found)}")
        return reducer.reduce(frame.image, count_cutoff=frame.count_cutoff)
    # Beside errors of files: a fault of a user's recipe costs its frame and not the run.
    except Exception as error:  # noqa: BLE001
        return reason_of(error)


def reduced_documents(
    documents: Iterable[tuple[str, Mapping[str, Any]]],
    reducers: Mapping[str, Reducer] | Reducer,
    *,
    handlers: Mapping[str, Handler] = MappingProxyType({}),
) -> Iterator[NamedDocument]:
    """Reduce a whole run, and yield the documents of the reduced runs, one run for each detector.

    Parameters
    ----------
    documents
        Those of one raw run, from its start.
    reducers
        What makes the curves: for the images of any detector, or for each by name.
    handlers
        What reads files by the ``spec`` of their resource, beside those of installed packages.
    """
    remaining = iter(documents)
    first = next(remaining, None)
    if first is None:
        return
    start = first[1]
    raw = RawRun(start, None if isinstance(reducers, Reducer) else frozenset(reducers), handlers=handlers)
    reduced = RunReduction(start)
    stop: Mapping[str, Any] | None = None
    compared: set[str] = set()
    told: set[str] = set()

    def frames() -> Iterator[FrameTask]:
        nonlocal stop
        for name, doc in remaining:
            yield from raw.frames(name, doc)
            if name == "stop":
                stop = doc
        yield from raw.rest()

    for one in frames():
        task = _with_values(one, told)
        reducer = reducers if isinstance(reducers, Reducer) else reducers[task.detector]
        remark = None if task.detector in compared else partial(_log.warning, "%s")
        compared.add(task.detector)
        yield from reduced.frame(task, reduce_task(reducer, task, 0, remark), reducer)
    yield from reduced.stop(stop)


def _with_values(task: FrameTask, told: set[str]) -> FrameTask:
    """The task with the values of the axes that are streamed into files."""
    if not task.streamed:
        return task
    values = read_values(task, 0)
    for key, value in values.items():
        if isinstance(value, str) and key not in told:
            told.add(key)
            _log.warning("frames are reduced without %s: %s", key, value)
    return replace(task, coordinates={**task.coordinates, **known(values)}, streamed={})
