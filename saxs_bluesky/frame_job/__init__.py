"""The work on one frame, in whichever process: read it, reduce it, write its files."""

from saxs_bluesky.documents import FrameResult
from saxs_bluesky.frame_job._curve_condition import Condition
from saxs_bluesky.frame_job._curve_files import CurveFiles
from saxs_bluesky.frame_job._frame_job import FrameJob, renamed
from saxs_bluesky.frame_job._frame_names import FrameName, home_folder, in_a_name, page_image
from saxs_bluesky.frame_job._output_name_registry import OutputNameRegistry
from saxs_bluesky.frame_job._output_names import OutputNames
from saxs_bluesky.frame_job._remarks import FrameRemarks, warn
from saxs_bluesky.frame_job._whole_run import reduced_documents

__all__ = [
    "Condition",
    "CurveFiles",
    "FrameJob",
    "FrameName",
    "FrameRemarks",
    "FrameResult",
    "OutputNameRegistry",
    "OutputNames",
    "home_folder",
    "in_a_name",
    "page_image",
    "reduced_documents",
    "renamed",
    "warn",
]
