"""The last queue of a server, kept over a restart."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from saxs_bluesky.errors import OutputError, system_errors_as, system_reason
from saxs_bluesky.leash.protocol import Attachment, write_private
from saxs_bluesky.support.journal_lines import set_aside

_log = logging.getLogger(__name__)

_FILE = "queue.json"
_VERSION = 1


class QueueState(StrEnum):
    """Open: takes images; closed: finishes those that were found; aborted: finishes only those in hand."""

    OPEN = "open"
    CLOSED = "closed"
    ABORTED = "aborted"


@dataclass(frozen=True, kw_only=True)
class QueueRecord:
    """What of a queue is kept over a restart.

    Parameters
    ----------
    document
        The calibration, as the client sent it.
    attachments
        The masks, as the client sent them.
    base
        The server's base directory.
    state
        Open, closed or aborted.
    began
        When it was opened, in seconds since 1970.
    processed
        Number of images that were processed.
    """

    document: Mapping[str, Any] = field(repr=False)
    attachments: tuple[Attachment, ...] = field(repr=False)
    base: str
    state: QueueState
    began: float
    processed: int = 0


class StateFolder:
    """The folder of a server's last queue, which only its owner can read.

    Parameters
    ----------
    folder
        It is made if it is missing.

    Raises
    ------
    OutputError
        It cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with system_errors_as(
            OutputError, lambda reason: f"{folder}: the folder for the server's state cannot be made: {reason}"
        ):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def save(self, record: QueueRecord) -> None:
        """Save a record in place of the one before; at any moment one of the two is there, complete.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        with system_errors_as(OutputError, lambda reason: f"{self.folder}: the queue cannot be saved there: {reason}"):
            masks = [(attachment.filename, self._keep(attachment.content())) for attachment in record.attachments]
            document = {
                "version": _VERSION,
                "calibration": record.document,
                "masks": [{"filename": filename, "file": file} for filename, file in masks],
                "base": record.base,
                "state": record.state,
                "began": record.began,
                "processed": record.processed,
            }
            write_private(self.folder / _FILE, json.dumps(document).encode("ascii"))
            for path in self.folder.glob("mask-*"):
                if path.name not in {file for _, file in masks}:
                    path.unlink(missing_ok=True)

    def load(self) -> QueueRecord | None:
        """Read the record; None if there is none or it is damaged, which is logged."""
        path = self.folder / _FILE
        try:
            document = json.loads(path.read_bytes())
            if document["version"] != _VERSION:
                raise ValueError(f"version {document['version']}")
            if not math.isfinite(document["began"]):
                raise ValueError(f"began {document['began']}")
            return QueueRecord(
                document=dict(document["calibration"]),
                attachments=tuple(self._attachment(mask) for mask in document["masks"]),
                base=str(document["base"]),
                state=QueueState(document["state"]),
                began=float(document["began"]),
                processed=int(document["processed"]),
            )
        except FileNotFoundError as error:
            if error.filename != str(path):
                _log.warning("%s: the mask %s is missing; the queue is forgotten", path, error.filename)
        except OSError as error:
            if path.is_dir():
                set_aside(path, "wanted a queue, found a folder; it is forgotten")
            else:  # it may be readable at the next start
                _log.warning("%s: wanted a queue, found %s; it is forgotten", path, system_reason(error))
        # Whatever a damaged file holds must not stop the server.
        except Exception as error:  # noqa: BLE001
            set_aside(path, f"wanted a queue, found {type(error).__name__}: {error}; it is forgotten")
        return None

    def _attachment(self, mask: Mapping[str, str]) -> Attachment:
        name = mask["file"]
        content = (self.folder / name).read_bytes()
        if name != _mask_name(content):
            raise ValueError(f"changed content of {name}")
        return Attachment.from_bytes(mask["filename"], content)

    def _keep(self, content: bytes) -> str:
        name = _mask_name(content)
        if not (self.folder / name).exists():
            write_private(self.folder / name, content)
        return name


def _mask_name(content: bytes) -> str:
    return f"mask-{hashlib.sha256(content).hexdigest()}"
