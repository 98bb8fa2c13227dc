"""What curves were made of, as the first line of a ``.chi`` file records it.

The line is the calibration as JSON, with one more key at its end::

    {"Title": ..., "GISAXSmode": false, "Provenance": {"software": ..., "image": "/data/a.tif", "image_stamp": 4711}}

Its names are those of ``provenance`` in the start documents of reduced runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from saxs_bluesky import __version__
from saxs_bluesky.reduction._calibration import PROVENANCE, Calibration

_KEY = f', "{PROVENANCE}": '
# The same bytes stand nowhere else in a line of JSON: quotes inside of texts have a backslash before them.
_KEY_BYTES = _KEY.encode()
# What a calibration says of the work and of the names of things, and not of the curves' numbers.
_OF_NO_EFFECT = {"Title", "Directory", "Threads", "Live-Filelisting", "OverwriteFiles"}
_OF_NO_EFFECT_IN_MASKS = {"Name", "MaskFile"}  # the content of the mask has a hash of its own


@dataclass(frozen=True)
class CurveProvenance:
    """What curves were made of.

    Parameters
    ----------
    calibration_sha256
        SHA-256 of the calibration as one line of JSON.
    mask_sha256
        Those of the masks, as `Reducer` has them.
    image
        Absolute path of the image's file; empty where the frame came without a file.
    image_stamp
        Stamp of the content that was read; None where it is not known.
    frame
        Number of the frame, from 0, in a file or a run that holds many.
    run
        Unique id of the raw run, where the frame came without a file.
    software, version
        What made them.
    """

    calibration_sha256: str
    mask_sha256: tuple[str, ...]
    image: str = ""
    image_stamp: int | None = None
    frame: int | None = None
    run: str = ""
    software: str = "saxs-bluesky"
    version: str = __version__

    def in_line(self, calibration: str) -> str:
        """The first line of a file: the calibration, one line of JSON, with this at its end."""
        fixed = _fixed(self.software, self.version, self.calibration_sha256, self.mask_sha256)
        frame = "" if self.frame is None else f', "frame": {self.frame}'
        run = f', "run": "{self.run}"' if self.run else ""
        stamp = "null" if self.image_stamp is None else self.image_stamp
        image = json.dumps(self.image)  # with escapes in place of all that is no plain ASCII
        return f'{calibration[:-1]}{_KEY}{fixed}, "image": {image}, "image_stamp": {stamp}{frame}{run}}}}}'

    def is_made_with(self, line: bytes, wanted: CurveProvenance, calibration: Calibration) -> bool:
        """True if the curves have the numbers that a calibration and its masks give.

        Parameters
        ----------
        line
            The first line of their file.
        wanted
            What curves would say that are made now.
        calibration
            With which they would be made.
        """
        if self.mask_sha256 != wanted.mask_sha256:
            return False
        if self.calibration_sha256 == wanted.calibration_sha256:
            return True
        return _is_alike(line[: line.rfind(_KEY_BYTES)], calibration)


@lru_cache(maxsize=32)
def _fixed(software: str, version: str, calibration: str, masks: tuple[str, ...]) -> str:
    """The part that all frames have in common, without the brace at its end."""
    return json.dumps(
        {"software": software, "version": version, "calibration_sha256": calibration, "mask_sha256": masks}
    )[:-1]


@lru_cache(maxsize=32)
def _is_alike(beginning: bytes, calibration: Calibration) -> bool:
    try:
        before = json.loads(beginning + b"}")
    except ValueError:
        return False
    return _with_effect(before) == _with_effect(calibration.document)


def _with_effect(document: Mapping[str, Any]) -> dict[str, Any]:
    left = {key: value for key, value in document.items() if key not in _OF_NO_EFFECT}
    masks = left.get("Masks")
    if isinstance(masks, list) and all(isinstance(mask, dict) for mask in masks):
        left["Masks"] = [
            {key: value for key, value in mask.items() if key not in _OF_NO_EFFECT_IN_MASKS} for mask in masks
        ]
    return left


def provenance_in(line: bytes) -> CurveProvenance | None:
    """Read what the first line of a ``.chi`` file tells; None where it tells nothing, or nothing that is understood."""
    start = line.rfind(_KEY_BYTES)
    if start < 0:
        return None
    try:
        # Behind it is the brace that closes the calibration.
        found = json.loads(line[start + len(_KEY_BYTES) :].strip()[:-1])
    except ValueError:
        return None
    match found:
        case {
            "calibration_sha256": str(calibration),
            "mask_sha256": [*masks],
            "image": str(image),
            "image_stamp": int() | None as stamp,
        }:
            frame, run = found.get("frame"), found.get("run")
            return CurveProvenance(
                calibration,
                tuple(map(str, masks)),
                image,
                stamp,
                frame if isinstance(frame, int) else None,
                run if isinstance(run, str) else "",
                str(found.get("software", "")),
                str(found.get("version", "")),
            )
    return None
