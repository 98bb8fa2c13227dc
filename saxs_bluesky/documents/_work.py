"""The work on one frame, and on a whole run that is there already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from saxs_bluesky.documents._raw_run import FrameTask, RawRun
from saxs_bluesky.documents._reduced_run import Named, ReducedRun
from saxs_bluesky.documents._references import load
from saxs_bluesky.errors import SaxsError
from saxs_bluesky.reduction import Curve, Reducer

Result = list[Curve] | str
"""The curves of a frame, or why there are none."""


def reduce_task(reducer: Reducer, task: FrameTask, deadline: float) -> Result:
    """Read and reduce one frame; whatever goes wrong becomes the text that the reduced run records.

    Parameters
    ----------
    reducer
        What makes the curves.
    task
        Which frame.
    deadline
        Until when to wait for a file that is not whole, in seconds of ``time.time()``.
    """
    if task.reference is None:
        return task.failure
    try:
        frame = load(task.reference, deadline)
        return reducer.reduce(frame.image, count_cutoff=frame.count_cutoff)
    except SaxsError as error:
        return str(error)
    # A fault of a user's recipe costs its frame and not the run.
    except Exception as error:  # noqa: BLE001
        return f"unexpected {type(error).__name__}: {error}"


def reduced_documents(
    documents: Iterable[tuple[str, Mapping[str, Any]]],
    reducers: Mapping[str, Reducer] | Reducer,
    *,
    metadata: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[Named]:
    """Reduce a whole run, and yield the documents of the reduced runs, one run for each detector.

    Parameters
    ----------
    documents
        Those of one raw run, from its start.
    reducers
        What makes the curves: for the images of any detector, or for each by name.
    metadata
        More for the start documents, by detector.
    """
    by_name = None if isinstance(reducers, Reducer) else frozenset(reducers)
    raw: RawRun | None = None
    reduced: dict[str, ReducedRun] = {}
    stop: Mapping[str, Any] | None = None
    for name, doc in documents:
        if name == "start":
            raw = RawRun(doc, by_name)
        if raw is None:
            continue
        for task in raw.frames(name, doc):
            reducer = reducers if isinstance(reducers, Reducer) else reducers[task.detector]
            if task.detector not in reduced:
                more = (metadata or {}).get(task.detector)
                run = reduced[task.detector] = ReducedRun(raw.start_document, task.detector, reducer, metadata=more)
                yield run.start
            run = reduced[task.detector]
            yield from run.describe(task.stream, task.coordinate_keys)
            result = reduce_task(reducer, task, deadline=0)
            yield run.event(task, None, result) if isinstance(result, str) else run.event(task, result)
        if name == "stop":
            stop = doc
    for run in reduced.values():
        yield run.stop(stop)
