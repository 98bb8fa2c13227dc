"""The work on one frame, in whichever process: read it, reduce it, write its files."""

from saxs_bluesky.frame_job._frame_job import FrameOutcome, FrameWork, renamed, warn
from saxs_bluesky.frame_job._output_names import OutputNames
from saxs_bluesky.frame_job._outputs import (
    Claims,
    Condition,
    CurveFiles,
    FrameName,
    home_folder,
    in_a_name,
    output_folder,
    page_image,
    write_curve,
)
from saxs_bluesky.frame_job._whole_run import reduce_task, reduced_documents

__all__ = [
    "Claims",
    "Condition",
    "CurveFiles",
    "FrameName",
    "FrameOutcome",
    "FrameWork",
    "OutputNames",
    "home_folder",
    "in_a_name",
    "output_folder",
    "page_image",
    "reduce_task",
    "reduced_documents",
    "renamed",
    "warn",
    "write_curve",
]
