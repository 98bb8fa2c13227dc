"""Journal of ``saxsdog``: its folder, its lock, and whether it is of the same task."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import platformdirs

from saxs_bluesky.catalog import without_key
from saxs_bluesky.errors import OutputError
from saxs_bluesky.file_pipeline import ProgressJournal
from saxs_bluesky.frame_job import CurveFiles, OutputNames, home_folder
from saxs_bluesky.reduction import Calibration
from saxs_bluesky.support.locks import locked, pids_of

_log = logging.getLogger(__name__)


def task_identity(options: argparse.Namespace, calibration: Calibration, directory: Path, files: CurveFiles) -> str:
    """Digest of what the command is asked to do, as far as results depend on it."""
    return _digest(
        calibration.json(),
        calibration.mask_content_sha256(),
        str(directory),
        str(replace(files, names=OutputNames())),
        _without_spelling(files.names),
        _catalog(options.catalog),
        options.nowalk,
    )


def _identity_of_first_version(
    options: argparse.Namespace, calibration: Calibration, directory: Path, files: CurveFiles
) -> str:
    """`task_identity` in the first version of the journal."""
    names = files.names
    base = None if options.directory.is_absolute() else home_folder()
    named = f"OutputNames(relative={names.relative!r}, folder={names.folder!r}, base={base!r})"
    written = f"CurveFiles(names={named}, overwrite={files.overwrite}, svg={files.svg}, png={files.png})"
    return _digest(calibration.json(), str(directory), written, str(options.catalog), options.nowalk)


def open_progress_journal(
    options: argparse.Namespace, calibration: Calibration, directory: Path, files: CurveFiles, stack: ExitStack
) -> tuple[ProgressJournal | None, Path | None]:
    """Open the journal of what is done, closed with the stack.

    There is one for each place of images and curves, whatever the user calls them. Its lock is that of the place too:
    two commands do not make the same curves at a time.

    Returns
    -------
    The journal and its folder; None if the folder cannot be made.

    Raises
    ------
    OutputError
        Another process uses the journal or the place, or the folder of ``--journal`` cannot be written.
    """
    own = _own_folder(directory, files.names)
    folder = own if options.journal is None else Path(options.journal).absolute()
    if folder is None:
        return None, None
    if own is not None and own.resolve() != folder.resolve():
        stack.enter_context(closing(_lock_of_place(own, directory)))
    progress = stack.enter_context(closing(ProgressJournal(folder)))
    task = (options, calibration, directory, files)
    progress.adopt(_identity_of_first_version(*task), task_identity(*task))
    return progress, folder


def _own_folder(directory: Path, names: OutputNames) -> Path | None:
    """The folder that follows from the place of images and curves; None if it cannot be made."""
    relative, folder, _ = _without_spelling(names)
    digest = _digest(str(directory), relative, str(folder))[:16]
    journal = platformdirs.user_state_path("saxs-bluesky") / "saxsdog" / f"{directory.name}-{digest}"
    try:
        journal.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _log.warning(
            "%s: the folder of the journal cannot be made (%s): after a crash, all images are done again",
            journal,
            error.strerror,
        )
        return None
    return journal


def _lock_of_place(folder: Path, directory: Path) -> IO[bytes]:
    """Lock a place of images and curves.

    Raises
    ------
    OutputError
        Another process has it.
    """
    path = folder / "lock"
    try:
        return locked(path)
    except OSError as error:
        raise OutputError(
            f"{directory}: its curves are written to the same place by another process{pids_of(path)}: wait for its "
            "end, or write to another place (-o, -R)"
        ) from error


def _without_spelling(names: OutputNames) -> list[str | None]:
    """Where curves go, however it was spelled."""
    folder, base = (None if path is None else os.path.realpath(path) for path in (names.folder, names.base))
    return [os.path.normpath(names.relative), folder, base]


def _catalog(where: str | None) -> str:
    """Which catalog, however it was spelled."""
    if where is None or "://" in where:
        return "None" if where is None else without_key(where).rstrip("/")
    return os.path.realpath(Path(where).expanduser())


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
