"""The former place of names that are now in `saxs_bluesky.file_pipeline`."""

from saxs_bluesky.support.former_names import former_names

_NAMES = ("FilePipeline", "Statistics")
__getattr__ = former_names(__name__, {name: f"saxs_bluesky.file_pipeline.{name}" for name in _NAMES})
