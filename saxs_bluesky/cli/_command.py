"""What all commands share: options, one-line errors, exit codes."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path

from saxs_bluesky import __version__
from saxs_bluesky.cli._leaving import leave
from saxs_bluesky.cli._output import UndeliveredError, complain, hold_standard_descriptors, say, tell
from saxs_bluesky.errors import SaxsError

__all__ = ["Exit", "complain", "make_parser", "positive", "run", "say", "seconds", "task_limit", "task_timeout", "tell"]


class Exit(IntEnum):
    """Exit codes of all commands."""

    DONE = 0
    SOME_FAILED = 1
    WRONG_USAGE = 2
    INTERRUPTED = 130


def make_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Make a parser with the options that all commands have."""
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--debug", action="store_true", help="show where in the program an error arose")
    return parser


def run(
    parser: argparse.ArgumentParser,
    command: Callable[[argparse.Namespace], int],
    arguments: Sequence[str] | None,
) -> int:
    """Parse arguments and run a command; errors become one line on standard error and an exit code.

    Without ``arguments`` it is this process's command, and the last that the process does.
    """
    if arguments is None:
        hold_standard_descriptors()
    code: int = Exit.SOME_FAILED
    try:
        code = _run(parser, command, arguments)
    finally:
        if arguments is None:
            leave(parser.prog, code)
    return code


def _run(
    parser: argparse.ArgumentParser,
    command: Callable[[argparse.Namespace], int],
    arguments: Sequence[str] | None,
) -> int:
    options = parser.parse_args(arguments)
    if options.debug:
        logging.basicConfig()
        logging.getLogger("saxs_bluesky").setLevel(logging.DEBUG)
    try:
        return command(options)
    except SaxsError as error:
        if options.debug:
            raise
        complain(f"{parser.prog}: {error}")
        return Exit.WRONG_USAGE
    except KeyboardInterrupt:
        complain(f"{parser.prog}: interrupted")
        return Exit.INTERRUPTED
    except FileNotFoundError:
        if options.debug or _is_there():
            raise
        complain(f"{parser.prog}: the current folder is gone: change to another, or give absolute paths")
        return Exit.WRONG_USAGE
    except UndeliveredError as error:
        complain(f"{parser.prog}: {error}")
        return Exit.SOME_FAILED
    except BrokenPipeError:
        # The reader of our output has gone (``| head``): that is its right. Python would complain
        # once more when it flushes at exit.
        sys.stdout = None
        return Exit.DONE


def _is_there() -> bool:
    """Whether the current folder exists."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def positive(text: str) -> int:
    """A number of things as an argument: 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"wanted a number from 1 up, found {text}")
    return number


def seconds(text: str) -> float:
    """A time as an argument: 0 or more, in seconds."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"wanted a time from 0 s up, found {text}")
    return number


def task_timeout(parser: argparse.ArgumentParser) -> None:
    """Add the option of commands that have workers."""
    parser.add_argument(
        "--task-timeout",
        type=seconds,
        default=60.0,
        metavar="S",
        help="for how long one image may keep a worker busy, as on a network file system that does not answer: then "
        "the worker is replaced, and the image given to another; one that hangs there too has failed; 0: no limit; "
        "default: 60 s",
    )


def task_limit(timeout: float, patience: float) -> float:
    """Limit for a task, in seconds: the time to work on an image, behind that to wait for it; 0: no limit."""
    return timeout + patience if timeout else 0.0
