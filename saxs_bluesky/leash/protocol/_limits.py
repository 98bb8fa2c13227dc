"""Limits of what a client or server receives, remembers and sends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from saxs_bluesky.leash.protocol._errors import Kind, LeashError

_MIB = 2**20


def check_at_most(counts: Iterable[tuple[str, int, int]]) -> None:
    """Compare numbers with their limits.

    Parameters
    ----------
    counts
        What is counted, how many there are, and how many may be.

    Raises
    ------
    LeashError
        Of the first that is beyond its limit.
    """
    for what, found, most in counts:
        if found > most:
            raise LeashError(Kind.VALUE, f"wanted at most {most} {what}, found {found}")


@dataclass(frozen=True)
class Limits:
    """Limits of a server or client; what exceeds them is refused before any work is done on it.

    Parameters
    ----------
    message_bytes
        Bytes in all parts of a message. A mask of a Pilatus 6M in 32 bits takes 150 MiB: six bytes for each zero byte.
    request_bytes
        Bytes in the first part of a message, without attachments.
    attachment_bytes
        Bytes in any further part.
    attachments
        Parts beside the first.
    depth
        Levels of nested brackets in JSON.
    values
        Entries of all lists and objects of a request together.
    pixels
        Pixels in an image, and so in a mask. The largest detectors have 18 million.
    masks, slices
        Entries of ``Masks`` and of ``Slices``.
    oversampling
        Parts of a pixel along each of its edges.
    subpixels
        Pixels x Oversampling^2, summed over all entries of ``Masks``: the work before the first curve.
    threads
        Images that are reduced at the same time.
    listing_entries
        Names in the answer to ``listdir``.
    response_bytes
        Bytes in an answer.
    window
        Difference between the clocks of client and server, either way, in seconds; the deployed servers' is 900.
    remembered
        Requests that are remembered, so that none is accepted twice. If there are more in 2 x ``window`` seconds, they
        are served, but clients whose clock is behind may be refused.
    """

    message_bytes: int = 256 * _MIB
    request_bytes: int = _MIB
    attachment_bytes: int = 160 * _MIB
    attachments: int = 64
    depth: int = 32
    values: int = 10_000
    pixels: int = 64_000_000
    masks: int = 32
    slices: int = 64
    oversampling: int = 16
    subpixels: int = 4_000_000_000
    threads: int = 64
    listing_entries: int = 10_000
    response_bytes: int = 64 * _MIB
    window: float = 900.0
    remembered: int = 100_000
