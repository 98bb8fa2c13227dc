"""What readers raise on a file that is not what it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from saxs_bluesky.errors import SaxsError, one_line


@contextmanager
def unreadable_as(
    kind: type[SaxsError], wanted: str, *, passed_on: tuple[type[Exception], ...] = (), longest: int | None = None
) -> Iterator[None]:
    """Make any error of a reader one of the package's own, whose text begins with what was wanted.

    Parameters
    ----------
    kind
        Type of the error.
    wanted
        Where, and what was wanted there.
    passed_on
        Errors that stay what they are, besides the package's own.
    longest
        Characters of the reader's text, at most; None: all.
    """
    kept: tuple[type[Exception], ...] = (SaxsError, *passed_on)
    try:
        yield
    except kept:
        raise
    # Each reader has its own ways to fail.
    except Exception as error:
        raise kind(f"{wanted}, found an unreadable file ({one_line(error, longest)})") from error
