"""The work on one frame, in whichever process: read it, reduce it, write its files."""

from saxs_bluesky.frame_job._frame_job import FrameJob, FrameResult, renamed, warn
from saxs_bluesky.frame_job._output_names import OutputNames
from saxs_bluesky.frame_job._outputs import (
    Condition,
    CurveFiles,
    FrameName,
    OutputNameRegistry,
    home_folder,
    in_a_name,
    output_folder,
    page_image,
    write_curve,
)
from saxs_bluesky.frame_job._whole_run import reduce_task, reduced_documents

__all__ = [
    "Condition",
    "CurveFiles",
    "FrameJob",
    "FrameName",
    "FrameResult",
    "OutputNameRegistry",
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
