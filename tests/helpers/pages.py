"""Code blocks of the documentation's pages, and a process in which those of a page run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.ports import free_port

ROOT = Path(__file__).parents[2]
RUN = {"python", "bash"}
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
# Ports in the pages, each of which becomes one that is free.
_PORTS = ("9999", "5577", "5578", "9823")
_LIMIT = 600.0  # seconds for a page, on a busy computer


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    Parameters
    ----------
    language
        What stands behind the fence; empty where nothing does.
    text
        Its lines.
    line
        Number of its first line in the page.
    """

    language: str
    text: str
    line: int


def pages() -> list[Path]:
    """All pages that readers see."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "profile_collection" / "README.md"]
    return sorted(found)


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page that are no directives, in order."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        language = found["language"].strip()
        if not language.startswith("{"):
            yield Block(language, found["text"], text.count("\n", 0, found.start()) + 2)


def run_page(page: Path, folder: Path) -> str:
    """Run the Python and shell blocks of a page as a reader does: in one session and one shell, in order.

    Returns what they print; the text ends with the error of the block that fails.
    """
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "MPLBACKEND": "Agg"}
    environment |= {"HOME": str(folder), "XDG_STATE_HOME": str(folder / "state")}
    # Compiled kernels and lists of fonts are made once.
    environment.setdefault("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    ports = {port: str(free_port()) for port in _PORTS}
    code = [
        (block.language, re.sub("|".join(_PORTS), lambda found: ports[found[0]], block.text), block.line)
        for block in blocks(page)
        if block.language in RUN
    ]
    command = [sys.executable, str(Path(__file__).with_name("page_session.py")), str(page), json.dumps(code)]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=_LIMIT)
        finally:
            # A page that failed may have left servers behind.
            if process.poll() != 0:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output
    return output
