"""Checks of the argument and the attachments of a request, beyond the request's schema."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saxs_bluesky.errors import SaxsError
from saxs_bluesky.leash.protocol import (
    COMMANDS,
    Attached,
    Attachment,
    Command,
    Kind,
    LeashError,
    Limits,
    checked_parts,
    drop_unknown_keys,
    error_of,
)
from saxs_bluesky.reduction import Calibration, own_spelling, read_mask
from saxs_bluesky.schemas import fill_defaults, load_schema, validate


@dataclass(frozen=True)
class CheckedArgument:
    """An argument that may be acted upon.

    Parameters
    ----------
    argument
        The argument; with defaults, except for a calibration, which stays as it came: clients compare it with theirs.
    calibration
        Of `Command.NEW`: made of argument and masks; else None.
    unknown_keys
        Places of the keys that were ignored.
    """

    argument: dict[str, Any]
    calibration: Calibration | None = None
    unknown_keys: tuple[str, ...] = ()


def check_argument(
    command: Command,
    argument: dict[str, Any],
    attachments: Sequence[Attachment],
    limits: Limits,
    *,
    lenient: bool = False,
) -> CheckedArgument:
    """Check the argument of a command and its attachments.

    Parameters
    ----------
    command
        What is to be done.
    argument
        The command's argument.
    attachments
        Attachments of the request.
    limits
        Limits of what is accepted.
    lenient
        Ignore unknown keys, as deployed servers do.

    Raises
    ------
    LeashError
        The request is refused.
    """
    unknown: list[str] = []
    calibration = None
    try:
        schema = COMMANDS[command].argument_schema
        argument = drop_unknown_keys(argument, schema, "argument", unknown) if lenient else argument
        validate(argument, schema, "argument")
        if COMMANDS[command].attached is Attached.NONE:
            _check_count(attachments, (0,))
        match command:
            case Command.NEW:
                calibration = _calibration(argument["calibration"], attachments, limits, unknown, lenient=lenient)
            case Command.LISTDIR:
                argument = {"directory": list(checked_parts(argument["directory"], "directory"))}
            case Command.MERGEDATA:
                merge = _merge_configuration(argument["mergeconf"], attachments, unknown, lenient=lenient)
                argument = {"mergeconf": merge}
    except SaxsError as error:
        raise error_of(error) from error
    return CheckedArgument(argument, calibration, tuple(unknown))


def _calibration(
    document: Mapping[str, Any],
    attachments: Sequence[Attachment],
    limits: Limits,
    unknown: list[str],
    *,
    lenient: bool,
) -> Calibration:
    # Before anything is made of it.
    for name, most in (("Masks", limits.masks), ("Slices", limits.slices)):
        found = document.get(name, [])
        if not isinstance(found, list):
            raise LeashError(Kind.VALIDATION, f"calibration: {name}: wanted a list")
        if len(found) > most:
            raise LeashError(Kind.VALUE, f"calibration: {name}: wanted at most {most} entries, found {len(found)}")
    document = own_spelling(copy.deepcopy(dict(document)), "calibration")
    if lenient:
        document = drop_unknown_keys(document, load_schema("calibration"), "", unknown)
    entries = document.get("Masks", [{}])
    with_file = [bool(isinstance(entry, dict) and entry.get("MaskFile")) for entry in entries]
    # Deployed clients attach a mask for each entry; for an entry without mask none is needed.
    if len(attachments) != len(entries):
        _check_count(attachments, (sum(with_file),))
    remaining = iter(attachments)
    contents = [
        next(remaining).content() or None if has_file or len(attachments) == len(entries) else None
        for has_file in with_file
    ]
    calibration = Calibration.from_dict(document, masks=contents)
    checked_parts(calibration.document["Directory"], "calibration: Directory")
    _check_effort(calibration, limits)
    for index, (content, mask) in enumerate(zip(contents, calibration.masks, strict=True)):
        if content is None:
            if mask.mask_file:
                raise LeashError(Kind.VALUE, f"calibration: Masks[{index}]: wanted a mask, found an empty attachment")
            continue
        where = mask.mask_file or f"mask {index}"
        shape = calibration.geometry.shape
        found_shape = read_mask(content, where, limit=math.prod(shape)).shape
        if found_shape != shape:
            raise LeashError(Kind.VALUE, f"{where}: wanted a mask of shape {shape}, found {found_shape}")
    return calibration


def _check_effort(calibration: Calibration, limits: Limits) -> None:
    """Refuse a calibration that would take too much time or memory."""
    pixels = math.prod(calibration.geometry.shape)
    oversampling = [mask.oversampling for mask in calibration.masks]
    for what, found, most in (
        ("Imagesize", pixels, limits.pixels),
        ("Oversampling", max(oversampling, default=0), limits.oversampling),
        ("pixels x Oversampling^2 of all Masks", pixels * sum(n * n for n in oversampling), limits.subpixels),
        ("Threads", calibration.document["Threads"], limits.threads),
    ):
        if found > most:
            raise LeashError(Kind.VALUE, f"calibration: {what}: this server takes at most {most}, found {found}")


def _merge_configuration(
    document: dict[str, Any], attachments: Sequence[Attachment], unknown: list[str], *, lenient: bool
) -> dict[str, Any]:
    from saxs_bluesky.merge import MergeSettings, remote_parts  # pandas takes a while

    schema = load_schema("merge")
    document = drop_unknown_keys(document, schema, "mergeconf", unknown) if lenient else document
    settings = MergeSettings.from_dict(document, "mergeconf")
    merge: dict[str, Any] = fill_defaults(document, schema) | {"OutputFileName": settings.output_name}
    merge.pop("OutputFileBaseName", None)
    # Deployed clients send ".//results//logs//": a folder below that of the queue.
    if not checked_parts(str(merge["OutputFileName"]).split("/"), "mergeconf: OutputFileName"):
        raise LeashError(Kind.VALUE, "mergeconf: OutputFileName: wanted a name, found none")
    local = 0
    for i, table in enumerate(merge["LogDataTables"]):
        for j, file in enumerate(table["Files"]):
            where = f"mergeconf: LogDataTables[{i}].Files[{j}]"
            remote = checked_parts(remote_parts(file), f"{where}.RemotePath")
            file.pop("Path", None)
            if remote:
                file["RemotePath"] = list(remote)
            local += bool(file.get("LocalPath"))
    _check_count(attachments, (local, 0) if lenient else (local,))
    return merge


def _check_count(attachments: Sequence[Attachment], wanted: Sequence[int]) -> None:
    if len(attachments) not in wanted:
        raise LeashError(Kind.VALUE, f"wanted {wanted[0]} attachments, found {len(attachments)}")
