"""What a queue was asked to do, as a text that the progress journal compares after a restart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from saxs_bluesky.frame_job import OutputNames
from saxs_bluesky.leash.protocol import Attachment
from saxs_bluesky.reduction import Calibration


class QueueIdentity(NamedTuple):
    """SHA-256 of calibration, masks, folder and output names; ``former`` as the journal's first version had it."""

    current: str
    former: str


def queue_identity(
    calibration: Calibration, masks: Iterable[Attachment], directory: Path, names: OutputNames
) -> QueueIdentity:
    """Make the identity of a queue.

    Parameters
    ----------
    calibration
        What the queue reduces with.
    masks
        The attached masks, as they came.
    directory
        Folder of the images.
    names
        Where curves are written.
    """
    mask_sha256 = [hashlib.sha256(mask.content()).hexdigest() for mask in masks]
    former_names = f"OutputNames(relative={names.relative!r}, folder={names.folder!r}, base={names.base!r})"
    current, former = (
        hashlib.sha256(json.dumps([calibration.json(), mask_sha256, str(directory), text]).encode()).hexdigest()
        for text in (str(names), former_names)
    )
    return QueueIdentity(current, former)
