"""Figures as files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from saxs_bluesky.errors import OutputError, system_errors_as
from saxs_bluesky.support.replacing import replacing

_FORMATS = ("eps", "jpeg", "jpg", "pdf", "png", "svg", "tif", "tiff")
# Without the time in them, the same curves make the same file.
_METADATA: dict[str, dict[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
_DOTS_PER_INCH = 150
_saving = threading.Lock()


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure in the format that the suffix of the path says, and return the path.

    The file appears under its name only when it is whole.

    Parameters
    ----------
    figure
        What to write.
    path
        File to write; an existing one is replaced.

    Returns
    -------
    The path.

    Raises
    ------
    OutputError
        The suffix stands for no format, or the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _FORMATS:
        wanted = ", ".join(f".{known}" for known in _FORMATS)
        raise OutputError(f"{path}: wanted a picture's suffix ({wanted}), found {path.suffix or 'none'}")
    content = figure_bytes(figure, kind)
    with (
        system_errors_as(OutputError, lambda reason: f"{path}: the picture cannot be written ({reason})"),
        replacing(path) as temporary,
    ):
        temporary.write_bytes(content)
    return path


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """A figure as a file of that suffix holds it.

    Parameters
    ----------
    figure
        What to write.
    kind
        Suffix of a format that Matplotlib writes: ``png``, ``pdf``, ``svg``.

    Returns
    -------
    Content of the file.
    """
    kind = kind.removeprefix(".")
    content = BytesIO()
    with _reproducible():
        figure.savefig(content, format=kind, dpi=_DOTS_PER_INCH, metadata=_METADATA.get(kind))
    return content.getvalue()


@contextmanager
def _reproducible() -> Iterator[None]:
    """Make the same SVG of the same figure; without this, its ids are random."""
    # A setting of the whole process: one figure at a time, and the user's own comes back.
    with _saving:
        before = mpl.rcParams["svg.hashsalt"]
        mpl.rcParams["svg.hashsalt"] = "saxs-bluesky"
        try:
            yield
        finally:
            mpl.rcParams["svg.hashsalt"] = before
