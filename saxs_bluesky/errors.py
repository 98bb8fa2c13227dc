"""Errors that a user can act on: each message says what was wanted, what was found, and where."""

from __future__ import annotations


class SaxsError(Exception):
    """Base of all errors of saxs-bluesky; commands print its message as one line."""


class SchemaError(SaxsError):
    """A JSON document does not fit its schema."""


class CalibrationError(SaxsError):
    """A calibration is unreadable or contradicts itself."""


class GeometryError(SaxsError):
    """A detector geometry for which the formulas do not hold."""


class MaskError(SaxsError):
    """A mask is unreadable or does not fit its detector."""


class FrameError(SaxsError):
    """An image is unreadable, incomplete, or does not fit its calibration."""


class CurveFileError(SaxsError):
    """A ``.chi`` file is unreadable."""


class OutputError(SaxsError):
    """A result cannot be written where it belongs."""


class CatalogError(SaxsError):
    """A catalog cannot be opened, or does not hold what was asked of it."""


class PlanError(SaxsError):
    """A plan was asked for what cannot be done."""


class PluginError(SaxsError):
    """A sink or integrator of another package cannot be had."""


class WorkerDiedError(SaxsError):
    """A worker process died of a task each time it was tried."""


def reason_of(error: Exception) -> str:
    """What to record of an error that costs a frame or its files.

    Those that a user can act on tell it; any other is a fault of the program, or of a user's recipe.
    """
    if isinstance(error, SaxsError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}"
