"""Bounds of what is taken in, kept in mind, and sent."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds of a server; what is beyond them is refused before any work is done on it.

    Parameters
    ----------
    message_bytes
        All parts of a message. A mask of a Pilatus 6M in 32 bits takes 150 MiB: six bytes for each zero byte.
    request_bytes
        The first part of a message, without attachments.
    attachment_bytes
        Any further part.
    attachments
        Parts beside the first.
    depth
        Brackets within brackets.
    values
        Entries of all lists and objects of a request together.
    pixels
        In an image, and so in a mask. The largest detectors have 18 million.
    masks, slices
        Entries of ``Masks`` and of ``Slices``.
    oversampling
        Parts of a pixel along each of its edges.
    subpixels
        Pixels x Oversampling^2, over all entries of ``Masks``: what has to be sorted into bins before the first curve.
    threads
        Images worked on at a time.
    listing_entries
        Names in the answer to ``listdir``.
    response_bytes
        An answer.
    window
        Seconds between the clocks of client and server, either way; the deployed servers' is 900.
    remembered
        Requests that are kept in mind lest they come again. More than this in 2 x ``window`` seconds are
        served all the same, but clients whose clock is behind may be refused then.
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
