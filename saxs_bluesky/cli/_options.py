"""Options that several commands have, each declared once with one help text; and types of arguments."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)

_SCALES = ("linear", "log", "symlog")
# Spellings of deployed versions, understood but not shown in the help.
_OTHER_SPELLINGS = MappingProxyType(
    {"--xaxisistype": ("--xaxsistype",), "--yaxisistype": ("--yaxsistype", "--yaxsisstype")}
)


def in_range(number: Number, text: str, wanted: str, *, fits: bool) -> Number:
    """Return a number that fits; one that does not is wrong usage.

    Parameters
    ----------
    number, text
        An argument, and how it was written.
    wanted
        Which numbers fit, in words.
    fits
        True if this one does.

    Raises
    ------
    argparse.ArgumentTypeError
        It does not.
    """
    if not fits:
        raise argparse.ArgumentTypeError(f"wanted {wanted}, found {text}")
    return number


def positive(text: str) -> int:
    """A number of things as an argument: 1 or more."""
    number = int(text)
    return in_range(number, text, "a number from 1 up", fits=number >= 1)


def not_negative(text: str) -> int:
    """A number of things as an argument: 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"wanted a number from 0 up, found {text}")
    return int(text)


def seconds(text: str) -> float:
    """A time as an argument: 0 or more, in seconds."""
    number = float(text)
    return in_range(number, text, "a time from 0 s up", fits=0 <= number < math.inf)


_SHARED: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "watch": (("-w", "--watch"), {"action": "store_true", "help": "keep watching for new and overwritten images"}),
    "feeder": (("-f", "--feeder"), {"metavar": "URL", "help": "reduce the images that the feeder at URL announces"}),
    "relpath": (
        ("-R", "--relpath", "--reldpath"),
        {
            "default": "../work",
            "metavar": "RELPATH",
            "help": "folder of the curves, relative to the folder of each image; default: ../work",
        },
    ),
    "out": (
        ("-o", "--out"),
        {"type": Path, "metavar": "OUTDIR", "help": "one folder for all curves; their names contain the image's path"},
    ),
    "catalog": (
        ("--catalog",),
        {"metavar": "WHERE", "help": "record the runs in this catalog: a folder, or the URI of a Tiled server"},
    ),
    "threads": (("-t", "--threads"), {"type": positive, "metavar": "N", "help": "number of worker processes"}),
    "task_timeout": (
        ("--task-timeout",),
        {
            "type": seconds,
            "default": 60.0,
            "metavar": "S",
            "help": "longest time for one image, in seconds, where a file system may not answer: the worker is "
            "replaced and the image tried once more, then it has failed; 0: no limit; default: 60",
        },
    ),
    "poll_only": (
        ("--poll-only",),
        {
            "action": "store_true",
            "help": "find new images by listing folders, without file system events; network file systems have none",
        },
    ),
    "bind": (
        ("--bind",),
        {
            "default": "127.0.0.1",
            "metavar": "HOST",
            "help": "network interface to listen at, * for all; default: 127.0.0.1, for this computer's programs only",
        },
    ),
    "network": (("--network",), {"type": Path, "metavar": "FILE", "help": "network file; default: ~/.saxsdognetwork"}),
    "silent": (("-S", "--silent"), {"action": "store_true", "help": "print errors only"}),
    "skip": (
        ("-s", "--skip"),
        {"type": not_negative, "default": 0, "metavar": "N", "help": "leave out the first N points; default: 0"},
    ),
    "clip": (
        ("-k", "--clip"),
        {"type": not_negative, "default": 1, "metavar": "N", "help": "leave out the last N points; default: 1"},
    ),
}


def add_shared(parser: argparse._ActionsContainer, *names: str, note: str = "", **changes: Any) -> None:
    """Add options that other commands have too.

    Parameters
    ----------
    parser
        Of the command, or a group of it.
    names
        Of the options, in their order.
    note
        Added to the help text, for what is special to this command.
    changes
        To the arguments of ``add_argument``, such as another default.
    """
    for name in names:
        flags, keywords = _SHARED[name]
        parser.add_argument(*flags, **keywords | changes | {"help": keywords["help"] + note})


def add_scales(parser: argparse._ActionsContainer, *, y_default: str = "linear") -> None:
    """Add the options for the scales of the axes.

    Parameters
    ----------
    parser
        Of the command, or a group of it.
    y_default
        What the help text says of the default for the intensity.
    """
    for short, long, axis, default in (
        ("-x", "--xaxisistype", "axis", "linear"),
        ("-y", "--yaxisistype", "intensity", y_default),
    ):
        text = f"scale of the {axis}: %(choices)s; default: {default}"
        parser.add_argument(short, long, choices=_SCALES, metavar="SCALE", help=text)
        for other in _OTHER_SPELLINGS[long]:
            name, hidden = long.removeprefix("--"), argparse.SUPPRESS
            parser.add_argument(other, dest=name, choices=_SCALES, metavar="SCALE", default=hidden, help=hidden)


def task_limit(timeout: float, patience: float) -> float:
    """Limit for a task, in seconds: the time to work on an image, after the time to wait for it; 0: no limit."""
    return timeout + patience if timeout else 0.0
