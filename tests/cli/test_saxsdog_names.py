"""``saxsdog`` on files and folders of any name, and on folders without images."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from saxs_bluesky.cli.saxsdog import main
from saxs_bluesky.reduction import read_chi
from tests.helpers.watching import Results, Saxsdog

BLANKS = [chr(code) for code in range(0x80, sys.maxunicode) if chr(code).isspace() and chr(code) != "\x85"]
SIGNS = [
    "\u8a66\u6599",
    "\u00b5m",
    "\u200b",
    "\u00ad",
    "\u202e",
    "\ufeff",
    "\ue000",
    "\U000e0001",
    "\U0001fae8",
    "e\u0301",
]


def run(beamtime: Path, *options: str, directory: Path | None = None) -> int:
    return main(["-c", str(beamtime / "cal.json"), *options, str(directory or beamtime / "data")])


def image_of(beamtime: Path) -> Path:
    return beamtime / "data" / "a.tif"


@pytest.mark.parametrize("options", [(), ("-o", "out")])
def test_images_of_any_readable_name_are_done(
    beamtime: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.chdir(beamtime)
    names = [f"x{sign}y.tif" for sign in [*BLANKS, *SIGNS]]
    assert len(names) > 25
    for name in names:
        shutil.copy(image_of(beamtime), beamtime / "data" / name)
    (beamtime / "data" / "m\u3000o\u2028re").mkdir()
    shutil.copy(image_of(beamtime), beamtime / "data" / "m\u3000o\u2028re" / "d.tif")
    assert run(beamtime, *options) == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[-1] == f"{len(names) + 4} images: {len(names) + 4} reduced, 0 skipped, 0 failed"
    assert not any(sign in output.out + output.err for sign in ("\u202e", "\u2028", "\u2029"))
    curves = [path for path in beamtime.rglob("*.chi") if not path.stem.endswith("_cS1")]
    assert len(curves) == len(names) + 4
    for chi in curves:
        assert np.isfinite(read_chi(chi).curve.intensity).any()
    listed = (beamtime / "results" / "filelist_data.log").read_bytes().decode().split("\n")[:-1]
    assert len(listed) == 2 * (len(names) + 4)


BAD_NAMES = [b"caf\xe9.tif", b"esc\x1b[2J.tif", b"new\nline.tif", b"tab\t.tif", b"\xff/in.tif", b"bell\x07/deep/in.tif"]


@pytest.mark.parametrize("options", [(), ("-S",), ("-r", "-o", "out")])
def test_images_of_other_names_are_failures_and_never_printed_raw(
    beamtime: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.chdir(beamtime)
    for name in BAD_NAMES:
        path = beamtime / "data" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image_of(beamtime), path)
    assert run(beamtime, *options) == 1
    output = capsys.readouterr()
    complaints = [line for line in output.err.splitlines() if "rename it" in line]
    assert len(complaints) == len(BAD_NAMES)
    for name in (r"caf\udce9.tif", r"esc\x1b[2J.tif", r"new\x0aline.tif", r"\udcff/in.tif", r"bell\x07/deep/in.tif"):
        assert sum(name in line for line in complaints) == 1
    assert all(line.isprintable() for line in (output.out + output.err).splitlines())
    if "-S" not in options:
        assert output.out.splitlines()[-1] == "9 images: 3 reduced, 0 skipped, 6 failed"


@pytest.mark.parametrize("name", [b"esc\x1b[2J", b"caf\xe9"])
@pytest.mark.parametrize("below", [False, True])
def test_folder_under_whose_name_nothing_can_be_listed_is_refused(
    beamtime: Path, capsys: pytest.CaptureFixture[str], name: bytes, below: bool
) -> None:
    folder = beamtime / os.fsdecode(name)
    shutil.copytree(beamtime / "data", folder / "data" if below else folder)
    assert run(beamtime, directory=folder / "data" if below else folder) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert "wanted a path in UTF-8 without control characters, found another: rename the folder" in line


def test_empty_folder_is_told(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (beamtime / "empty").mkdir()
    assert run(beamtime, directory=beamtime / "empty") == 1
    output = capsys.readouterr()
    assert output.err == f"saxsdog: {beamtime / 'empty'}: no image that can be taken (.tif and .tiff); found nothing\n"
    assert output.out == "0 images: 0 reduced, 0 skipped, 0 failed\n"


def test_folder_of_other_formats_is_told(beamtime: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    (other / "below").mkdir(parents=True)
    for name in ("1.cbf", "2.CBF", "below/3.cbf", "a.edf", "b.h5", "README", ".hidden.tif"):
        (other / name).touch()
    (other / "away.tif").symlink_to(image_of(beamtime))
    (other / "broken.tif").symlink_to(other / "nothing.tif")
    assert run(beamtime, directory=other) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "found 3 .cbf, 1 .edf, 1 .h5, 1 hidden, 1 links that lead out of the folder, 1 links to nothing, "
        "1 without suffix"
    )


def test_images_in_folders_that_are_left_out_are_told(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.tif", "b.tif"):
        (beamtime / "data" / name).unlink()
    assert run(beamtime, "-n") == 1
    assert "found 1 folders below" in capsys.readouterr().err


def test_skipped_images_are_images(beamtime: Path) -> None:
    assert run(beamtime) == 0
    assert run(beamtime, "-r") == 0


@pytest.fixture
def saxsdog(beamtime: Path) -> Iterator[Saxsdog]:
    saxsdog = Saxsdog(beamtime)
    yield saxsdog
    if saxsdog.process is not None and saxsdog.process.poll() is None:
        saxsdog.process.kill()
        saxsdog.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_images_that_are_not_whole_at_the_end_are_named_and_done_at_the_next_start(
    beamtime: Path, saxsdog: Saxsdog, number: signal.Signals
) -> None:
    results = Results(beamtime)
    whole = image_of(beamtime).read_bytes()
    saxsdog.start()
    saxsdog.until(lambda: results.chi(image_of(beamtime)).exists())
    for index in range(12):
        (beamtime / "data" / f"half{index:02d}.tif").write_bytes(whole[:5000])
    # Found after them. Lines of statistics come as seldom as images that are not whole are given up.
    after = beamtime / "data" / "aa.tif"
    after.write_bytes(whole)
    saxsdog.until(lambda: results.chi(after).exists())
    assert saxsdog.stop(number) == 1
    (told,) = [line for line in saxsdog.log.splitlines() if "12 images were found and not done" in line]
    assert told.startswith("saxsdog: 12 images were found and not done; start again to do them: ")
    assert "half00.tif" in told
    assert "half09.tif, and 2 more" in told
    for index in range(12):
        (beamtime / "data" / f"half{index:02d}.tif").write_bytes(whole)
    saxsdog.start()
    saxsdog.until(lambda: all(results.chi(beamtime / "data" / f"half{i:02d}.tif").exists() for i in range(12)))
    assert saxsdog.stop() == 0


def test_watch_tells_what_is_there_and_not_taken(beamtime: Path, saxsdog: Saxsdog) -> None:
    shutil.rmtree(beamtime / "data")
    (beamtime / "data").mkdir()
    (beamtime / "data" / "a.cbf").touch()
    saxsdog.start()
    saxsdog.until(lambda: "no image that can be taken (.tif and .tiff); found 1 .cbf" in saxsdog.log)
    assert saxsdog.stop() == 0


@pytest.mark.parametrize("made_anew", [False, True])
def test_folder_that_is_renamed_while_its_images_are_reduced_costs_no_image(
    beamtime: Path, saxsdog: Saxsdog, made_anew: bool
) -> None:
    results = Results(beamtime)
    run = beamtime / "data" / "run"
    run.mkdir()
    for index in range(150):
        shutil.copy(image_of(beamtime), run / f"{index:03d}.tif")
    saxsdog.options = ("-w", "-R", ".", "--poll-only")
    saxsdog.start()
    saxsdog.until(lambda: len(list(run.glob("*.chi"))) > 30)
    renamed = run.rename(beamtime / "data" / "renamed")
    if made_anew:  # for the next images, as detectors do
        run.mkdir()
    saxsdog.until(lambda: len(list(renamed.glob("*_cS1.chi"))) == 150)
    time.sleep(3)
    assert saxsdog.stop() == 0, saxsdog.log[-3000:]
    assert "0 failed" in saxsdog.log.splitlines()[-1]
    lines = [line.split(", ")[0] for line in (beamtime / "results" / "filelist_data.log").read_text().splitlines()]
    names = Counter(Path(line).name for line in lines)
    assert names.total() == 2 * 153
    assert max(names.values()) == 1
    assert results.left_over() == []
    assert run.exists() is made_anew
    assert list(run.glob("*")) == []
