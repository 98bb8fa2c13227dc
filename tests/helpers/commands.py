"""Commands of the package in processes of their own."""

from __future__ import annotations

import sys


def command_line(name: str) -> list[str]:
    """The words that start a command of `saxs_bluesky.cli` with the interpreter of the tests."""
    return [sys.executable, "-c", f"import sys; from saxs_bluesky.cli.{name} import main; sys.exit(main())"]
