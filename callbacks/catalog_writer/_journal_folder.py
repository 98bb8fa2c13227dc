"""A journal's folder as its user sees it: runs that wait, and what is set aside, to be listed, retried and exported."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from saxs_bluesky.callbacks.catalog_writer._catalog_writer import CatalogWriter
from saxs_bluesky.callbacks.catalog_writer._document_lines import CUT_OFF, Glance, decode, encode, numbers_of
from saxs_bluesky.callbacks.catalog_writer._journal import Journal
from saxs_bluesky.callbacks.catalog_writer._refused_documents import RefusedDocuments
from saxs_bluesky.callbacks.catalog_writer._run_journal import RunJournal
from saxs_bluesky.documents import Document, NamedDocument, as_json
from saxs_bluesky.errors import OutputError, system_reason

_DOCUMENTS, _VALUES = "-documents.jsonl", "-values.jsonl"
_NO_RUN = f"no-run{_DOCUMENTS}"


@dataclass
class Kept:
    """A file in the folder of a journal.

    Attributes
    ----------
    path
        The file.
    waits
        Whether it waits for the catalog; else it is set aside.
    uid, scan_id, time
        Of the run, as far as is known.
    documents
        How many of each kind there are; ``value`` counts values that were left out of events.
    stopped
        Whether the run's stop document is there.
    damaged
        Lines that cannot be read.
    reasons
        Why it is set aside.
    """

    path: Path
    waits: bool
    uid: str = ""
    scan_id: str = ""
    time: float | None = None
    documents: Counter[str] = field(default_factory=Counter)
    stopped: bool = False
    damaged: int = 0
    reasons: list[str] = field(default_factory=list)

    @property
    def is_run(self) -> bool:
        """True if it holds a run from its start."""
        return bool(self.documents["start"])


def kept_in(folder: Path) -> list[Kept]:
    """List what a journal's folder holds: runs that wait, and then what is set aside, oldest first.

    Raises
    ------
    OutputError
        It is not a folder, or cannot be read.
    """
    if not folder.is_dir():
        raise OutputError(f"{folder}: this is not a journal folder")
    aside = RefusedDocuments(folder)
    reasons = aside.reasons()
    found = [_looked_at(path, waits=True) for path in sorted(folder.glob("*.jsonl"))]
    for path in sorted(aside.folder.iterdir()) if aside.folder.is_dir() else ():
        if path.is_file():
            kept = _looked_at(path, waits=False)
            kept.reasons = list(dict.fromkeys(reason.reason for reason in reasons.get(path.name, ())))
            if not kept.uid and path.name in reasons:
                kept.uid = reasons[path.name][0].run
            found.append(kept)
    return found


def documents_in(kept: Kept) -> Iterator[NamedDocument]:
    """Read the documents of a file, as far as they are whole."""
    for line in _lines(kept.path):
        try:
            name, doc = decode(line)
        except Exception:  # noqa: BLE001, S112 - damaged lines are counted in the listing
            continue
        if name != CUT_OFF and isinstance(doc, dict):
            yield name, doc


def exported(name: str, doc: Document) -> str:
    """A document as a line of plain JSON, with arrays as lists; NaN and infinity are as Python writes them."""
    return json.dumps({"name": name, "doc": doc}, default=as_json)


def retry(folder: Path, catalog: Any, timeout: float) -> CatalogWriter:
    """Put what waits and what is set aside into a catalog again; what it does not take is set aside again.

    Of a run that the catalog has in part, what is missing is written.

    Parameters
    ----------
    folder
        The journal's, which no other program may use meanwhile.
    catalog
        An open catalog.
    timeout
        How long to wait for the catalog, in seconds.

    Returns
    -------
    The writer that did it, closed.

    Raises
    ------
    OutputError
        The folder cannot be written, or another program uses it.
    """
    kept_in(folder)
    own = Journal(folder)
    try:
        for kept in kept_in(folder):
            if not kept.waits and kept.is_run:
                _wait_again(folder, kept)
            elif not kept.waits and kept.path.name.endswith(_DOCUMENTS) and kept.path.name != _NO_RUN:
                _wait_with_its_run(folder, kept, catalog)
    finally:
        own.close()
    writer = CatalogWriter(catalog, journal=folder)
    writer.end_left_over()
    writer.close(timeout)
    return writer


def _wait_again(folder: Path, kept: Kept) -> None:
    """Let a run wait; what the catalog has of it is taken for its own."""
    path = folder / f"{kept.path.name.split('.jsonl', maxsplit=1)[0]}.jsonl"
    RunJournal(path, kept.uid).mark_begun()
    kept.path.rename(path)


def _wait_with_its_run(folder: Path, kept: Kept, catalog: Any) -> None:
    """Let single documents wait, behind those of their run that the catalog has."""
    uid = kept.uid or kept.path.name.removesuffix(_DOCUMENTS)
    opening = _opening(catalog, uid)
    if not opening or any(each.uid == uid for each in kept_in(folder) if each.waits):
        return
    last = [document for document in opening if document[0] == "stop"]
    first = [document for document in opening if document[0] != "stop"]
    lines = [encode(*document) for document in (*first, *documents_in(kept), *last)]
    run = RunJournal(folder / f"{time.time_ns():020d}-{Path(uid).name}.jsonl", uid)
    run.mark_begun()
    run.append(lines, complete=bool(last), opening=lines[: len(first)])
    kept.path.unlink()


def _opening(catalog: Any, run_uid: str) -> list[NamedDocument]:
    """Start, descriptors and stop of a run as the catalog tells them; empty where it does not have it."""
    from saxs_bluesky.catalog.tables import child_of, find_child

    there = find_child(catalog, run_uid)
    if there is None:
        return []
    run = there.base
    found = [("start", dict(run.metadata["start"]))]
    for name in run:
        told = dict(child_of(run, name).metadata)
        common = {
            "name": name,
            "run_start": run_uid,
            "data_keys": told.get("data_keys", {}),
            "time": told.get("time", 0.0),
        }
        uids = [one.get("uid", str(uuid4())) for one in (told, *told.get("_config_updates", ()))]
        found += [("descriptor", common | {"uid": uid, "configuration": {}}) for uid in uids]
    stop = run.metadata.get("stop")
    return found if stop is None else [*found, ("stop", dict(stop))]


def _looked_at(path: Path, *, waits: bool) -> Kept:
    kept = Kept(path, waits)
    if path.name.endswith(_VALUES):
        kept.documents["value"] = sum(1 for _ in _lines(path))
        kept.uid = path.name.removesuffix(_VALUES)
        return kept
    for line in _lines(path):
        try:
            glance = Glance(line)
            kept.documents[glance.name] += 1
            if glance.name == "start":
                kept.uid, kept.scan_id = str(glance.doc["uid"]), str(glance.doc.get("scan_id", ""))
                kept.time = float(glance.doc.get("time", 0.0))
            elif glance.name == CUT_OFF:
                kept.documents[glance.name] += len(numbers_of(glance.doc["numbers"])) - 1
        except Exception:  # noqa: BLE001 - whatever stands in a damaged line
            kept.damaged += 1
    kept.stopped = bool(kept.documents["stop"])
    return kept


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as error:
        raise OutputError(f"{path}: the file of the journal cannot be read ({system_reason(error)})") from error
