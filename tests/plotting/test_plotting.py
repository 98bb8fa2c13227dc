"""Pictures: what is drawn where, on which scale, and under which name."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image as Picture

from saxs_bluesky.errors import OutputError
from saxs_bluesky.plotting import (
    DEVIATION_COLOR,
    INVALID_COLOR,
    SIGMA_COLOR,
    compare_curves,
    plot_curve,
    plot_curves,
    plot_frame,
    plot_image,
    plot_summary,
    save_figure,
)
from saxs_bluesky.reduction import Calibration, Curve, Frame, PilatusHeader, Reducer, read_frame

NAN = np.nan


def curve(intensity: ArrayLike, sigma: ArrayLike = NAN, deviation: ArrayLike | None = None, **changes: Any) -> Curve:
    values = np.asarray(intensity, dtype=np.float64)
    made = Curve(
        name="R0",
        kind="radial",
        axis=np.arange(1.0, values.size + 1),
        axis_label="q",
        axis_unit="1/nm",
        intensity=values,
        sigma=np.broadcast_to(np.asarray(sigma, dtype=np.float64), values.shape),
        deviation=None if deviation is None else np.broadcast_to(np.asarray(deviation, dtype=np.float64), values.shape),
    )
    return replace(made, **changes)


def bands(axes: Axes) -> dict[str, np.ndarray]:
    """Corners of the filled bands by their colour, of shape (corners, 2)."""
    return {
        to_hex(band.get_facecolor()[0]): np.concatenate([path.vertices for path in band.get_paths()])
        for band in axes.collections
    }


def heights(corners: np.ndarray, x: float) -> tuple[float, float]:
    """Lower and upper edge of a band at ``x``."""
    at = corners[corners[:, 0] == x, 1]
    return float(at.min()), float(at.max())


def named_lines(axes: Axes) -> dict[str, np.ndarray]:
    return {str(line.get_label()): line.get_ydata() for line in axes.lines if not str(line.get_label()).startswith("_")}


def legend_of(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def draw(axes: Axes) -> None:
    """Let Matplotlib lay out and draw all; what it warns of fails the test."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()


def test_curve_lies_over_both_bands() -> None:
    axes = plot_curve(curve([100, 50], sigma=[2, 1], deviation=[10, 7]))
    assert axes.get_yscale() == "log"
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[1, 100], [2, 50]])
    drawn = bands(axes)
    assert list(drawn) == [DEVIATION_COLOR, SIGMA_COLOR]  # the later one is on top
    assert heights(drawn[DEVIATION_COLOR], 1) == (90, 110)
    assert heights(drawn[DEVIATION_COLOR], 2) == (43, 57)
    assert heights(drawn[SIGMA_COLOR], 1) == (98, 102)
    assert heights(drawn[SIGMA_COLOR], 2) == (49, 51)
    assert legend_of(axes) == ["standard deviation of the pixels", "Poisson error", "R0"]


@pytest.mark.parametrize("log", [True, False])
def test_estimates_that_are_not_there_are_not_in_the_legend(log: bool) -> None:
    axes = plot_curve(curve([100, 50]), label="Fit2D", log=log)
    assert not axes.collections
    assert legend_of(axes) == ["Fit2D"]


def test_empty_bins_leave_a_gap() -> None:
    axes = plot_curve(curve([NAN, 100, 90, NAN, 70, 60], sigma=1))
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [NAN, 100, 90, NAN, 70, 60])
    assert sorted(set(bands(axes)[SIGMA_COLOR][:, 0])) == [2, 3, 5, 6]


def test_bin_alone_between_gaps_is_a_dot() -> None:
    _, dots = plot_curve(curve([NAN, 100, NAN, 70, 60])).lines
    np.testing.assert_array_equal(dots.get_xydata(), [[2, 100]])
    assert dots.get_marker() == "."


def test_band_that_reaches_zero_ends_at_the_lower_edge_of_a_logarithmic_picture() -> None:
    axes = plot_curve(curve([1000, 10, 0, -5], sigma=[1, 20, 30, 1]))
    draw(axes)
    band = bands(axes)[SIGMA_COLOR]
    floor = 10 / 10**0.5
    assert heights(band, 2) == pytest.approx((floor, 30))
    assert heights(band, 3) == pytest.approx((floor, 30))
    assert 4 not in band[:, 0]  # altogether negative
    assert axes.get_ylim()[0] == pytest.approx(floor)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1000, 10, NAN, NAN])


def test_linear_picture_shows_what_is_negative() -> None:
    axes = plot_curve(curve([10, -5], sigma=[20, 1]), log=False)
    assert heights(bands(axes)[SIGMA_COLOR], 1) == (-10, 30)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [10, -5])


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize(
    "intensity",
    [[NAN, NAN, NAN], [0, 0, 0], [-1, -2, -3], [np.inf, 1, -np.inf], [NAN, 5, NAN], [7], [1e-300, 1, 1e300]],
    ids=str,
)
def test_no_curve_breaks_a_picture(intensity: list[float], log: bool) -> None:
    for sigma, deviation in ((NAN, 0), (1, np.inf)):
        draw(plot_curve(curve(intensity, sigma=sigma, deviation=deviation), log=log))


@pytest.mark.parametrize("scale", ["linear", "log", "symlog"])
def test_no_pair_of_curves_breaks_a_comparison(scale: Any) -> None:
    wild = [curve([NAN, np.inf, 0, 1e-300, 1e300, -1]), curve([0, 1, 1e300, 1e140, 1e-300, NAN])]
    draw(compare_curves(wild, ["a", "b"], difference=True, x_scale=scale, y_scale=scale).axes[0])


@pytest.mark.parametrize(
    ("intensity", "log", "text"),
    [
        ([NAN, NAN], True, "no positive intensity"),
        ([0, -1], True, "no positive intensity"),
        ([NAN], False, "no intensity"),
    ],
)
def test_empty_picture_tells_why(intensity: list[float], log: bool, text: str) -> None:
    assert [note.get_text() for note in plot_curve(curve(intensity), log=log).texts] == [text]


@pytest.mark.parametrize(
    ("label", "unit", "title"),
    [
        ("q", "1/nm", "q (nm$^{-1}$)"),
        ("phi", "rad", r"$\varphi$ (rad)"),
        ("q_h", "1/nm", "q$_h$ (nm$^{-1}$)"),
        ("q_v", "1/nm", "q$_v$ (nm$^{-1}$)"),
        ("radius", "mm", "radius (mm)"),
        ("counted from 0", "", "counted from 0"),
        ("$nonsense{ $x", "$", r"\$nonsense{ \$x (\$)"),
    ],
)
def test_axis_is_named_as_the_field_does(label: str, unit: str, title: str) -> None:
    axes = plot_curve(curve([1, 2], axis_label=label, axis_unit=unit))
    draw(axes)
    assert axes.get_xlabel() == title
    assert axes.get_ylabel() == "Intensity (counts/pixel)"


@pytest.mark.parametrize("name", ["_hidden", "$\\alpha", "$\\frac{$", "line\nbreak", "\udcff", "%s {}"])
def test_any_name_can_be_drawn(name: str) -> None:
    axes = plot_curve(curve([1, 2]), label=name, title=name)
    draw(axes)
    assert len(legend_of(axes)) == 1


@pytest.mark.parametrize(
    ("intensity", "numbers"),
    [
        ([30, 80], ["30", "40", "60"]),
        ([20, 4000], ["100", "1000"]),
        ([20, 4e6], [r"$\mathdefault{10^{2}}$", r"$\mathdefault{10^{4}}$", r"$\mathdefault{10^{6}}$"]),
    ],
)
def test_numbers_on_a_logarithmic_axis_are_plain_where_short(intensity: list[float], numbers: list[str]) -> None:
    axes = plot_curve(curve(intensity))
    draw(axes)
    low, high = axes.get_ylim()
    ticks = [
        tick.label1.get_text()
        for tick in sorted(
            [*axes.yaxis.get_major_ticks(), *axes.yaxis.get_minor_ticks()], key=lambda tick: float(tick.get_loc())
        )
        if low <= tick.get_loc() <= high
    ]
    assert set(numbers) <= set(ticks)


def test_curves_of_a_frame_have_a_panel_each() -> None:
    kinds = [("R0", "radial"), ("P1", "azimuthal"), ("S2", "slice")]
    figure = plot_curves([curve([1, 2], sigma=1, name=name, kind=kind) for name, kind in kinds], title="frame_1.tif")
    assert [axes.get_title() for axes in figure.axes] == ["R0 (radial)", "P1 (azimuthal)", "S2 (slice)", ""]
    assert [bool(legend_of(axes)) for axes in figure.axes] == [True, False, False, False]
    assert not figure.axes[3].axison
    assert figure.get_suptitle() == "frame_1.tif"


def test_no_curve_is_an_error() -> None:
    for draw_none in (lambda: plot_curves([]), lambda: compare_curves([], [])):
        with pytest.raises(OutputError, match="wanted at least one curve to draw, found none"):
            draw_none()


IMAGE = np.array([[-1, -2, 0], [10, 100, 1000]], dtype=np.int32)


def colors_of(axes: Axes, layer: int = 0) -> np.ndarray:
    """Colour of each pixel as drawn, shape (rows, columns, 4)."""
    drawn = axes.images[layer]
    return np.asarray(drawn.to_rgba(drawn.get_array()))


def test_pixels_without_counts_are_grey_and_zero_is_the_darkest() -> None:
    axes = plot_image(IMAGE)
    colors = [to_hex(color) for color in colors_of(axes).reshape(-1, 4)]
    assert colors[:2] == [INVALID_COLOR] * 2
    assert len(set(colors[3:])) == 3
    assert colors[2] == to_hex(mpl.colormaps["inferno"](0))
    assert INVALID_COLOR not in colors[2:]


def test_color_scale_is_logarithmic_with_its_unit_beside_it() -> None:
    axes = plot_image(np.geomspace(1, 1000, 10_000).reshape(100, 100))
    norm = axes.images[0].norm
    assert norm((norm.vmin * norm.vmax) ** 0.5) == pytest.approx(0.5)
    assert norm.vmin == pytest.approx(1000**0.5 / 10, rel=0.01)  # a tenth of the median
    bar = axes.images[0].colorbar
    assert bar is not None
    assert bar.ax.get_ylabel() == "Intensity (counts)"
    assert bar.extend == "both"


def test_hot_pixel_does_not_take_the_colors_from_the_rest(rng: np.random.Generator) -> None:
    image = rng.poisson(50, (100, 100))
    image[3, 4] = 1_000_000
    assert plot_image(image).images[0].norm.vmax < 100


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((3, 4), np.int32),
        np.full((3, 4), -1, np.int32),
        np.full((3, 4), 7, np.uint16),
        np.full((3, 4), NAN),
        np.ma.masked_all((3, 4), np.int32),
        np.full((1, 1), 3.5),
        np.full((2, 400), 1, np.int32),
    ],
    ids=["zeros", "gaps", "flat", "nan", "masked", "one pixel", "strip"],
)
def test_no_image_breaks_a_picture(image: np.ndarray) -> None:
    draw(plot_image(image))


def test_mask_shades_what_it_covers() -> None:
    mask = np.array([[False, False, True], [False, True, False]])
    axes = plot_image(IMAGE, mask=mask)
    np.testing.assert_array_equal(np.ma.getmaskarray(axes.images[1].get_array()), ~mask)
    draw(axes)


def test_beam_centre_counts_from_the_bottom_edge() -> None:
    # A beam through the middle of the pixel in row 0, column 2 of two rows.
    axes = plot_image(IMAGE, beam_center=(1.5, 2.5))
    assert axes.lines[0].get_xydata().tolist() == [[2, 0]]


def test_beam_beside_the_image_leaves_the_view_as_it_is() -> None:
    axes = plot_image(IMAGE, beam_center=(500, -300))
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 2.5), (1.5, -0.5))


def test_row_0_is_at_the_top() -> None:
    bottom, top = plot_image(IMAGE).get_ylim()
    assert bottom > top


def test_frame_carries_the_name_of_its_file() -> None:
    figure = plot_frame(Frame(IMAGE, PilatusHeader(), Path("somewhere/frame_1.tif")))
    assert figure.axes[0].get_title() == "frame_1.tif"


def test_summary_shows_image_and_curves(document: dict[str, Any], rng: np.random.Generator) -> None:
    document["Slices"] = [{"CutPosition": 5}]
    image = rng.poisson(20, (60, 80))
    curves = Reducer(Calibration.from_dict(document), deviation=True).reduce(image)
    figure = plot_summary(image, curves, title="small")
    assert [axes.get_title() for axes in figure.axes if not axes.get_label()] == ["", "R0 (radial)", "S1 (slice)"]
    assert figure.axes[0].images[0].get_array().shape == (60, 80)
    draw(figure.axes[0])


def test_existing_axes_are_drawn_into() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plot_curve(curve([1, 2]), left) is left
    assert plot_image(IMAGE, right) is right


def test_overlay_names_each_curve() -> None:
    (axes,) = compare_curves([curve([1, 2]), curve([3, 4])], ["first", "second"], title="both").axes
    assert {name: list(line) for name, line in named_lines(axes).items()} == {"first": [1, 2], "second": [3, 4]}
    assert legend_of(axes) == ["first", "second"]
    assert axes.get_title() == "both"
    assert not axes.collections


def test_single_curve_has_its_error() -> None:
    (axes,) = compare_curves([curve([100, 50], sigma=[2, 1])], ["alone"]).axes
    assert heights(bands(axes)[SIGMA_COLOR], 1) == (98, 102)
    assert legend_of(axes) == ["error", "alone"]


def test_difference_in_counts_and_in_percent() -> None:
    curves = [curve([10, 0, -5]), curve([12, 3, -4])]
    figure = compare_curves(curves, ["a", "b"], difference=True, y_scale="linear")
    overlay, counts, percent = figure.axes
    np.testing.assert_array_equal(counts.lines[0].get_xydata(), [[1, 2], [2, 3], [3, 1]])
    np.testing.assert_array_equal(percent.lines[0].get_ydata(), [20, NAN, 20])  # no percent of nothing
    assert counts.get_title() == "Difference to a"
    assert [axes.get_ylabel() for axes in figure.axes] == ["Intensity (counts/pixel)", "counts/pixel", "percent"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "q (nm$^{-1}$)"]
    assert to_hex(counts.lines[0].get_color()) == to_hex(overlay.lines[1].get_color())


def test_difference_interpolates_and_never_extrapolates() -> None:
    first = curve([10, 10, 10, 10], axis=np.array([0.0, 1, 2, 3]))
    other = curve([20, 40, NAN], axis=np.array([0.5, 2, 4]))
    _, counts, _ = compare_curves([first, other], ["a", "b"], difference=True).axes
    np.testing.assert_allclose(counts.lines[0].get_ydata(), [NAN, 20 / 1.5 * 0.5 + 10, 30, NAN])


def test_difference_does_not_mind_the_order_of_the_points() -> None:
    first = curve([1, 1, 1])
    backwards = curve([30, 20, 10], axis=np.array([3.0, 2, 1]))
    _, counts, _ = compare_curves([first, backwards], ["a", "b"], difference=True).axes
    assert counts.lines[0].get_ydata().tolist() == [9, 19, 29]


def test_percent_of_almost_nothing_runs_out_of_the_picture() -> None:
    first, other = np.full(1000, 100.0), np.linspace(101, 102, 1000)
    first[500] = 1e-6
    *_, percent = compare_curves([curve(first), curve(other)], ["a", "b"], difference=True).axes
    assert np.nanmax(percent.lines[0].get_ydata()) > 1e6
    low, high = percent.get_ylim()
    assert low <= 0
    assert 2 < high < 10


def test_identical_curves_differ_by_nothing() -> None:
    figure = compare_curves([curve([5, 6]), curve([5, 6])], ["a", "b"], difference=True)
    assert figure.axes[1].lines[0].get_ydata().tolist() == [0, 0]
    draw(figure.axes[0])


@pytest.mark.parametrize("x_scale", ["linear", "log", "symlog"])
@pytest.mark.parametrize("y_scale", ["linear", "log", "symlog"])
def test_scales_are_those_asked_for(x_scale: Any, y_scale: Any) -> None:
    cut = curve([5, 0, -5, NAN, 8], sigma=3, axis=np.array([-2.0, -1, 0, 1, 2]))
    for curves, labels in (([cut], ["a"]), ([cut, cut], ["a", "b"])):
        figure = compare_curves(curves, labels, difference=len(curves) > 1, x_scale=x_scale, y_scale=y_scale)
        draw(figure.axes[0])
        assert figure.axes[0].get_yscale() == y_scale
        assert [axes.get_xscale() for axes in figure.axes] == [x_scale] * len(figure.axes)


def test_symlog_is_linear_only_below_the_smallest_value() -> None:
    (axes,) = compare_curves([curve([0.02, -300, 0])], ["a"], y_scale="symlog").axes
    assert axes.yaxis.get_transform().linthresh == 0.02


def test_few_curves_have_colors_well_apart_and_many_go_from_dark_to_light() -> None:
    for count in (7, 40):
        figure = compare_curves([curve([1, 2])] * count, [f"run {i}" for i in range(count)])
        draw(figure.axes[0])
        assert len({to_hex(line.get_color()) for line in figure.axes[0].lines}) == count


def test_axes_of_different_units_are_refused() -> None:
    azimuth = curve([1, 2], axis_label="phi", axis_unit="rad")
    with pytest.raises(OutputError, match=r"b: wanted an axis in 1/nm as in a, found phi in rad"):
        compare_curves([curve([1, 2]), azimuth], ["a", "b"])


def test_axes_in_one_unit_go_together() -> None:
    cuts = [curve([1, 2], axis_label=label) for label in ("q_h", "q_v", "q_h")]
    assert compare_curves(cuts, ["a", "b", "c"]).axes[0].get_xlabel() == "q$_h$, q$_v$ (nm$^{-1}$)"


def test_axis_without_a_unit_goes_with_any() -> None:
    unknown = curve([1, 2], axis_label="2-Theta", axis_unit="")
    assert compare_curves([unknown, curve([1, 2])], ["a", "b"]).axes[0].get_xlabel() == "2-Theta, q (nm$^{-1}$)"


def test_legend_can_be_left_out() -> None:
    assert legend_of(compare_curves([curve([1, 2])], ["a"], legend=False).axes[0]) == []
    assert legend_of(plot_curve(curve([1, 2]), legend=False)) == []


SIGNATURES = {
    "png": b"\x89PNG\r\n\x1a\n",
    "svg": b"<?xml",
    "pdf": b"%PDF-",
    "eps": b"%!PS-Adobe",
    "jpg": b"\xff\xd8\xff",
    "jpeg": b"\xff\xd8\xff",
    "tif": b"II*\x00",
    "tiff": b"II*\x00",
}


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_suffix_says_the_format(
    suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"curves.{suffix}"
    assert save_figure(plot_curves([curve([100, 50], sigma=2, deviation=9)]), path) == path
    assert path.read_bytes().startswith(SIGNATURES[suffix])
    assert list(tmp_path.iterdir()) == [path]
    assert not caplog.records
    assert capfd.readouterr().err == ""


def test_capital_suffix_will_do(tmp_path: Path) -> None:
    assert save_figure(Figure(), tmp_path / "A.PNG").read_bytes().startswith(SIGNATURES["png"])


def test_written_picture_is_whole(tmp_path: Path) -> None:
    with Picture.open(save_figure(plot_image(IMAGE).figure, tmp_path / "image.png")) as picture:
        picture.load()
        assert picture.width == 7 * 150


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_same_curves_make_the_same_file(suffix: str, tmp_path: Path) -> None:
    files = [save_figure(plot_curves([curve([100, NAN, 50], sigma=2)]), tmp_path / f"{i}.{suffix}") for i in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert mpl.rcParams["svg.hashsalt"] is None


@pytest.mark.parametrize(("name", "found"), [("curves.chi", ".chi"), ("curves", "none"), ("curves.", "none")])
def test_suffix_of_no_picture_is_refused_with_those_that_will_do(name: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=rf"{name}: wanted a picture's suffix \(.*\.png, \.svg.*\), found {found}"):
        save_figure(Figure(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"absent/a.png: the picture cannot be written \(No such file"):
        save_figure(Figure(), tmp_path / "absent" / "a.png")


def test_failure_keeps_the_picture_that_was_there(tmp_path: Path) -> None:
    path = save_figure(plot_curve(curve([1, 2])).figure, tmp_path / "a.png")
    before = path.read_bytes()
    broken = plot_curve(curve([1, 2]))
    broken.text(0.5, 0.5, r"$\nonsense{$")
    with pytest.raises(ValueError, match="nonsense"):
        save_figure(broken.figure, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_threads_draw_at_the_same_time(tmp_path: Path) -> None:
    def picture(number: int) -> bytes:
        return save_figure(plot_curves([curve([100, 50], sigma=2)]), tmp_path / f"{number}.svg").read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(picture, range(6)))) == 1


def test_pyplot_is_left_alone() -> None:
    program = "import sys, saxs_bluesky.plotting; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_real_frame(shared_data: Path) -> None:
    calibration = Calibration.from_file(shared_data / "calibration.json")
    frame = read_frame(shared_data / "pilatus1m_buffer.tif")
    curves = Reducer(calibration, deviation=True).reduce(frame.image)
    axes = plot_summary(frame.image, curves).axes[-1]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), curves[0].intensity)
    assert list(bands(axes)) == [DEVIATION_COLOR, SIGMA_COLOR]
    low, high = axes.get_ylim()
    assert 10 < low < 30
    assert 4500 < high < 10_000
    draw(axes)
