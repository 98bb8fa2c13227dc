"""Documents: from those of a raw run to its frames, and from curves to those of a reduced run.

No threads, no catalog, no RunEngine: functions and small classes that callbacks, the catalog and
programs build on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from saxs_bluesky.documents._assets import ASSETS, Assets
from saxs_bluesky.documents._clean_names import clean_names
from saxs_bluesky.documents._codec import as_exact_json, as_json, from_exact_json
from saxs_bluesky.documents._data_keys import FILE_SOURCE, ImageKey, image_keys, inline_keys
from saxs_bluesky.documents._dimensions import dimensions_of
from saxs_bluesky.documents._frame_result import CurveValues, FrameResult, WrittenFiles
from saxs_bluesky.documents._frame_task import FrameTask
from saxs_bluesky.documents._handlers import Handler, HandlerFrame, check_handlers, travels
from saxs_bluesky.documents._image_times import (
    ExposureKeys,
    Seconds,
    companions,
    exposure_keys,
    frame_ends,
    spread_evenly,
    stamp_key,
)
from saxs_bluesky.documents._key_descriptions import KEY_DESCRIPTIONS
from saxs_bluesky.documents._logger_keys import first_entry, is_monitor, is_text, loggable
from saxs_bluesky.documents._merged_run_composer import (
    Listed,
    MergeCounts,
    MergedColumn,
    MergedLogger,
    MergedRunComposer,
    is_merged,
)
from saxs_bluesky.documents._moved import holds, moved_to
from saxs_bluesky.documents._provenance import difference
from saxs_bluesky.documents._raw_run import FILE_FAILURE, RawRun
from saxs_bluesky.documents._reduced_run_composer import (
    ReducedRunComposer,
    RunReduction,
    axis_key,
)
from saxs_bluesky.documents._reduced_run_reader import ReducedFrame, ReducedRunReader, ReducedStream, is_reduced
from saxs_bluesky.documents._references import (
    FileContent,
    FrameReference,
    Hdf5Frame,
    InlineFrame,
    LoadedFrame,
    SpilledFrame,
    TiffFrame,
    load,
    page_of,
)
from saxs_bluesky.documents._run_lookup import REFERRED_TO, RUN_REFERENCES, RunLookup
from saxs_bluesky.documents._streamed_values import StreamedValue, read_values, values_read
from saxs_bluesky.documents._types import Document, NamedDocument
from saxs_bluesky.documents._uids import new_uid
from saxs_bluesky.support.former_names import former_names

if TYPE_CHECKING:
    from saxs_bluesky.documents._logger_tables import LoggerTable, log_column, logged_columns
    from saxs_bluesky.documents._merged_run import merged_run, merged_run_of_files

__all__ = [
    "ASSETS",
    "FILE_FAILURE",
    "FILE_SOURCE",
    "KEY_DESCRIPTIONS",
    "REFERRED_TO",
    "RUN_REFERENCES",
    "Assets",
    "CurveValues",
    "Document",
    "ExposureKeys",
    "FileContent",
    "FrameReference",
    "FrameResult",
    "FrameTask",
    "Handler",
    "HandlerFrame",
    "Hdf5Frame",
    "ImageKey",
    "InlineFrame",
    "Listed",
    "LoadedFrame",
    "LoggerTable",
    "MergeCounts",
    "MergedColumn",
    "MergedLogger",
    "MergedRunComposer",
    "NamedDocument",
    "RawRun",
    "ReducedFrame",
    "ReducedRunComposer",
    "ReducedRunReader",
    "ReducedStream",
    "RunLookup",
    "RunReduction",
    "Seconds",
    "SpilledFrame",
    "StreamedValue",
    "TiffFrame",
    "WrittenFiles",
    "as_exact_json",
    "as_json",
    "axis_key",
    "check_handlers",
    "clean_names",
    "companions",
    "difference",
    "dimensions_of",
    "exposure_keys",
    "first_entry",
    "frame_ends",
    "from_exact_json",
    "holds",
    "image_keys",
    "inline_keys",
    "is_merged",
    "is_monitor",
    "is_reduced",
    "is_text",
    "load",
    "log_column",
    "loggable",
    "logged_columns",
    "merged_run",
    "merged_run_of_files",
    "moved_to",
    "new_uid",
    "page_of",
    "read_values",
    "spread_evenly",
    "stamp_key",
    "travels",
    "values_read",
]

# Merges bring pandas, a third of what commands take to start: only those that merge load it.
__getattr__ = former_names(
    __name__,
    {},
    loaded_late={
        "LoggerTable": f"{__name__}._logger_tables.LoggerTable",
        "log_column": f"{__name__}._logger_tables.log_column",
        "logged_columns": f"{__name__}._logger_tables.logged_columns",
        "merged_run": f"{__name__}._merged_run.merged_run",
        "merged_run_of_files": f"{__name__}._merged_run.merged_run_of_files",
    },
)
