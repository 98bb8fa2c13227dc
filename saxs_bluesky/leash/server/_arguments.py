"""Checks of what a request asks for, beyond the form of its argument."""

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
    """An argument that may be acted upon: with defaults, and what was made of it on the way.

    ``unknown_keys`` are the places of the keys that are unknown and were passed over.
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
    """Check the argument of a command and the attachments that belong to it.

    Parameters
    ----------
    command
        What is wanted.
    argument
        What the command needs to know.
    attachments
        What came with it.
    limits
        Bounds of what is taken in.
    lenient
        Whether to pass over keys that are unknown, as deployed servers do. A calibration stays as it came in what is
        returned: clients compare it with theirs.

    Raises
    ------
    LeashError
        It cannot be acted upon.
    """
    unknown_keys: list[str] = []

    def only_known(document: Any, schema: Mapping[str, Any], where: str) -> Any:
        return drop_unknown_keys(document, schema, where, unknown_keys) if lenient else document

    try:
        schema = COMMANDS[command].argument_schema
        argument = only_known(argument, schema, "argument")
        validate(argument, schema, "argument")
        if COMMANDS[command].attached is Attached.NONE:
            _check_count(attachments, (0,))
        match command:
            case Command.NEW:
                document = argument["calibration"]
                _check_size(document, limits)
                own = only_known(own_spelling(copy.deepcopy(document), "calibration"), load_schema("calibration"), "")
                return CheckedArgument(argument, _calibration(own, attachments, limits), tuple(unknown_keys))
            case Command.LISTDIR:
                return CheckedArgument(
                    {"directory": list(checked_parts(argument["directory"], "directory"))},
                    unknown_keys=tuple(unknown_keys),
                )
            case Command.MERGEDATA:
                merge = only_known(argument["mergeconf"], load_schema("merge"), "mergeconf")
                return CheckedArgument(
                    {"mergeconf": _merge_configuration(merge, attachments, lenient)}, unknown_keys=tuple(unknown_keys)
                )
            case _:
                return CheckedArgument(argument, unknown_keys=tuple(unknown_keys))
    except SaxsError as error:
        raise error_of(error) from error


def _calibration(document: Mapping[str, Any], attachments: Sequence[Attachment], limits: Limits) -> Calibration:
    entries = document.get("Masks", [{}])
    with_file = [bool(isinstance(entry, dict) and entry.get("MaskFile")) for entry in entries]
    # Deployed clients attach one for each entry; an entry without mask may also do without.
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
        found = read_mask(content, where, limit=math.prod(shape)).shape
        if found != shape:
            raise LeashError(Kind.VALUE, f"{where}: wanted a mask of shape {shape}, found {found}")
    return calibration


def _check_size(document: Mapping[str, Any], limits: Limits) -> None:
    """Refuse a calibration with more curves than may be, before anything is made of it."""
    for name, most in (("Masks", limits.masks), ("Slices", limits.slices)):
        entries = document.get(name, [])
        if not isinstance(entries, list):
            raise LeashError(Kind.VALIDATION, f"calibration: {name}: wanted a list")
        if len(entries) > most:
            raise LeashError(Kind.VALUE, f"calibration: {name}: wanted at most {most} entries, found {len(entries)}")


def _check_effort(calibration: Calibration, limits: Limits) -> None:
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


def _merge_configuration(document: dict[str, Any], attachments: Sequence[Attachment], lenient: bool) -> dict[str, Any]:
    schema = load_schema("merge")
    validate(document, schema, "mergeconf")
    both = dict(document)
    if "OutputFileBaseName" in both:
        name = both.pop("OutputFileBaseName")
        if both.setdefault("OutputFileName", name) != name:
            raise LeashError(
                Kind.VALIDATION, "mergeconf: wanted one of OutputFileName and OutputFileBaseName, found two names"
            )
    merge: dict[str, Any] = fill_defaults(both, schema)
    # Deployed clients send ".//results//logs//": a folder below that of the queue.
    if not checked_parts(str(merge["OutputFileName"]).split("/"), "mergeconf: OutputFileName"):
        raise LeashError(Kind.VALUE, "mergeconf: OutputFileName: wanted a name, found none")
    local = 0
    for i, table in enumerate(merge["LogDataTables"]):
        for j, file in enumerate(table["Files"]):
            where = f"mergeconf: LogDataTables[{i}].Files[{j}]"
            remote = checked_parts(file.get("RemotePath", []), f"{where}.RemotePath")
            if file.get("LocalPath"):
                local += 1
            elif not remote:
                raise LeashError(Kind.VALIDATION, f"{where}: wanted a LocalPath or a RemotePath, found neither")
    _check_count(attachments, (local, 0) if lenient else (local,))
    return merge


def _check_count(attachments: Sequence[Attachment], wanted: Sequence[int]) -> None:
    if len(attachments) not in wanted:
        raise LeashError(Kind.VALUE, f"wanted {wanted[0]} attachments, found {len(attachments)}")
