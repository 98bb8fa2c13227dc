"""The work on all frames of a run that is there already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from saxs_bluesky.documents import Document, FrameTask, Handler, NamedDocument, RawRun, RunReduction
from saxs_bluesky.frame_job._frame_job import FrameJob
from saxs_bluesky.frame_job._remarks import FrameRemarks
from saxs_bluesky.reduction import Reducer


def reduced_documents(
    documents: Iterable[tuple[str, Document]],
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
    by_name = {"": reducers} if isinstance(reducers, Reducer) else dict(reducers)
    jobs = {name: FrameJob(one.calibration, reducer=one, is_called_again=False) for name, one in by_name.items()}
    raw = RawRun(start, None if isinstance(reducers, Reducer) else frozenset(reducers), handlers=handlers)
    reduced = RunReduction(start, lambda detector: reducers if isinstance(reducers, Reducer) else reducers[detector])
    remarks = FrameRemarks()
    stop: Document | None = None

    def frames() -> Iterator[FrameTask]:
        nonlocal stop
        for name, doc in remaining:
            yield from raw.frames(name, doc)
            if name == "stop":
                stop = doc
        yield from raw.rest()

    for task in frames():
        detector = "" if isinstance(reducers, Reducer) else task.detector
        result = jobs[detector](task, None, 0, start["uid"])
        remarks.tell(start["uid"], task, result)
        yield from reduced.frame(task, result)
    yield from reduced.stop(stop)
