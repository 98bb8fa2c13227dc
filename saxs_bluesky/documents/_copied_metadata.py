"""What a run that is made of another one takes over of its start document."""

from __future__ import annotations

from typing import Any

from saxs_bluesky.documents._dimensions import dimensions_of
from saxs_bluesky.documents._types import Document

# What belongs to the plan and to the raw run itself, and not to what the user said of the sample.
_NOT_COPIED = {
    "uid",
    "time",
    "scan_id",
    "plan_type",
    "plan_name",
    "plan_args",
    "plan_pattern",
    "plan_pattern_args",
    "plan_pattern_module",
    "detectors",
    "motors",
    "num_points",
    "num_intervals",
    "versions",
    "hints",
}


def copied_metadata(raw_start: Document, stage: str) -> dict[str, Any]:
    """Metadata of a run that an analysis makes of a raw run: what the user said, and where it comes from.

    Parameters
    ----------
    raw_start
        Start document of the raw run.
    stage
        What the analysis is: ``reduction``, ``merge``.
    """
    metadata = {key: value for key, value in raw_start.items() if key not in _NOT_COPIED}
    # bluesky's LiveTable wants all three. A scan_id of 0 is no scan's: catalog[scan_id] finds the raw run.
    metadata |= {"plan_type": stage, "plan_name": stage, "scan_id": 0}
    metadata["original_run_uid"] = raw_start["uid"]
    if "scan_id" in raw_start:
        metadata["original_scan_id"] = raw_start["scan_id"]
    metadata["hints"] = {"dimensions": dimensions_of(raw_start) or [[["time"], "primary"]]}
    metadata["analysis_stage"] = stage
    return metadata
