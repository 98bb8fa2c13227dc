"""The writer to a session's catalog."""

from __future__ import annotations

import logging

from saxs_bluesky.callbacks import CatalogWriter
from saxs_bluesky.errors import OutputError
from saxs_bluesky.session._settings import BeamlineSettings

_log = logging.getLogger(__name__)


def open_writer(settings: BeamlineSettings) -> CatalogWriter:
    """Open the writer to a session's catalog, with its journal.

    Where another session has the journal already, this one has a temporary one, and says so.

    Parameters
    ----------
    settings
        Where the catalog and the journal are.

    Returns
    -------
    The writer, to be closed at the end of the session.
    """
    try:
        writer = CatalogWriter(settings.catalog, journal=settings.journal)
    except OutputError as error:
        _log.warning("%s; this session's journal is a temporary one", error)
        return CatalogWriter(settings.catalog)
    writer.end_left_over("the session ended before the run")
    return writer
