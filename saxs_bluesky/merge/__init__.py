"""Data merge: images and the logs of a beam time in, one table with a row for each image out."""

from saxs_bluesky.merge._clocks import Epoch
from saxs_bluesky.merge._estimate import OffsetEstimate, assess_offset, estimate_offset
from saxs_bluesky.merge._exposure_events import shutter_openings
from saxs_bluesky.merge._folder import FolderFiles, curve_files, find_files
from saxs_bluesky.merge._images import read_images
from saxs_bluesky.merge._join import Merged, TableReport, join, wall_times
from saxs_bluesky.merge._log_files import Logs, LogSource, read_log, read_logs
from saxs_bluesky.merge._merge import Joined, MergeJob, MergeResult, carry_out, output_place
from saxs_bluesky.merge._offsets import first_image_offset, offset_table, synchronised, zero_image_offset
from saxs_bluesky.merge._outputs import Outputs, OutputSettings, write_outputs
from saxs_bluesky.merge._process import MergeProcess
from saxs_bluesky.merge._settings import FileSettings, MergeSettings, TableSettings, remote_parts
from saxs_bluesky.merge._tables import LONG_EXPOSURE, Images, LogTable, Method, Times
from saxs_bluesky.merge._values import ImageValues, Lack, image_values

__all__ = [
    "LONG_EXPOSURE",
    "Epoch",
    "FileSettings",
    "FolderFiles",
    "ImageValues",
    "Images",
    "Joined",
    "Lack",
    "LogSource",
    "LogTable",
    "Logs",
    "MergeJob",
    "MergeProcess",
    "MergeResult",
    "MergeSettings",
    "Merged",
    "Method",
    "OffsetEstimate",
    "OutputSettings",
    "Outputs",
    "TableReport",
    "TableSettings",
    "Times",
    "assess_offset",
    "carry_out",
    "curve_files",
    "estimate_offset",
    "find_files",
    "first_image_offset",
    "image_values",
    "join",
    "offset_table",
    "output_place",
    "read_images",
    "read_log",
    "read_logs",
    "remote_parts",
    "shutter_openings",
    "synchronised",
    "wall_times",
    "write_outputs",
    "zero_image_offset",
]
