"""The header in the beginning of an image file, as entries of the merged table."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from saxs_bluesky.errors import FrameError, MergeError, system_reason
from saxs_bluesky.reduction import read_header

_HEAD, _LONGEST_HEAD = 4096, 1 << 16  # bytes; a Pilatus writes pixels from 4096 on
_LINES = 21  # of the header
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
# The first one is found much faster, and is what detectors write.
_FIRST_LINES = (re.compile(rb"#[ \t][\x20-\x7e\x80-\xff\t]{2,}\r?\n"), re.compile(rb"[\x20-\x7e\t]{4,}\r?\n"))
_DATE = re.compile(rb"(\d{4}):(\d\d?):(\d\d?) (\d\d?):(\d\d?):(\d\d?(?:\.\d+)?)")
_PAIR = re.compile(r"(?:.*?\W)??(\w+)\s*[:=]\s*(.*)")
_QUANTITY = re.compile(rf"#\s*(\S.*?)\s+({_NUMBER})\s+(\w+).*")
_NUMBER_AND_UNIT = re.compile(rf"({_NUMBER})\s+(\w+)")
_INTEGER = re.compile(r"[-+]?\d{1,18}")
_FLOAT = re.compile(_NUMBER)

Value = int | float | str


class ImageHeader(NamedTuple):
    """The header of an image.

    Parameters
    ----------
    date
        When the image was taken by the detector's clock, in ISO 8601 without zone; empty if it does not say.
    entries
        Column to value: ``Exposure_time [s]``, ``Image_path``.
    """

    date: str
    entries: Mapping[str, Value]


def read_image_header(path: str) -> ImageHeader:
    """Read the header of an image without its pixels.

    Parameters
    ----------
    path
        Of a TIFF file as a Pilatus writes it. Of others, whose header does not stand in their beginning, the tags are
        read.

    Raises
    ------
    MergeError
        The file cannot be read, is empty, or has no date.
    """
    head = _head(path)
    if not head:
        raise MergeError(f"{path}: the image is empty")
    header = parse_image_header(head)
    if not header.date:
        header = _through_tags(path)
    if not header.date:
        raise MergeError(f"{path}: the image has no date in its header: wanted one like 2014:07:21 10:00:21")
    return header


def parse_image_header(head: bytes) -> ImageHeader:
    """Read a header out of the first bytes of a file: texts between binary values, lines of text, and a NUL."""
    first_line = _FIRST_LINES[0].search(head) or _FIRST_LINES[1].search(head)
    begin = first_line.start() if first_line else len(head)
    end = head.find(b"\0", begin)
    text = head[begin:] if end < 0 else head[begin:end]
    match = _DATE.search(head, 0, begin) or _DATE.search(text) or _DATE.search(head)
    return ImageHeader(_iso(match) if match else "", _entries(text))


def _head(path: str) -> bytes:
    # Many files: texts and os are several times faster than file objects.
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            head = os.read(file, _HEAD)
            return head + os.read(file, _LONGEST_HEAD) if _is_cut(head) else head
        finally:
            os.close(file)
    except OSError as error:
        raise MergeError(f"{path}: the image cannot be read: {system_reason(error)}") from error


def _is_cut(head: bytes) -> bool:
    """True if the text of the header goes on behind the first bytes."""
    return len(head) == _HEAD and b"\0" not in head[head.rfind(b"\n") :]


def _through_tags(path: str) -> ImageHeader:
    try:
        found = read_header(path).header
    except FrameError as error:
        raise MergeError(f"{path}: the image cannot be read: {error}") from error
    match = _DATE.fullmatch((found.date_time or "").encode())
    return ImageHeader(_iso(match) if match else "", _entries(found.description().encode()))


def _iso(match: re.Match[bytes]) -> str:
    if match.end() - match.start() == len("2014:07:21 10:00:21"):
        return match[0].decode().replace(":", "-", 2).replace(" ", "T")
    year, month, day, hour, minute, second = (part.decode() for part in match.groups())
    return f"{year}-{month:0>2}-{day:0>2}T{hour:0>2}:{minute:0>2}:{second if second[1:2].isdigit() else '0' + second}"


@lru_cache(maxsize=4096)  # the images of a series differ in their date only, which stands before
def _entries(text: bytes) -> Mapping[str, Value]:
    """Column to value of all lines; shared, so not to be changed."""
    return dict(filter(None, map(_entry, text.split(b"\n", _LINES)[:_LINES])))


def _entry(line: bytes) -> tuple[str, Value] | None:
    """Column and value of a line; None if it has none."""
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        text = line.decode("latin-1").strip()
    if not text.isprintable() or _DATE.fullmatch(line.strip(b"# \r")):
        return None
    if match := _PAIR.fullmatch(text):
        key, value = match[1], match[2].strip()
        if match := _NUMBER_AND_UNIT.fullmatch(value):
            return f"{key} [{match[2]}]", float(match[1])
        if _INTEGER.fullmatch(value):
            return key, int(value)
        return key, float(value) if _FLOAT.fullmatch(value) else value
    if match := _QUANTITY.fullmatch(text):
        return f"{match[1]} [{match[3]}]", float(match[2])
    return None
