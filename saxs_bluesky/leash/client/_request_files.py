"""Arguments and attachments of requests, read from the client's files."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from saxs_bluesky.errors import SaxsError, system_reason
from saxs_bluesky.leash.protocol import Attachment, Kind, LeashError, checked_parts
from saxs_bluesky.reduction import Calibration, own_spelling
from saxs_bluesky.schemas import load_schema, parse_json, validate

DocumentOrPath: TypeAlias = str | Path | Mapping[str, Any]
"""A JSON document, or the path of its file."""
RemotePath: TypeAlias = str | Sequence[str]
"""A path below the server's base directory: ``user/2014``, or a list of its parts."""
ArgumentAndAttachments: TypeAlias = tuple[dict[str, Any], list[Attachment]]

# Keys that deployed servers need, beside each mask's Phi-mode.
_NEEDED = ("GISAXSmode", "Live-Filelisting", "OverwriteFiles")


def path_parts(path: RemotePath) -> list[str]:
    """Parts of a path below the server's base directory.

    Raises
    ------
    LeashError
        It leads out of the base directory.
    """
    return list(checked_parts(path.split("/") if isinstance(path, str) else list(path), "directory"))


def queue_argument(
    calibration: DocumentOrPath,
    masks: str | Path | Sequence[str | Path | None] | None = None,
    directory: RemotePath | None = None,
) -> ArgumentAndAttachments:
    """Make argument and attachments of ``new``.

    Calibration and masks are validated. The calibration is sent as it is, with the defaults of keys that deployed
    servers need, but without those that they may not know.

    Parameters
    ----------
    calibration
        Paths of masks in a file are relative to the file, else to the working directory.
    masks
        Mask files in place of those in the calibration: one for all entries of ``Masks``, or a list with one for each
        entry, None for an entry without mask.
    directory
        Folder of the images in place of that in the calibration.

    Raises
    ------
    SaxsError
        A file cannot be read or does not fit.
    """
    document, folder, where = _read(calibration)
    own_spelling(document, where)
    if directory is not None:
        document["Directory"] = path_parts(directory)
    if masks is not None:
        _replace_masks(document, masks, where)
        folder = Path()
    # Checked before any mask is read.
    Calibration.from_dict(document, folder=folder, where=where)
    names = [str(entry.get("MaskFile", "")) for entry in document.get("Masks", [])]
    contents = [_content(folder / name, "mask") if name else None for name in names]
    if contents:
        checked = Calibration.from_dict(document, masks=contents, where=where)
        for index, content in enumerate(contents):
            if content is not None:
                checked.load_mask(index)
    attachments = [
        Attachment.from_bytes(Path(name).name, content or b"") for name, content in zip(names, contents, strict=True)
    ]
    return {"calibration": _completed(document), "data": {}}, attachments


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    """Add the keys that deployed servers need to a calibration."""
    properties = load_schema("calibration")["properties"]
    document = {name: properties[name]["default"] for name in _NEEDED if name not in document} | document
    phi_mode = {"Phi-mode": properties["Masks"]["items"]["properties"]["Phi-mode"]["default"]}
    if "Masks" in document:
        document["Masks"] = [phi_mode | entry for entry in document["Masks"]]
    return document


def _replace_masks(document: dict[str, Any], masks: str | Path | Sequence[str | Path | None], where: str) -> None:
    entries = document.setdefault("Masks", [{}])
    if not (isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)):
        return  # the validation says later what is wrong
    given = [masks] * len(entries) if isinstance(masks, str | Path) else list(masks)
    if len(given) != len(entries):
        raise SaxsError(f"{where}: wanted one mask for each of the {len(entries)} entries of Masks, found {len(given)}")
    for entry, mask in zip(entries, given, strict=True):
        entry["MaskFile"] = str(mask) if mask else ""


def merge_argument(conf: DocumentOrPath, logs: Sequence[str | Path] | None = None) -> ArgumentAndAttachments:
    """Make argument and attachments of ``mergedata``.

    Parameters
    ----------
    conf
        Each ``LocalPath`` in a file is relative to the file, else to the working directory.
    logs
        Log files in place of those with a ``LocalPath``, one for each, in their order.

    Raises
    ------
    SaxsError
        A file cannot be read, or the configuration is not valid.
    """
    document, folder, where = _read(conf)
    validate(document, load_schema("merge"), where)
    names = [file.get("LocalPath", "") for table in document["LogDataTables"] for file in table["Files"]]
    paths = [folder / name for name in names if name] if logs is None else [Path(log) for log in logs]
    wanted = sum(map(bool, names))
    if len(paths) != wanted:
        raise SaxsError(f"{where}: wanted one log file for each of the {wanted} with a LocalPath, found {len(paths)}")
    return {"mergeconf": document}, [Attachment(path.name, _text(_content(path, "log"))) for path in paths]


def _read(document: DocumentOrPath) -> tuple[dict[str, Any], Path, str]:
    """A copy of the document, the folder that its paths are relative to, and its name in errors."""
    if isinstance(document, Mapping):
        return copy.deepcopy(dict(document)), Path(), "document"
    path = Path(document)
    return parse_json(_content(path, "JSON"), str(path)), path.parent, str(path)


def _content(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SaxsError(f"{path}: wanted a {what} file, found {system_reason(error)}") from error
    except ValueError as error:  # a NUL
        raise LeashError(Kind.VALUE, f"wanted a {what} file, found a path with a NUL in it") from error


def _text(content: bytes) -> str:
    """Text of a log file; loggers on old Windows computers do not write UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
