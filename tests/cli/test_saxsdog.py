"""``saxsdog`` as a user runs it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.cli.saxsdog import main
from saxs_bluesky.reduction import Calibration, PilatusHeader, Reducer, read_chi, read_frame, write_frame


def saxsdog(beamtime: Path, *options: str) -> int:
    return main(["-c", str(beamtime / "cal.json"), *options, str(beamtime / "data")])


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


CURVES = ["data/work/c.chi", "data/work/c_cS1.chi", "work/a.chi", "work/a_cS1.chi", "work/b.chi", "work/b_cS1.chi"]


def curves(beamtime: Path) -> list[str]:
    return [name for name in files(beamtime) if name.endswith(".chi")]


def edit(beamtime: Path, **changes: Any) -> None:
    path = beamtime / "cal.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_every_image_becomes_its_curves(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert saxsdog(beamtime) == 0
    assert curves(beamtime) == CURVES
    frame = read_frame(beamtime / "data" / "a.tif")
    expected = Reducer(Calibration.from_file(beamtime / "cal.json")).reduce(frame.image, count_cutoff=1000)
    for curve, name in zip(expected, ["a.chi", "a_cS1.chi"], strict=True):
        np.testing.assert_array_equal(read_chi(beamtime / "work" / name).curve.intensity, curve.intensity)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{beamtime}/data/a.tif: a.chi, a_cS1.chi"
    assert lines[-1] == "3 images: 3 reduced, 0 skipped, 0 failed"


def test_calibration_of_deployed_programs_may_say_0_for_their_own_default(beamtime: Path) -> None:
    mask = json.loads((beamtime / "cal.json").read_text())["Masks"][0]
    edit(beamtime, Threads=0, Masks=[mask | {"qStop": 0}])
    assert saxsdog(beamtime) == 0
    assert curves(beamtime) == CURVES
    listed = (beamtime / "results" / "filelist_data.log").read_text().splitlines()
    assert sum(line.endswith("a.chi, 0.0, 0.0, 0.0") for line in listed) == 1
    edit(beamtime, Unknown=1)
    assert saxsdog(beamtime) == 2


@pytest.mark.parametrize("threads", ["1", "3"])
def test_calibration_that_contradicts_the_images_is_told_once(
    beamtime: Path, capsys: pytest.CaptureFixture[str], threads: str
) -> None:
    for number in range(9):
        header = PilatusHeader(entries={"Wavelength": "15.4 A", "Detector_distance": "1.00000 m"})
        write_frame(beamtime / "data" / f"x{number}.tif", np.ones((60, 80)), header)
    for name in ("a", "b"):
        (beamtime / "data" / f"{name}.tif").unlink()
    (beamtime / "data" / "more" / "c.tif").unlink()
    assert saxsdog(beamtime, "-t", threads) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        rf"saxsdog: {beamtime}/cal\.json contradicts the header of {beamtime}/data/x\d\.tif: "
        r"Wavelength 1\.54, in the image 15\.4 A",
        line,
    )


def test_mask_that_leaves_no_pixel_is_told(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(beamtime / "all.npy", np.full((60, 80), 255, "u1"))
    mask = json.loads((beamtime / "cal.json").read_text())["Masks"][0]
    edit(beamtime, Masks=[mask | {"MaskFile": "all.npy"}])
    assert saxsdog(beamtime) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"saxsdog: Masks[0] of {beamtime}/cal.json makes a curve of NaN: all.npy masks every pixel")


@pytest.mark.parametrize("threads", ["1", "4"])
def test_any_number_of_threads_gives_the_same_files(beamtime: Path, threads: str) -> None:
    assert saxsdog(beamtime, "-t", threads) == 0
    assert curves(beamtime) == CURVES


def test_file_list_names_each_curve_with_its_integrals(beamtime: Path) -> None:
    assert saxsdog(beamtime) == 0
    lines = (beamtime / "results" / "filelist_data.log").read_text().splitlines()
    assert sorted(line.split(",")[0] for line in lines) == [f"/{name}" for name in CURVES]
    by_name = {line.split(", ")[0]: [float(value) for value in line.split(", ")[1:]] for line in lines}
    integral = read_chi(beamtime / "work" / "a.chi").curve.integral
    assert by_name["/work/a.chi"] == [integral.I0, integral.I1, integral.I2]
    assert by_name["/work/a_cS1.chi"] == [0, 0, 0]


def test_file_list_is_left_away_where_not_wanted(beamtime: Path) -> None:
    edit(beamtime, **{"Live-Filelisting": False})
    assert saxsdog(beamtime) == 0
    assert not (beamtime / "results").exists()


def test_relative_output_folder(beamtime: Path) -> None:
    for option in ("-R", "--relpath", "--reldpath"):
        assert saxsdog(beamtime, option, f"here{option.strip('-')}", "-n") == 0
        assert (beamtime / "data" / f"here{option.strip('-')}" / "a_cS1.chi").exists()


def test_one_output_folder_carries_the_path_in_the_names(beamtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(beamtime)
    assert main(["-o", "out", "data"]) == 0  # cal.json is the default
    assert files(beamtime / "out") == [
        "data_a.chi", "data_a_cS1.chi", "data_b.chi", "data_b_cS1.chi", "data_more_c.chi", "data_more_c_cS1.chi",
    ]  # fmt: skip


def test_nowalk_stays_in_the_folder(beamtime: Path) -> None:
    assert saxsdog(beamtime, "-n") == 0
    assert curves(beamtime) == CURVES[2:]


def test_walking_in_threads_finds_the_same(beamtime: Path) -> None:
    assert saxsdog(beamtime, "-D", "-t", "2") == 0
    assert curves(beamtime) == CURVES


def test_hidden_files_and_other_files_are_left_alone(beamtime: Path) -> None:
    (beamtime / "data" / ".a.tif.123.tmp.tif").write_bytes(b"half")
    (beamtime / "data" / "notes.txt").write_text("")
    assert saxsdog(beamtime) == 0
    assert curves(beamtime) == CURVES


def test_links_out_of_the_tree_are_not_followed(beamtime: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_frame(elsewhere / "x.tif", np.ones((60, 80)))
    (beamtime / "data" / "link").symlink_to(elsewhere)
    assert saxsdog(beamtime) == 0
    assert curves(beamtime) == CURVES


def test_resume_does_what_is_missing_stale_or_cut_short(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert saxsdog(beamtime) == 0
    capsys.readouterr()
    assert saxsdog(beamtime, "-r") == 0
    assert "3 images: 0 reduced, 3 skipped, 0 failed" in capsys.readouterr().out
    (beamtime / "work" / "a_cS1.chi").unlink()
    short = beamtime / "work" / "b.chi"
    short.write_text(short.read_text()[:-30])
    newer = (beamtime / "data" / "work" / "c.chi").stat().st_mtime + 10
    os.utime(beamtime / "data" / "more" / "c.tif", (newer, newer))
    assert saxsdog(beamtime, "-r") == 0
    assert "3 images: 3 reduced, 0 skipped, 0 failed" in capsys.readouterr().out
    assert curves(beamtime) == CURVES
    assert len((beamtime / "results" / "filelist_data.log").read_text().splitlines()) == 12  # kept, and added to


def test_curves_are_kept_where_overwriting_is_off(beamtime: Path) -> None:
    edit(beamtime, OverwriteFiles=False)
    (beamtime / "work").mkdir()
    (beamtime / "work" / "a.chi").write_text("mine")
    assert saxsdog(beamtime) == 0
    assert (beamtime / "work" / "a.chi").read_text() == "mine"
    assert curves(beamtime) == CURVES


def test_pictures(beamtime: Path) -> None:
    assert saxsdog(beamtime, "-s", "-p", "-n", "-t", "2") == 0
    assert (beamtime / "work" / "a.svg").read_text().startswith("<?xml")
    assert (beamtime / "work" / "b.png").read_bytes().startswith(b"\x89PNG")


def test_silent_says_nothing(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert saxsdog(beamtime, "-S") == 0
    assert capsys.readouterr() == ("", "")


def test_profile_tells_where_the_time_goes(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert saxsdog(beamtime, "-P") == 0
    assert "function calls" in capsys.readouterr().out


# tifffile logs an ERROR beside raising where a header is damaged.
@pytest.mark.logs_errors
def test_bad_images_are_named_and_the_others_done(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = beamtime / "data"
    (data / "empty.tif").touch()
    (data / "text.tif").write_text("no image at all")
    (data / "short.tif").write_bytes((data / "a.tif").read_bytes()[:-1])
    for name in ("empty", "text", "short"):
        os.utime(data / f"{name}.tif", (1e9, 1e9))  # of long ago: no one is still writing
    write_frame(data / "wrong.tif", np.ones((80, 60)))
    assert saxsdog(beamtime, "-t", "2") == 1
    assert curves(beamtime) == CURVES
    output = capsys.readouterr()
    assert output.out.splitlines()[-1] == "7 images: 3 reduced, 0 skipped, 4 failed"
    complaints = output.err.splitlines()
    assert len(complaints) == 4
    for name, reason in {
        "empty": "wanted a TIFF image, found an empty file",
        "text": "wanted a TIFF image, found an unreadable file",
        "short": "wanted an image that ends at byte",
        "wrong": f"wanted an image of shape (60, 80) (Imagesize in {beamtime}/cal.json), found (80, 60)",
    }.items():
        assert any(line.startswith(f"{data}/{name}.tif: {reason}") for line in complaints), name


def test_output_folder_that_cannot_be_made_fails_each_image(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (beamtime / "work").write_text("a file in the way")
    assert saxsdog(beamtime, "-n") == 1
    assert f"{beamtime}/data/a.tif: " in capsys.readouterr().err


def test_images_that_would_share_a_curve_file_are_told(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_frame(beamtime / "data" / "a.tiff", np.ones((60, 80)))
    assert saxsdog(beamtime, "-n") == 1
    assert (
        f"{beamtime}/data/a.tiff: wanted names of its own for its curves, found those of {beamtime}/data/a.tif"
        in capsys.readouterr().err
    )


def break_calibration(beamtime: Path) -> None:
    edit(beamtime, Wavelenght=1.0)


def break_mask(beamtime: Path) -> None:
    (beamtime / "mask.msk").write_bytes(b"")
    edit(beamtime, Masks=[{"MaskFile": "mask.msk"}])


def wrong_mask(beamtime: Path) -> None:
    np.save(beamtime / "mask.npy", np.zeros((3, 4)))
    edit(beamtime, Masks=[{"MaskFile": "mask.npy"}])


def no_calibration(beamtime: Path) -> None:
    (beamtime / "cal.json").unlink()


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (break_calibration, r'cal\.json: unknown key "Wavelenght", did you mean "Wavelength"\?'),
        (break_mask, r"mask\.msk: wanted a mask, found an empty file \(MaskFile in Masks\[0\] of .*cal\.json\)"),
        (wrong_mask, r"mask\.npy: wanted a mask of shape \(60, 80\) .* found \(3, 4\)"),
        (no_calibration, r"cal\.json: wanted a calibration file, found No such file"),
    ],
)
def test_bad_calibration_is_wrong_usage(
    beamtime: Path, capsys: pytest.CaptureFixture[str], breakage: Any, message: str
) -> None:
    breakage(beamtime)
    assert saxsdog(beamtime) == 2
    (complaint,) = capsys.readouterr().err.splitlines()
    assert re.search(f"^saxsdog: .*{message}", complaint)


def test_debug_shows_where_an_error_arose(beamtime: Path) -> None:
    no_calibration(beamtime)
    with pytest.raises(Exception, match="wanted a calibration file"):
        saxsdog(beamtime, "--debug")


def test_window_needs_a_display(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert saxsdog(beamtime, "-m") == 2
    assert "no display, or no toolkit for a window" in capsys.readouterr().err


def test_wrong_usage(beamtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", str(beamtime / "cal.json"), str(beamtime / "nowhere")]) == 2
    assert "nowhere: no such folder of images" in capsys.readouterr().err
    for arguments in ([], ["-t", "0", "."], ["-t", "many", "."], ["--nonsense", "."]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "usage: saxsdog" in capsys.readouterr().err


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in "ctrofRspPSnDwmVh":
        assert re.search(rf"^  -{option}[ ,].*--", text, re.MULTILINE), option


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "import sys; from saxs_bluesky.cli.saxsdog import main; sys.exit(main())", *arguments]


def test_terminal_shows_how_things_stand(beamtime: Path) -> None:
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, (24, 100))
    process = subprocess.Popen(command("-c", str(beamtime / "cal.json"), str(beamtime / "data")), stdout=writer)
    assert process.wait(60) == 0
    os.close(writer)
    text = os.read(reader, 100_000).decode()
    os.close(reader)
    assert re.search(r"done \d, queue \d, failed 0, [\d.]+ frames/s, lag [\d.]+ s", text)
    assert "3 images: 3 reduced, 0 skipped, 0 failed" in text


def test_interrupt_leaves_only_whole_files(beamtime: Path) -> None:
    for number in range(3000):
        os.link(beamtime / "data" / "a.tif", beamtime / "data" / f"n{number:04d}.tif")
    process = subprocess.Popen(
        command("-c", str(beamtime / "cal.json"), "-t", "2", str(beamtime / "data")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    work = beamtime / "work"
    deadline = time.monotonic() + 60
    while len(list(work.glob("*.chi"))) < 20 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    left, interrupted = errors.splitlines()
    assert re.match(r"saxsdog: \d+ images were found and not done; start again to do them: ", left)
    assert interrupted == "saxsdog: interrupted"
    written = list(work.iterdir())
    assert 20 <= len(written) < 6000
    for path in written:
        assert path.suffix == ".chi"
        read_chi(path)


def test_command_starts_without_what_draws() -> None:
    code = "import sys, saxs_bluesky.cli.saxsdog; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"matplotlib", "numba", "pandas", "tiled"} & set(loaded)
