"""The documents of a merged run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from event_model import compose_run

from saxs_bluesky import __version__
from saxs_bluesky.documents._clean_names import clean_names
from saxs_bluesky.documents._copied_metadata import copied_metadata
from saxs_bluesky.documents._types import Document, NamedDocument
from saxs_bluesky.documents._uids import new_uid

STREAM = "primary"
_STAGE = "merge"
_MOST_LISTED = 100  # images or log entries of one kind, in the stop document


def is_merged(start: Document) -> bool:
    """True if a start document is that of a merged run."""
    return start.get("analysis_stage") == _STAGE


@dataclass(frozen=True)
class MergedColumn:
    """A column of the merged table, as a data key.

    Parameters
    ----------
    key
        The data key; see `clean_names`.
    dtype
        What its values are. Numbers may be missing, as NaN, and texts, as "".
    object_name
        What it is a value of: the detector, or the logger.
    source
        Where the values come from, in words.
    name
        What it was called before it became a data key; empty where nothing was changed.
    units
        Unit, where it is known.
    is_hinted
        Whether bluesky's tables and plots show it.
    """

    key: str
    dtype: Literal["number", "integer", "string", "boolean"]
    object_name: str
    source: str
    name: str = ""
    units: str = ""
    is_hinted: bool = False

    @property
    def missing(self) -> float | str:
        """What stands for a value that is not there."""
        return "" if self.dtype == "string" else math.nan

    def data_key(self) -> dict[str, Any]:
        """What the descriptor says of it."""
        # Whole numbers and truth values have no NaN.
        numbers = {} if self.dtype == "string" else {"dtype_numpy": "<f8"}
        told = {"units": self.units} if self.units else {}
        told |= {"original_name": self.name} if self.name and self.name != self.key else {}
        dtype = "string" if self.dtype == "string" else "number"
        return {"dtype": dtype, "shape": [], "source": self.source, **numbers, **told}


@dataclass(frozen=True)
class MergedLogger:
    """A logger of a merged run, and how its values were joined to images.

    Parameters
    ----------
    name
        Of its table.
    source
        Where its entries come from: ``stream``, ``run``, ``files``.
    method, tolerance, offset, steps
        As in `LogTable`.
    entries
        How many it has; None as long as nobody can know.
    """

    name: str
    source: Mapping[str, Any]
    method: str
    offset: float = 0.0
    tolerance: float | None = None
    steps: bool = False
    entries: int | None = None


@dataclass(frozen=True)
class Listed:
    """How many of a kind there are, and the first ones by name.

    Parameters
    ----------
    count
        How many.
    names
        The first ones; more than a stop document lists are left out there.
    """

    count: int = 0
    names: Sequence[str] = ()

    def document(self) -> dict[str, Any]:
        """As it stands in the stop document."""
        return {"count": self.count, "listed": [str(name) for name in self.names[:_MOST_LISTED]]}


@dataclass(frozen=True)
class MergeCounts:
    """What did not find its counterpart in a merge.

    Parameters
    ----------
    images_without_log
        Images that a logger or the detector's log says nothing of.
    logs_without_image
        Lines of the detector's log without image.
    beyond_tolerance
        Rows whose nearest entry is farther away than the tolerance.
    remarks
        What else was found, each one sentence.
    """

    images_without_log: Listed = field(default_factory=Listed)
    logs_without_image: Listed = field(default_factory=Listed)
    beyond_tolerance: Listed = field(default_factory=Listed)
    remarks: Sequence[str] = ()

    def document(self) -> dict[str, Any]:
        """As it stands in the stop document."""
        return {
            "images_without_log": self.images_without_log.document(),
            "logs_without_image": self.logs_without_image.document(),
            "beyond_tolerance": self.beyond_tolerance.document(),
            "remarks": list(self.remarks[:_MOST_LISTED]),
        }

    @property
    def sentences(self) -> list[str]:
        """What there is to say, in words."""
        found = {
            "images without log": self.images_without_log.count,
            "log entries without image": self.logs_without_image.count,
            "rows beyond the tolerance": self.beyond_tolerance.count,
        }
        return [f"{count} {what}" for what, count in found.items() if count]


class MergedRunComposer:
    """Composes the documents of one merged run: one event an image, in the stream ``primary``.

    The time of an event is the middle of the exposure. A value that is not there is NaN, or "" of a text.

    Parameters
    ----------
    raw_start
        Start document of the raw run; None where the images come from no run.
    columns
        Of the merged table.
    loggers
        What was joined to the images.
    reduced
        ``uid`` of each reduced run whose values are in the table.
    detector
        Whose images they are; empty where that is not known.
    configuration
        What the merge was told, as JSON can hold it.
    metadata
        What else the start document is to say.
    """

    def __init__(
        self,
        raw_start: Document | None,
        columns: Sequence[MergedColumn],
        loggers: Sequence[MergedLogger],
        *,
        reduced: Sequence[str] = (),
        detector: str = "",
        configuration: Document | None = None,
        metadata: Document | None = None,
    ) -> None:
        keys = dict(zip((logger.name for logger in loggers), clean_names(one.name for one in loggers), strict=True))
        start: dict[str, Any] = {"plan_type": _STAGE, "plan_name": _STAGE, "scan_id": 0, "analysis_stage": _STAGE}
        start["hints"] = {"dimensions": [[["time"], STREAM]]}
        if raw_start is not None:
            start = copied_metadata(raw_start, _STAGE)
        start |= dict(metadata or {}) | ({"detector": detector} if detector else {})
        start["sources"] = {
            "raw": None if raw_start is None else raw_start["uid"],
            "reduced": list(reduced),
            "loggers": [_logger(one, keys[one.name]) for one in loggers],
        }
        start["methods"] = {keys[one.name]: one.method for one in loggers}
        start["offsets"] = {keys[one.name]: one.offset for one in loggers}
        start["configuration"] = _without_dots(configuration or {})
        start["provenance"] = {"software": "saxs-bluesky", "version": __version__}
        self._bundle = compose_run(metadata=start)
        self._columns = tuple(columns)
        self._missing = {column.key: column.missing for column in columns}
        self._stream: Any = None

    @property
    def start(self) -> NamedDocument:
        """The start document."""
        return "start", dict(self._bundle.start_doc)

    def describe(self) -> NamedDocument:
        """Compose the descriptor; once, before the first event."""
        objects: dict[str, list[str]] = {}
        for column in self._columns:
            objects.setdefault(column.object_name, []).append(column.key)
        hinted = {column.key for column in self._columns if column.is_hinted}
        self._stream = self._bundle.compose_descriptor(
            name=STREAM,
            data_keys={column.key: column.data_key() for column in self._columns},
            object_keys=objects,
            configuration={},
            # bluesky's callbacks show all of an object that has no hint.
            hints={name: {"fields": [key for key in keys if key in hinted]} for name, keys in objects.items()},
        )
        return "descriptor", dict(self._stream.descriptor_doc)

    def event(self, middle: float, values: Mapping[str, Any]) -> NamedDocument:
        """Compose the event of one image.

        Parameters
        ----------
        middle
            The middle of its exposure, seconds since 1970.
        values
            By data key; those that are not there are missing.
        """
        data = self._missing | {key: value for key, value in values.items() if value is not None}
        # Validation takes longer than all else; that all events are valid is tested.
        return "event", dict(
            self._stream.compose_event(
                data=data, timestamps=dict.fromkeys(data, middle), time=middle, validate=False, uid=new_uid()
            )
        )

    def events(self, middle: np.ndarray, values: Mapping[str, Sequence[Any]]) -> Iterator[NamedDocument]:
        """Compose the events of many images.

        Parameters
        ----------
        middle
            The middles of their exposures, seconds since 1970, shape (images,).
        values
            A sequence of that length by data key, of Python's own numbers and texts.
        """
        keys = list(values)
        for at, *row in zip(middle.tolist(), *values.values(), strict=True):
            yield self.event(at, dict(zip(keys, row, strict=True)))

    def stop(
        self,
        counts: MergeCounts,
        *,
        exit_status: Literal["success", "abort", "fail"] = "success",
        reason: str = "",
    ) -> NamedDocument:
        """Compose the stop document.

        Parameters
        ----------
        counts
            What did not find its counterpart; its key is ``merge``.
        exit_status, reason
            How the merge ended.
        """
        reasons = "; ".join(filter(None, [reason, *counts.sentences]))
        stop = self._bundle.compose_stop(exit_status=exit_status, reason=reasons)
        return "stop", dict(stop) | {"merge": counts.document()}


def _logger(logger: MergedLogger, key: str) -> dict[str, Any]:
    entries = {} if logger.entries is None else {"entries": logger.entries}
    return {
        "name": logger.name,
        "key": key,
        **logger.source,
        "tolerance": logger.tolerance,
        "steps": logger.steps,
        **entries,
    }


def _without_dots(document: Any) -> Any:
    """A document whose keys are allowed in a start document, where dots and slashes are not."""
    if isinstance(document, Mapping):
        return {str(key).replace(".", "_").replace("/", "_"): _without_dots(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [_without_dots(value) for value in document]
    return document
