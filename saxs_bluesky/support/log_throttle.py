"""Which of many equal occurrences get a line in the log."""

from __future__ import annotations

_EACH = 1000


def is_logged(number: int, *, first: int = 10) -> bool:
    """True if an occurrence gets a line in the log: the first few do, then one in a thousand.

    Parameters
    ----------
    number
        How many of its kind there were with this one, from 1.
    first
        How many get a line one by one.

    Returns
    -------
    Whether to write the line.
    """
    return number <= first or number % _EACH == 0
