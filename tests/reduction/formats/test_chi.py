""".chi files: the byte layout that users' scripts read, and the files of others."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky import __version__
from saxs_bluesky.errors import CurveFileError, OutputError
from saxs_bluesky.reduction import (
    Calibration,
    Curve,
    CurveProvenance,
    IntegralParameters,
    Reducer,
    chi_is_whole,
    first_line,
    first_line_if_whole,
    provenance_in,
    read_chi,
    write_chi,
)

CURVE = Curve(
    name="R0",
    kind="radial",
    axis=np.array([0.25, 0.75, 1.25]),
    axis_label="q",
    axis_unit="1/nm",
    intensity=np.array([np.nan, 2.0, 1 / 3]),
    sigma=np.array([np.nan, 0.5, 0.125]),
    integral=IntegralParameters(1.5, 2.5, 3.5),
)


@pytest.fixture
def calibration(document: dict[str, Any]) -> Calibration:
    document["Masks"].append({"Phi-mode": True, "qStop": 20.0})
    document["Slices"] = [{"CutPosition": 5}, {"CutPosition": 5, "Direction": "y", "Plane": "Vertical"}]
    return Calibration.from_dict(document)


def test_layout_byte_by_byte(tmp_path: Path, calibration: Calibration) -> None:
    write_chi(tmp_path / "a.chi", CURVE, calibration)
    first, rest = (tmp_path / "a.chi").read_text().split("\n", 1)
    assert json.loads(first) == calibration.document
    assert rest == (
        '{"I0": 1.5, "I1": 2.5, "I2": 3.5}\n'
        '["Scattering Vector  q [$nm^{-1}$]", "Intensity (Count/Pixel)", "Error Margin"]\n'
        "      3\n"
        " 2.500000000000000000e-01 nan nan\n"
        " 7.500000000000000000e-01 2.000000000000000000e+00 5.000000000000000000e-01\n"
        " 1.250000000000000000e+00 3.333333333333333148e-01 1.250000000000000000e-01\n"
    )


def test_rows_are_those_of_savetxt(tmp_path: Path, calibration: Calibration) -> None:
    write_chi(tmp_path / "a.chi", CURVE, calibration)
    columns = np.column_stack([CURVE.axis, CURVE.intensity, CURVE.sigma])
    np.savetxt(tmp_path / "b.txt", columns, fmt=" %.18e %.18e %.18e")
    assert (tmp_path / "a.chi").read_text().split("\n", 4)[4] == (tmp_path / "b.txt").read_text()
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "a.chi", skiprows=4), columns)


def test_rows_of_any_numbers_are_those_of_python(tmp_path: Path, calibration: Calibration) -> None:
    axis = np.array([-2.5, -1e-12, 0.0, 1e-5, 3e20])
    intensity, sigma = np.array([np.inf, -1.5, 0.0, 1e300, np.nan]), np.array([5e-324, 1.0, -0.0, np.nan, 2.0])
    write_chi(tmp_path / "a.chi", Curve("W", "recipe", axis, "width", "mm", intensity, sigma), calibration)
    rows = (tmp_path / "a.chi").read_text().split("\n", 4)[4]
    assert rows == "".join(
        f" {x:.18e} {y:.18e} {error:.18e}\n" for x, y, error in zip(axis, intensity, sigma, strict=True)
    )


def test_numbers_of_other_types_are_written_as_floats(tmp_path: Path, calibration: Calibration) -> None:
    curve = Curve("W", "recipe", np.arange(2), "width", "mm", np.arange(2), np.ones(2, np.float32))  # type: ignore[arg-type]
    write_chi(tmp_path / "a.chi", curve, calibration)
    rows = np.loadtxt(tmp_path / "a.chi", skiprows=4)
    np.testing.assert_array_equal(rows, [[0, 0, 1], [1, 1, 1]])


def test_every_kind_of_curve_reads_back_exactly(
    tmp_path: Path, calibration: Calibration, rng: np.random.Generator
) -> None:
    for curve in Reducer(calibration).reduce(rng.poisson(5, (60, 80))):
        path = tmp_path / f"a_c{curve.name}.chi"
        write_chi(path, curve, calibration)
        again = read_chi(path)
        for field in ("axis", "intensity", "sigma"):
            np.testing.assert_array_equal(getattr(again.curve, field), getattr(curve, field))
        for field in ("name", "kind", "axis_label", "axis_unit"):
            assert getattr(again.curve, field) == getattr(curve, field)
        assert again.curve.integral == replace(curve.integral, coverage=math.nan)  # which files do not tell
        assert again.calibration == calibration.document
        assert len(again.header) == 4


def test_labels_of_slices_and_phi_mode(tmp_path: Path, calibration: Calibration) -> None:
    curves = Reducer(calibration).reduce(np.ones((60, 80)))
    headers = []
    for curve in curves:
        write_chi(tmp_path / "a.chi", curve, calibration)
        headers.append((tmp_path / "a.chi").read_text().split("\n")[1:4])
    assert headers[1][0] == '{"I0": 0.0, "I1": 0.0, "I2": 0.0}'
    assert json.loads(headers[1][1])[0] == "Phi Angle [rad]"
    assert json.loads(headers[2][0])[0] == "horizontal scattering vector  $ q_{h} [nm^{-1}]$"
    assert headers[2][1:] == ["Intensity", "     80"]
    assert json.loads(headers[3][0])[0] == "vertical scattering Vector $q_{v} [nm^{-1}]$"


def test_curve_of_a_recipe_keeps_its_label(tmp_path: Path, calibration: Calibration) -> None:
    curve = Curve("W", "recipe", np.array([1.0]), "width", "mm", np.array([2.0]), np.array([3.0]))
    write_chi(tmp_path / "a_cW.chi", curve, calibration)
    again = read_chi(tmp_path / "a_cW.chi").curve
    assert (again.name, again.kind, again.axis_label, again.axis_unit) == ("W", "recipe", "width", "mm")


def test_fit2d_file_reads(shared_data: Path) -> None:
    chi = read_chi(shared_data / "pilatus1m_buffer.fit2d.chi")
    assert chi.curve.axis.shape == (1002,)
    assert chi.curve.intensity[13] == pytest.approx(4294.9194)
    assert np.isnan(chi.curve.sigma).all()
    assert (chi.curve.axis_label, chi.curve.axis_unit) == ("q", "1/nm")
    assert chi.calibration is None


def write_plain(path: Path, title: bytes, axis: bytes, end: bytes = b"\n") -> None:
    lines = [title, axis, b" Intensity", b"       3", b"  1.0E-1  5.0E+0", b"  2.0E-1  6.0E+0", b"  3.0E-1  7.0E+0"]
    path.write_bytes(end.join(lines) + end)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize(
    ("title", "found"),
    [
        ("Pr\u00f6be_5\u00b5m.tif".encode("latin-1"), "Pr\u00f6be_5\u00b5m.tif"),
        ("Pr\u00f6be_5\u00b5m.tif".encode(), "Pr\u00f6be_5\u00b5m.tif"),
        ("Pr\u00f6be.tif".encode("utf-8-sig"), "Pr\u00f6be.tif"),
        ("10\u20ac\u2026.tif".encode("cp1252"), "10\u20ac\u2026.tif"),  # Latin-1 would end the line at the dots
        (b"a\x81b.tif", "a\x81b.tif"),  # in neither
        ("a\u2028b\x0cc.tif".encode(), "a\u2028b\x0cc.tif"),  # ends of lines for Python, not for others
    ],
)
def test_titles_in_the_encodings_of_other_programs(tmp_path: Path, title: bytes, found: str, end: bytes) -> None:
    write_plain(tmp_path / "a.chi", title, b"Q value (Inverse Nanometres)", end)
    chi = read_chi(tmp_path / "a.chi")
    assert chi.header[0] == found
    np.testing.assert_array_equal(chi.curve.intensity, [5, 6, 7])
    assert (chi.curve.axis_label, chi.curve.axis_unit) == ("q", "1/nm")


@pytest.mark.parametrize(
    ("text", "label", "unit"),
    [
        ("Q value (Inverse Nanometres)", "q", "1/nm"),
        (" Q value (Inverse Angstroms)", "q", "1/A"),
        ("q_A^-1", "q", "1/A"),
        ("q_nm^-1", "q", "1/nm"),
        ("q [nm^-1]", "q", "1/nm"),
        ("q (\u00c5^-1)", "q", "1/A"),
        ("q [1/A]", "q", "1/A"),
        ("Scattering vector $q$ ($\\AA^{-1}$)", "q", "1/A"),
        ("2-Theta Angle (Degrees)", "2theta", "deg"),
        ("2th_deg", "2theta", "deg"),
        ("2th_rad", "2theta", "rad"),
        ("Radial Distance (mm)", "Radial Distance (mm)", ""),
        ("Q value (Inverse Meters)", "Q value (Inverse Meters)", ""),
        ("q", "q", ""),
        ('["q [$\\\\AA^{-1}$]", "I", "e"]', "q", "1/A"),
    ],
)
def test_axes_of_other_programs_have_units(tmp_path: Path, text: str, label: str, unit: str) -> None:
    write_plain(tmp_path / "a.chi", b"title", text.encode("latin-1", "replace"))
    curve = read_chi(tmp_path / "a.chi").curve
    assert (curve.axis_label, curve.axis_unit) == (label, unit)


def test_early_saxsdog_file_reads(shared_data: Path) -> None:
    curve = read_chi(shared_data / "pilatus1m_buffer.saxsdog2014.chi").curve
    assert curve.axis.shape == (1003,)
    assert (curve.axis_label, curve.axis_unit) == ("q", "1/nm")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "wanted a number of rows in line 4, found no .chi file"),
        ("a\nb\nc\nd\n", "wanted a number of rows in line 4, found no .chi file"),
        ("a\nb\nc\n 3\n 1 2 3\n 1 2 3\n", r"wanted 3 rows \(line 4\), found 2"),
        ("a\nb\nc\n 2\n 1 2 3\n 1 2\n", "wanted rows of numbers, found"),
        ("a\nb\nc\n 1\n 1 two 3\n", "wanted rows of numbers, found could not convert string to float: 'two'"),
        ("a\nb\nc\n 1\n 1\n", r"wanted rows of two or three numbers, found shape \(1, 1\)"),
        ("a\nb\nc\n 0\n", "wanted rows of two or three numbers"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.chi").write_text(text)
    with pytest.raises(CurveFileError, match=rf"bad\.chi: {message}"):
        read_chi(tmp_path / "bad.chi")


def test_file_of_bytes_and_absent_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.chi").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CurveFileError, match="found bytes that are no text"):
        read_chi(tmp_path / "bad.chi")
    with pytest.raises(CurveFileError, match=r"gone\.chi: wanted a \.chi file, found No such file"):
        read_chi(tmp_path / "gone.chi")


@pytest.mark.parametrize("rows", [1, 3, 12])
def test_file_is_whole_with_its_last_byte_only(tmp_path: Path, calibration: Calibration, rows: int) -> None:
    path, axis = tmp_path / "a.chi", np.arange(1.0, rows + 1)
    write_chi(path, Curve("R0", "radial", axis, "q", "1/nm", axis, axis), calibration)
    assert chi_is_whole(path)
    content = path.read_bytes()
    for size in reversed(range(len(content))):
        os.truncate(path, size)
        assert not chi_is_whole(path)
    path.write_bytes(content + content[-76:])
    assert not chi_is_whole(path)
    path.write_bytes(content[:-100].ljust(len(content), b"\0"))  # as after a power cut
    assert not chi_is_whole(path)


@pytest.mark.parametrize(
    "content", [b"", b"\n\n\n\n", b"a\nb\nc\nd\n 1 2 3\n", b"a\nb\nc\n \n", b"a\nb\nc\n 1\n 1 2 3"]
)
def test_what_is_no_chi_file_is_not_whole(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.chi").write_bytes(content)
    assert not chi_is_whole(tmp_path / "a.chi")


def test_whole_files_of_others_and_absent_ones(tmp_path: Path, shared_data: Path) -> None:
    assert chi_is_whole(shared_data / "pilatus1m_buffer.saxsdog2014.chi")
    assert chi_is_whole(shared_data / "pilatus1m_buffer.fit2d.chi")
    assert not chi_is_whole(tmp_path / "gone.chi")
    assert not chi_is_whole(tmp_path)


def test_nothing_half_written_is_left_where_writing_fails(tmp_path: Path, calibration: Calibration) -> None:
    target = tmp_path / "a.chi"
    target.mkdir()  # a folder in the way: the last step, taking the name, fails
    with pytest.raises(OutputError, match=r"a\.chi: the curve cannot be written \("):
        write_chi(target, CURVE, calibration)
    assert [path.name for path in tmp_path.iterdir()] == ["a.chi"]


def test_full_disk_is_told_and_keeps_the_old_curve(
    tmp_path: Path, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    write_chi(tmp_path / "a.chi", CURVE, calibration)
    before = (tmp_path / "a.chi").read_bytes()

    def fail(self: Path, *_: Any, **__: Any) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        write_chi(tmp_path / "a.chi", CURVE, calibration)
    assert (tmp_path / "a.chi").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


# What curves say of their making

MADE = CurveProvenance("ca" * 32, ("ab" * 32, "cd" * 32), "/data/a.tif", 4711)


def test_provenance_is_one_more_key_of_the_first_line(tmp_path: Path, calibration: Calibration) -> None:
    write_chi(tmp_path / "a.chi", CURVE, calibration)
    write_chi(tmp_path / "b.chi", CURVE, calibration, MADE)
    before, after = ((tmp_path / name).read_text().split("\n", 1) for name in ("a.chi", "b.chi"))
    assert after[1] == before[1]
    assert after[0].startswith(before[0][:-1])
    assert json.loads(after[0]) == calibration.document | {
        "Provenance": {
            "software": "saxs-bluesky",
            "version": __version__,
            "calibration_sha256": "ca" * 32,
            "mask_sha256": ["ab" * 32, "cd" * 32],
            "image": "/data/a.tif",
            "image_stamp": 4711,
        }
    }
    found = read_chi(tmp_path / "b.chi")
    assert found.provenance == MADE
    assert found.calibration == calibration.document
    assert read_chi(tmp_path / "a.chi").provenance is None


@pytest.mark.parametrize(
    "made",
    [
        MADE,
        replace(MADE, frame=3),
        replace(MADE, image="", image_stamp=None, frame=0, run="0a1b"),
        replace(MADE, mask_sha256=()),
        replace(MADE, image='/data/"Provenance": {"x", "Provenance": {}}\\\n\u2028\udcff.tif'),
        replace(MADE, software="other", version="9"),
    ],
)
def test_provenance_reads_back(tmp_path: Path, calibration: Calibration, made: CurveProvenance) -> None:
    write_chi(tmp_path / "a.chi", CURVE, calibration, made)
    assert read_chi(tmp_path / "a.chi").provenance == made
    assert (tmp_path / "a.chi").read_bytes().isascii()
    assert provenance_in(first_line(tmp_path / "a.chi") or b"") == made
    assert first_line(tmp_path / "a.chi") == first_line_if_whole(tmp_path / "a.chi")


def test_first_line_is_a_calibration(tmp_path: Path, calibration: Calibration) -> None:
    write_chi(tmp_path / "a.chi", CURVE, calibration, MADE)
    (tmp_path / "cal.json").write_bytes(first_line(tmp_path / "a.chi") or b"")
    assert Calibration.from_file(tmp_path / "cal.json").document == calibration.document
    assert Calibration.from_file(tmp_path / "cal.json").sha256 == calibration.sha256


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"Title": "a"}',
        b'{"Title": ", \\"Provenance\\": {}"}',
        b'{"Title": "a", "Provenance": {}}',
        b'{"Title": "a", "Provenance": [1]}',
        b'{"Title": "a", "Provenance": {"image": 1}}',
        b'{"Title": "a", "Provenance": {"calibration_sha256": "c", "mask_sha256": 1, "image": "", "image_stamp": 1}}',
        b'{"Title": "a", "Provenance": {"calibration_sha256": "c", "mask_sha256": [], "image": "a", "image_sta',
        b'{"Title": "a", "Provenance": \xff\xfe}}',
    ],
)
def test_line_that_tells_nothing_of_the_making(line: bytes) -> None:
    assert provenance_in(line) is None


def test_long_first_line_is_found_whole(tmp_path: Path) -> None:
    (tmp_path / "a.chi").write_bytes(b"x" * 200_000 + b"\n1\n2\n 0\n")
    assert first_line(tmp_path / "a.chi") == b"x" * 200_000
    (tmp_path / "b.chi").write_bytes(b"x" * 200_000)
    assert first_line(tmp_path / "b.chi") is None
    os.mkfifo(tmp_path / "pipe")
    for name in ("gone.chi", ".", "pipe"):
        assert first_line(tmp_path / name) is None
