"""``plotchi`` as a user runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image as Picture

from saxs_bluesky.cli.plotchi import main
from saxs_bluesky.errors import CurveFileError
from saxs_bluesky.reduction import Calibration, Curve, in_unit, read_chi, write_chi

BACKEND = """
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

class Manager(FigureManagerBase):
    def show(self):
        print("window", self.get_window_title(), [line.get_label() for line in self.canvas.figure.axes[0].lines])

    @classmethod
    def start_main_loop(cls):
        print("waiting until it is closed")

class FigureCanvas(FigureCanvasAgg):
    manager_class = Manager
"""


@pytest.fixture
def folder(tmp_path: Path, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a.chi and b.chi (40 points over q), and phi.chi (over the azimuth)."""
    calibration = Calibration.from_dict(document)
    q = np.linspace(0.1, 4, 40)
    for name, height in (("a", 100.0), ("b", 110.0)):
        intensity = height / q
        write_chi(
            tmp_path / f"{name}.chi", Curve("R0", "radial", q, "q", "1/nm", intensity, intensity**0.5), calibration
        )
    write_chi(tmp_path / "phi.chi", Curve("P0", "azimuthal", q, "phi", "rad", q, q), calibration)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def texts(svg: Path) -> list[str]:
    """What is written in a picture; Matplotlib notes it beside the outlines of the letters."""
    return re.findall(r"<!-- (.*?) -->", svg.read_text())


def run_without_display(folder: Path, backend: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    program = "import sys; from saxs_bluesky.cli.plotchi import main; sys.exit(main(['a.chi', 'b.chi']))"
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment | {"MPLBACKEND": backend, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_picture_is_written_and_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-o", "both.png", "a.chi", "b.chi"]) == 0
    assert capsys.readouterr() == ("both.png: written\n", "")
    with Picture.open("both.png") as picture:
        assert picture.format == "PNG"


def test_legend_names_the_files(folder: Path) -> None:
    main(["-o", "both.svg", "-t", "Two runs, 50 % $cheaper", "a.chi", "b.chi"])
    written = texts(folder / "both.svg")
    assert {"a", "b", "Two runs, 50 % $cheaper", "Intensity (counts/pixel)"} <= set(written)


def test_legend_tells_files_of_one_name_apart(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "a.chi").write_bytes((folder / "a.chi").read_bytes())
    main(["-o", "both.svg", "a.chi", "other/a.chi", "b.chi"])
    assert {"a.chi", "other/a.chi", "b"} <= set(texts(folder / "both.svg"))


def test_same_file_twice_is_two_curves(folder: Path) -> None:
    assert main(["-c", "-o", "both.svg", "a.chi", "a.chi"]) == 0
    assert texts(folder / "both.svg").count("a.chi") == 2


@pytest.mark.parametrize("option", ["-n", "--no-legend"])
def test_legend_can_be_left_out(folder: Path, option: str) -> None:
    main([option, "-o", "both.svg", "a.chi", "b.chi"])
    assert not {"a", "b"} & set(texts(folder / "both.svg"))


@pytest.mark.parametrize("option", ["-c", "--compare"])
def test_comparison_is_to_the_first(folder: Path, option: str) -> None:
    assert main([option, "-o", "both.svg", "b.chi", "a.chi"]) == 0
    assert {"Difference to b", "counts/pixel", "percent"} <= set(texts(folder / "both.svg"))


def test_comparison_wants_two_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["-c", "-o", "one.png", "a.chi"])
    assert stop.value.code == 2
    assert "-c/--compare: needs at least two files" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["-x", "--xaxisistype", "--xaxsistype", "-y", "--yaxisistype", "--yaxsistype"])
def test_scales_have_two_spellings(folder: Path, option: str) -> None:
    for name, options in {"a": [option, "log"], "x": ["-x", "log"], "y": ["-y", "log"]}.items():
        assert main([*options, "-o", f"{name}.svg", "a.chi"]) == 0
    same, other = ("x", "y") if "x" in option[:3] else ("y", "x")
    assert (folder / "a.svg").read_bytes() == (folder / f"{same}.svg").read_bytes()
    assert (folder / "a.svg").read_bytes() != (folder / f"{other}.svg").read_bytes()


def test_log_is_a_logarithmic_intensity(folder: Path) -> None:
    for name, options in {"l": ["-l"], "log": ["--log"], "y": ["-y", "log"], "linear": []}.items():
        main([*options, "-o", f"{name}.svg", "a.chi"])
    log, same, again, linear = ((folder / f"{name}.svg").read_bytes() for name in ("l", "log", "y", "linear"))
    assert log == same == again != linear


def test_unknown_scale_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["-x", "cubic", "a.chi"])
    assert stop.value.code == 2
    assert "choose from" in capsys.readouterr().err


def test_ends_are_left_out(folder: Path) -> None:
    whole, cut = folder / "whole.svg", folder / "cut.svg"
    for options, path in (([], whole), (["-s", "0", "-k", "1"], cut)):
        main([*options, "-o", str(path), "a.chi"])
    assert whole.read_bytes() == cut.read_bytes()  # the last point, by default
    main(["--skip", "20", "--clip", "10", "-o", str(cut), "a.chi"])
    ticks = [float(text) for text in texts(cut) if re.fullmatch(r"\d+\.\d+", text)]
    assert {2.2, 3.0} <= set(ticks)
    assert min(ticks) > 2


@pytest.mark.parametrize(("skip", "clip"), [(40, 0), (0, 40), (39, 1), (10_000, 10_000)])
def test_nothing_left_between_the_ends_is_an_error(
    folder: Path, skip: int, clip: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-s", str(skip), "-k", str(clip), "-o", "a.png", "a.chi"]) == 1
    assert capsys.readouterr().err == (
        f"plotchi: a.chi: wanted points to draw between the first {skip} (-s) and the last {clip} (-k), "
        "found 40 in all\n"
    )
    assert not (folder / "a.png").exists()


def test_single_point_can_be_drawn(folder: Path) -> None:
    assert main(["-s", "39", "-k", "0", "-l", "-o", "a.png", "a.chi"]) == 0


@pytest.mark.parametrize("count", ["-1", "1.5", "many", "²"])
def test_number_of_points_is_checked(folder: Path, count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["-s", count, "a.chi"])
    assert stop.value.code == 2
    assert f"wanted a number from 0 up, found {count}" in capsys.readouterr().err


def test_unreadable_file_is_named_and_the_others_are_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "cut.chi").write_bytes((folder / "a.chi").read_bytes()[:-500])
    assert main(["-o", "both.svg", "absent.chi", "a.chi", "cut.chi", "b.chi"]) == 1
    said, complained = capsys.readouterr()
    assert said == "both.svg: written\n"
    first, second = complained.splitlines()
    assert first == "plotchi: absent.chi: wanted a .chi file, found No such file or directory"
    assert second.startswith("plotchi: cut.chi: wanted")
    assert {"a", "b"} <= set(texts(folder / "both.svg"))


def test_comparison_goes_on_with_the_first_readable_file_and_says_so(folder: Path) -> None:
    assert main(["-c", "-o", "both.svg", "absent.chi", "a.chi", "b.chi"]) == 1
    assert "Difference to a" in texts(folder / "both.svg")


def test_comparison_with_one_readable_file_is_that_curve(folder: Path) -> None:
    assert main(["-c", "-o", "one.svg", "a.chi", "absent.chi"]) == 1
    assert "percent" not in texts(folder / "one.svg")


def test_no_readable_file_makes_no_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "noise.chi").write_bytes(bytes(range(256)))
    assert main(["-o", "none.png", "noise.chi", ".", "absent.chi"]) == 1
    said, complained = capsys.readouterr()
    assert said == ""
    assert [line.split(":")[1].strip() for line in complained.splitlines()] == ["noise.chi", ".", "absent.chi"]
    assert not (folder / "none.png").exists()


def test_debug_shows_where_an_error_arose(folder: Path) -> None:
    with pytest.raises(CurveFileError):
        main(["--debug", "-o", "none.png", "absent.chi"])


def test_curves_of_different_kinds_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-o", "both.png", "a.chi", "phi.chi"]) == 2
    assert capsys.readouterr().err.startswith("plotchi: phi: wanted an axis in 1/nm as in a, found phi in rad")


def fit2d(name: str, axis: str, scale: float, intensity: float = 1.0) -> None:
    rows = "".join(f"  {q * scale:.7E}  {100 * intensity / q:.7E}\n" for q in np.linspace(0.1, 4, 40))
    Path(name).write_text(f"x.tif: Azimuthal integration\n {axis}\n Intensity\n       40\n{rows}")


@pytest.mark.parametrize("compare", [["-c"], []])
@pytest.mark.parametrize("other", ["a.chi", "nm.chi"])
def test_curves_in_1_nm_and_1_a_are_refused_with_the_remedy(
    folder: Path, capsys: pytest.CaptureFixture[str], other: str, compare: list[str]
) -> None:
    fit2d("nm.chi", "Q value (Inverse Nanometres)", 1.0)
    fit2d("A.chi", "Q value (Inverse Angstroms)", 0.1)
    assert main([*compare, "-o", "both.png", other, "A.chi"]) == 2
    error = capsys.readouterr().err
    assert f"A: wanted an axis in 1/nm as in {other[:-4]}, found q in 1/A: one picture has one axis" in error
    assert "plotchi -u 1/nm converts" in error
    assert not Path("both.png").exists()


@pytest.mark.parametrize(("unit", "title", "last"), [("1/nm", "nm", 3.9), ("1/A", "\u00c5", 0.39)])
def test_units_are_converted_where_asked_for(
    folder: Path, unit: str, title: str, last: float, capsys: pytest.CaptureFixture[str]
) -> None:
    fit2d("A.chi", "Q value (Inverse Angstroms)", 0.1)
    assert main(["-c", "-n", "-u", unit, "-o", "both.svg", "a.chi", "A.chi"]) == 0
    assert capsys.readouterr().err == ""
    assert any(text.startswith("q (") and title in text for text in texts(Path("both.svg")))
    # The same curve in both.
    curves = [in_unit(read_chi(name).curve, unit) for name in ("a.chi", "A.chi")]
    for curve in curves:
        assert (curve.axis_unit, curve.axis[-2]) == (unit, pytest.approx(last))
    np.testing.assert_allclose(curves[0].axis, curves[1].axis, rtol=1e-6)


def test_scattering_angles_are_not_compared_with_q(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit2d("angle.chi", "2-Theta Angle (Degrees)", 1.0)
    assert main(["-c", "-o", "both.png", "a.chi", "angle.chi"]) == 2
    assert "angle: wanted an axis in 1/nm as in a, found 2theta in deg" in capsys.readouterr().err
    assert main(["-u", "1/A", "-o", "both.png", "a.chi", "angle.chi"]) == 1
    assert "angle.chi: wanted an axis that can be given in 1/A, found 2theta in deg" in capsys.readouterr().err


def test_axis_of_no_known_unit_is_drawn_at_the_users_word_and_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit2d("other.chi", "Something", 1.0)
    assert main(["-o", "both.png", "a.chi", "other.chi"]) == 0
    assert "other.chi: the axis ('Something') has no unit, drawn as if in 1/nm" in capsys.readouterr().err


def test_what_a_picture_cannot_show_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit2d("nan.chi", "Q value (Inverse Nanometres)", 1.0, intensity=np.nan)
    assert main(["-o", "a.png", "a.chi", "nan.chi"]) == 0
    assert "nan.chi: no point has an intensity (all NaN), so there is nothing to draw" in capsys.readouterr().err
    fit2d("zero.chi", "Q value (Inverse Nanometres)", -1.0)
    assert main(["-x", "log", "-o", "a.png", "a.chi", "zero.chi"]) == 0
    assert "zero.chi: 39 of 39 points lie at 0 or below, off the logarithmic axis" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a.chi", "wanted a picture's suffix"),  # a forgotten FILE must not cost a curve
        ("picture", "wanted a picture's suffix"),
        ("absent/a.png", "the picture cannot be written (No such file or directory)"),
    ],
)
def test_place_that_cannot_be_written_is_one_line(
    folder: Path, path: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "a.chi").read_bytes()
    assert main(["-o", path, "b.chi"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"plotchi: {path}: {reason}")
    assert (folder / "a.chi").read_bytes() == before


def test_no_window_is_one_line_that_tells_the_way_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mpl.use("agg")
    assert main(["a.chi"]) == 2
    assert capsys.readouterr().err == (
        "plotchi: no display to open a window on; name a file to draw into, such as -o curves.png\n"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have a display always")
def test_windows_asked_for_without_a_display_are_the_same_error(folder: Path) -> None:
    done = run_without_display(folder, "TkAgg")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("plotchi: no display to open a window on")
    assert len(done.stderr.splitlines()) == 1


def test_window_opens_and_stays(folder: Path) -> None:
    (folder / "painted_window.py").write_text(BACKEND)
    done = run_without_display(folder, "module://painted_window")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["window plotchi ['a', 'b']", "waiting until it is closed"]


def test_help_shows_one_spelling_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--xaxisistype SCALE" in text
    assert "axsis" not in text
    assert "plotchi -l -o all.png work/*.chi" in text


def test_files_of_fit2d_and_of_an_early_saxsdog(shared_data: Path, tmp_path: Path) -> None:
    files = [str(shared_data / f"pilatus1m_buffer.{program}.chi") for program in ("fit2d", "saxsdog2014")]
    assert main(["-l", "-c", "-o", str(tmp_path / "both.svg"), *files]) == 0
    assert {"pilatus1m_buffer.fit2d", "pilatus1m_buffer.saxsdog2014"} <= set(texts(tmp_path / "both.svg"))
