"""What the README shows works as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.ports import free_port
from tests.helpers.repository import ROOT

BLOCKS = [
    block
    for page in ("README.md", "docs/how-to/reduce-in-python.md", "docs/how-to/reduce-files-in-python.md")
    for block in re.findall(r"```(bash|python)\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
]


def test_every_tool_has_an_example() -> None:
    shell = "".join(text for language, text in BLOCKS if language == "bash")
    for tool in ("saxs-bluesky", "saxsdog", "saxsdogserver", "saxsleash", "plotchi", "saxsconverter"):
        assert re.search(rf"^{tool} ", shell, re.MULTILINE), tool
    assert any(language == "python" for language, _ in BLOCKS)


def test_pages_and_pictures_exist() -> None:
    for page in ROOT.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_examples_run(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "MPLBACKEND": "Agg"}
    environment |= {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    shell = "set -e\n" + "".join(text for language, text in BLOCKS if language == "bash")
    shell = shell.replace("9999", str(free_port()))
    python = "".join(text for language, text in BLOCKS if language == "python")
    for command in (["bash", "-c", shell], [sys.executable, "-c", python]):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "R0 q 1/nm 1008" in done.stdout.splitlines()
    assert "<xarray.Dataset>" in done.stdout
    assert "['R0', 'P1', 'S2', 'Rows']" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1].startswith("Statistics(done=3, failed=0, unwritten=0")
    for name in (
        "compare.png",
        "curves.png",
        "cal.json",
        "cal.poni",
        "live.png",
        "live.svg",
        "beamtime/work/behenate_00002_cS2.chi",
    ):
        assert (tmp_path / name).stat().st_size > 100


def test_demo_makes_curves_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from saxs_bluesky.cli.main import main

    assert main(["demo", "--frames", "3", str(tmp_path / "demo")]) == 0
    picture = tmp_path / "demo" / "curves.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    output = capsys.readouterr().out
    assert str(picture) in output.splitlines()[-1]
    assert "3 frames, curves of 1008 points; most intensity at stage +0.00 mm" in output
    assert "first ring of silver behenate at q = 1.07" in output
    assert len(list((tmp_path / "demo" / "work").glob("*.chi"))) == 9


def test_simulation_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from saxs_bluesky.cli.main import main

    (tmp_path / "file").touch()
    assert main(["simulate", str(tmp_path / "file")]) == 2
    assert "the simulation cannot be written" in capsys.readouterr().err
