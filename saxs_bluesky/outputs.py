"""The former place of names that are now in `saxs_bluesky.frame_job`."""

from saxs_bluesky.support.former_names import former_names

_NAMES = ("CurveFiles", "Condition", "FrameName")
__getattr__ = former_names(__name__, {name: f"saxs_bluesky.frame_job.{name}" for name in _NAMES})
