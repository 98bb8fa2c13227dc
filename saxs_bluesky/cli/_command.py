"""Common parts of all commands: options, one-line errors, exit codes."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path

from saxs_bluesky import __version__
from saxs_bluesky.cli._leaving import leave
from saxs_bluesky.cli._output import (
    UndeliveredError,
    hold_standard_descriptors,
    print_error,
    print_result,
    print_status,
)
from saxs_bluesky.errors import SaxsError

__all__ = ["Exit", "make_parser", "print_error", "print_result", "print_status", "run"]


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
    parser.add_argument("--debug", action="store_true", help="print a traceback where an error arises")
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
        print_error(f"{parser.prog}: {error}")
        return Exit.WRONG_USAGE
    except KeyboardInterrupt:
        print_error(f"{parser.prog}: interrupted")
        return Exit.INTERRUPTED
    except FileNotFoundError:
        if options.debug or _is_there():
            raise
        print_error(f"{parser.prog}: the current folder is gone: change to another, or give absolute paths")
        return Exit.WRONG_USAGE
    except UndeliveredError as error:
        print_error(f"{parser.prog}: {error}")
        return Exit.SOME_FAILED
    except BrokenPipeError:
        # The reader of our output has gone (``| head``): that is its right. Python would complain
        # once more when it flushes at exit.
        sys.stdout = None
        return Exit.DONE


def _is_there() -> bool:
    """True if the current folder exists."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True
