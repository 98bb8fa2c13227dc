"""The profile as a user starts it: in IPython, and for the queueserver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from saxs_bluesky.cli.main import main

PROFILE = Path(__file__).parents[2] / "profile_collection"
BIN = Path(sys.executable).parent

SESSION = """
(uid,) = RE(saxs_scan([pilatus], stage.x, -1, 1, 3, sample="agbeh", baseline=baseline, monitors=monitors))
assert reduction.wait(60), reduction.status
assert catalog[RE.md["scan_id"]].start["uid"] == uid
(run,) = reduced_runs(catalog, uid)
curves = read_curves(run)
assert list(curves["stage_x"].values) == [-1, 0, 1]
assert curves["R0_I0"].values.argmax() == 1
assert curves.sizes["frame"] == 3
assert len(db[-1].table()) == 3
print("frames", curves.sizes["frame"], run.start["sample"])
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    ours = {"PATH": f"{BIN}:{os.environ['PATH']}", "MPLBACKEND": "Agg", "IPYTHONDIR": str(tmp_path / "ipython")}
    ours |= {"XDG_STATE_HOME": str(tmp_path / "state")}
    return {name: value for name, value in os.environ.items() if not name.startswith("SAXS_")} | ours


def test_session_reduces_a_scan_into_the_catalog(tmp_path: Path, environment: dict[str, str]) -> None:
    assert main(["init-profile", str(tmp_path / "profile")]) == 0
    done = subprocess.run(
        ["ipython", f"--profile-dir={tmp_path / 'profile'}", "-c", SESSION],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "frames 3 agbeh" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]
    assert len(list((tmp_path / "work").glob("*.chi"))) == 9
    assert not (tmp_path / "profile" / "history.sqlite").exists()
    assert (tmp_path / "state" / "saxs-bluesky" / "ipython" / "history.sqlite").exists()


def test_queueserver_lists_plans_and_devices(tmp_path: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["qserver-list-plans-devices", "--startup-dir", str(PROFILE / "startup"), "--file-dir", str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    listed = yaml.safe_load((tmp_path / "existing_plans_and_devices.yaml").read_text())
    assert {"saxs_count", "saxs_scan", "saxs_time_series", "count", "scan"} <= set(listed["existing_plans"])
    assert {"pilatus", "stage", "ion_chamber", "diode"} <= set(listed["existing_devices"])


def test_profile_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init-profile", str(tmp_path)]) == 0
    assert (tmp_path / "startup" / "00-settings.py").read_bytes() == (
        PROFILE / "startup" / "00-settings.py"
    ).read_bytes()
    assert main(["init-profile", str(tmp_path)]) == 2
    assert "wanted a folder without start-up files, found" in capsys.readouterr().err
