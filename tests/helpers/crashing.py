"""A file pipeline that ends at a chosen moment as if it had been killed, and is started again.

``python -m tests.helpers.crashing PLAN`` carries out a plan: stories, each a folder, whether there is a catalog, and
the moments at which one program after the other ends. The exit code of each goes to ``codes.json`` in the folder. The
catalog is away all the time, so that what it would get is in the writer's journal.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from saxs_bluesky.callbacks import CatalogWriter, CurveList, Reduction
from saxs_bluesky.callbacks.reduction._delivery import Delivery
from saxs_bluesky.file_pipeline import FilePipeline, ProgressJournal
from saxs_bluesky.frame_job import CurveFiles, OutputNames
from saxs_bluesky.reduction import Calibration, FileList, Reducer
from saxs_bluesky.sources import DirectorySource, Readiness

KILLED = 99
CURVES = 2  # of each image


def kill(*_: Any, **__: Any) -> None:
    os._exit(KILLED)


def after(owner: type, name: str, count: int, when: Callable[..., bool] = lambda *_: True) -> None:
    """End when a method has been called so many times."""
    _end_at(owner, name, count, when, first=False)


def before(owner: type, name: str, count: int, when: Callable[..., bool] = lambda *_: True) -> None:
    """End when a method is about to be called for the so many-th time."""
    _end_at(owner, name, count, when, first=True)


def _end_at(owner: type, name: str, count: int, when: Callable[..., bool], *, first: bool) -> None:
    method, calls = getattr(owner, name), 0

    def counted(self: Any, *arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += when(*arguments)
        if first and calls == count and when(*arguments):
            kill()
        result = method(self, *arguments, **keywords)
        if calls == count and when(*arguments):
            kill()
        return result

    setattr(owner, name, counted)


def is_event(name: str, *_: Any) -> bool:
    return name == "event"


def is_stop(name: str, *_: Any) -> bool:
    return name == "stop"


MOMENTS: dict[str, Callable[[int], None]] = {
    "event noted": lambda count: after(ProgressJournal, "note_document", count, is_event),
    "frame has its curves": lambda count: before(Delivery, "deliver_frame", count),
    "event in the catalog": lambda count: before(CurveList, "__call__", count, is_event),
    "half of the curves listed": lambda count: after(FileList, "append", CURVES * count - 1),
    "curves listed": lambda count: before(ProgressJournal, "note_done", count),
    "frame done": lambda count: after(ProgressJournal, "note_done", count),
    "all done": lambda _: before(ProgressJournal, "note_end", 1),
    "end noted": lambda _: after(ProgressJournal, "note_end", 1),
    "raw run stopped": lambda _: before(Reduction, "__call__", 1, is_stop),
    "all stopped": lambda _: before(ProgressJournal, "clear", 1),
    "catalog looked through": lambda _: before(ProgressJournal, "note_catalogued", 1),
    "catalogued noted": lambda _: after(ProgressJournal, "note_catalogued", 1),
    "recovered": lambda _: before(ProgressJournal, "begin", 1),
    "begun anew": lambda _: after(ProgressJournal, "begin", 1),
}


def away() -> None:
    raise ConnectionError("the catalog is away")


def work(folder: Path, *, catalog: bool) -> None:
    """Reduce what is in the folder, going on where an earlier call was."""
    with closing(ProgressJournal(folder / "state")) as progress:
        writer = CatalogWriter(away, journal=folder / "state" / "catalog") if catalog else None
        reduction = Reduction(Calibration.from_file(folder / "cal.json"), files=CurveFiles(OutputNames()))
        pipeline = FilePipeline(
            DirectorySource(folder / "data", readiness=Readiness(settle=0.001)),
            reduction,
            writer=writer,
            curves=CurveList(folder / "data", keep=progress.interrupted is not None),
            progress=progress,
            identity="the same",
        )
        if writer is not None:
            _let_the_journal_keep_up(writer)
        pipeline.run()
        reduction.close(0)
        if writer is not None:
            writer.close(0)


def _let_the_journal_keep_up(writer: CatalogWriter) -> None:
    """What comes after the catalog finds its journal written, so that each moment is a moment."""
    for owner in (CurveList, Reduction):

        def waiting(self: Any, name: str, doc: Any, method: Callable[..., Any] = owner.__call__) -> None:
            if name in {"event", "stop"}:
                writer.wait_for_journal()
            method(self, name, doc)

        owner.__call__ = waiting  # type: ignore[method-assign]


def _killed_child(folder: Path, moment: str, count: int, *, catalog: bool) -> int:
    child = os.fork()
    if child == 0:
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            if moment:
                MOMENTS[moment](count)
            work(folder, catalog=catalog)
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    plan = json.loads(Path(sys.argv[1]).read_text())
    # Children find compiled code loaded; there are no threads yet.
    _ = Reducer(Calibration.from_file(Path(plan[0][0]) / "cal.json")).template
    for where, with_catalog, moments in plan:
        codes = []
        for turn, each in enumerate(moments):
            codes.append(_killed_child(Path(where), each, 3 if turn == 0 else 1, catalog=with_catalog))
        (Path(where) / "codes.json").write_text(json.dumps(codes))
