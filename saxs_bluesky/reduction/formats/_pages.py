"""The pages of a TIFF file: which of its directories are images, and how many images each stands for."""

from __future__ import annotations

import json
import math
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from saxs_bluesky.reduction.formats._tiff import IMAGE_DESCRIPTION, STACK_TEXTS

# TIFF Revision 6.0 (Adobe, 1992), section 8: kinds of images that are made from another one, or mask one.
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE = 254, 255
_REDUCED_OR_MASK, _OLD_REDUCED = 0b101, 2
_WIDTH, _LENGTH, _BITS, _SAMPLES = 256, 257, 258, 277
_LETTERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # of struct, by the types of values
_GUESS = 1024  # bytes of a directory: more than most need
_MOST_TAGS = 4096
_IMAGEJ_NUMBER = re.compile(r"^(images|frames|slices|channels)=(\d+)\s*$", re.MULTILINE)


class PagePosition(NamedTuple):
    """Where a page is: the offset of its ``directory``, and its number among the images that this one stands for."""

    directory: int
    number: int
    images: int


@dataclass(frozen=True)
class PageTable:
    """The pages of a file, and why there may be more that are not found; empty where all are."""

    places: tuple[PagePosition, ...]
    failure: str = ""

    def __len__(self) -> int:
        return len(self.places) + bool(self.failure)


def page_table(file: int, size: int) -> PageTable:
    """Find the pages of a TIFF file, BigTIFF too.

    Each directory is a page, but those of images that are reduced or mask another one. ImageJ writes one directory for
    a whole stack, whose images follow each other; tifffile does where it is asked to (``truncate``). Their texts say
    how many there are.

    Parameters
    ----------
    file
        Its descriptor.
    size
        Bytes in it.

    Raises
    ------
    ValueError
        It is no TIFF file.
    """
    found: list[_Directory] = []
    failure = ""
    try:
        for directory in _directories(file, size):
            found.append(directory)  # noqa: PERF402 - what was found before an error counts
    except ValueError as error:
        if not found:
            raise
        failure = str(error)
    # A file whose only image calls itself reduced has no other.
    found = [directory for directory in found if not directory.is_derived] or found
    places: list[PagePosition] = []
    for index, directory in enumerate(found):
        images = directory.images
        # Where each image has a directory of its own, the first one tells of all of them.
        is_one_of_many = images > 1 and not (index + 1 == len(found) or found[index + 1].tells_images)
        images = 1 if is_one_of_many else images
        if images > 1 and images * directory.nbytes > size:
            failure = failure or f"{images} images of {directory.nbytes} bytes in a file cut short at {size}"
            images = max(1, size // max(1, directory.nbytes))
        places += (PagePosition(directory.offset, number, images) for number in range(images))
    return PageTable(tuple(places), failure)


@dataclass(frozen=True)
class _Directory:
    offset: int
    is_derived: bool
    tells_images: bool
    images: int
    nbytes: int  # of one


def _directories(file: int, size: int) -> Iterator[_Directory]:
    head = os.pread(file, 16, 0)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    kind = struct.unpack_from(f"{order or '<'}H", head, 2)[0] if len(head) >= 8 else 0
    if order is None or kind not in (42, 43) or (kind == 43 and len(head) < 16):
        raise ValueError("not a TIFF file")
    is_big = kind == 43
    offset: int = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", head, 8 if is_big else 4)[0]
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise ValueError(f"a directory at byte {offset} that follows itself")
        seen.add(offset)
        directory, offset = _directory(file, size, order, offset, is_big=is_big)
        yield directory


def _directory(file: int, size: int, order: str, offset: int, *, is_big: bool) -> tuple[_Directory, int]:
    """A directory, and the offset of the next; 0 behind the last."""
    letter, start, length = ("Q", 8, 20) if is_big else ("H", 2, 12)
    data = os.pread(file, _GUESS, offset)
    if len(data) < start:
        raise ValueError(f"a directory at byte {offset} in a file cut short at {size}")
    count = struct.unpack_from(order + letter, data)[0]
    if not 0 < count <= _MOST_TAGS:
        raise ValueError(f"a directory at byte {offset} with {count} entries")
    link = "Q" if is_big else "I"
    end = start + count * length + struct.calcsize(link)
    if end > len(data):
        data = os.pread(file, end, offset)
    if end > len(data):
        raise ValueError(f"a directory at byte {offset} in a file cut short at {size}")
    value_at = 12 if is_big else 8
    tags: dict[int, tuple[int, int, bytes]] = {}
    for index in range(count):
        entry = data[start + index * length : start + (index + 1) * length]
        code, kind, number = struct.unpack_from(order + ("HHQ" if is_big else "HHI"), entry)
        tags[code] = kind, number, entry[value_at:]
    following: int = struct.unpack_from(order + link, data, end - struct.calcsize(link))[0]

    def value(code: int) -> int:
        kind, number, inline = tags.get(code, (0, 0, b""))
        letter = _LETTERS.get(kind)
        return struct.unpack_from(order + letter, inline)[0] if letter and number else 0

    def text(code: int) -> str:
        kind, number, inline = tags.get(code, (0, 0, b""))
        if number <= len(inline):
            return inline[:number].decode(errors="replace")
        at = struct.unpack(order + ("Q" if is_big else "I"), inline)[0] if kind else 0
        return os.pread(file, min(number, 65536), at).decode(errors="replace")

    is_derived = bool(value(_NEW_SUBFILE_TYPE) & _REDUCED_OR_MASK) or value(_SUBFILE_TYPE) == _OLD_REDUCED
    values = value(_LENGTH) * value(_WIDTH) * max(1, value(_SAMPLES))
    images = _images(text(IMAGE_DESCRIPTION), values)
    nbytes = values * value(_BITS) // 8
    return _Directory(offset, is_derived, images is not None, images or 1, nbytes), following


def _images(description: str, values: int) -> int | None:
    """How many images a description says that there are; None where it says nothing of it."""
    if description.startswith("ImageJ="):
        numbers = {key: int(number) for key, number in _IMAGEJ_NUMBER.findall(description)}
        product = numbers.get("frames", 1) * numbers.get("slices", 1) * numbers.get("channels", 1)
        return product if product > 1 else max(1, numbers.get("images", 1))
    if description.startswith(STACK_TEXTS):
        try:
            shape = json.loads(description.rstrip("\0"))["shape"]
            return max(1, math.prod(map(int, shape)) // values)
        except (ValueError, TypeError, KeyError, ZeroDivisionError):
            return None
    return None
