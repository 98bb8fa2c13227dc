"""The start-up files of an IPython session, copied to where they can be edited."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from saxs_bluesky.errors import OutputError, system_errors_as


def copy_profile(folder: Path) -> list[Path]:
    """Copy the start-up files to a folder where they can be edited, and return their paths.

    Parameters
    ----------
    folder
        Folder to copy them to; it is made where it is missing.

    Returns
    -------
    The paths of the copies.

    Raises
    ------
    OutputError
        A file is there already, or the folder cannot be written.
    """
    source = files("saxs_bluesky.profile_collection")
    startup = sorted(entry.name for entry in (source / "startup").iterdir() if entry.name.endswith(".py"))
    targets = {folder / "startup" / name: source / "startup" / name for name in startup}
    targets |= {folder / name: source / name for name in ("README.md", "ipython_config.py")}
    there = [str(path) for path in targets if path.exists()]
    if there:
        raise OutputError(f"{folder}: wanted a folder without start-up files, found {', '.join(there)}")
    with system_errors_as(OutputError, lambda reason: f"{folder}: the profile cannot be written ({reason})"):
        (folder / "startup").mkdir(parents=True, exist_ok=True)
        for path, content in targets.items():
            path.write_bytes(content.read_bytes())
    return list(targets)
