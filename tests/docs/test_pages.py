"""Every code block of the documentation runs, or says by its language that it is only shown."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.helpers.pages import ROOT, RUN, blocks, pages, run_page

# Their blocks run in tests that look at what comes of them.
RUN_ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "docs/how-to/reduce-in-python.md": "tests/test_readme.py",
    "docs/how-to/reduce-files-in-python.md": "tests/test_readme.py",
    "docs/how-to/tiled-server.md": "tests/helpers/tiled_servers.py",
}
# What is only shown: transcripts, drawings, what needs a beamline or lasts until it is stopped.
SHOWN = {"text", "console"}
PARSED = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}
# Executed, statement by statement, by the test of its page.
STATEMENTS = {"sql"}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def is_run_here(page: Path) -> bool:
    return name_of(page) not in RUN_ELSEWHERE and any(block.language in RUN for block in blocks(page))


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_blocks_say_what_they_are(page: Path) -> None:
    known = RUN | SHOWN | PARSED.keys() | STATEMENTS
    assert [f"{page}:{block.line}" for block in blocks(page) if block.language not in known] == []
    for block in blocks(page):
        if block.language in PARSED:
            assert PARSED[block.language](block.text)


@pytest.mark.parametrize("page", [page for page in pages() if is_run_here(page)], ids=name_of)
def test_page_runs(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path)


def test_pages_that_run_elsewhere_do() -> None:
    for page, test in RUN_ELSEWHERE.items():
        assert (ROOT / page).exists()
        assert Path(page).name in (ROOT / test).read_text(encoding="utf-8")
