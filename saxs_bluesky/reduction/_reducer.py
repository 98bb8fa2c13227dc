"""The reducer: one calibration, all the curves of a frame."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from saxs_bluesky.errors import CalibrationError, FrameError
from saxs_bluesky.reduction._binned import BinnedIntegrator
from saxs_bluesky.reduction._calibration import Calibration
from saxs_bluesky.reduction._curve import Curve
from saxs_bluesky.reduction._integrators import AzimuthalIntegrator, Integrator, RadialIntegrator
from saxs_bluesky.reduction._pixels import LimitedImage, first_flag, valid_limits, whole_cutoff
from saxs_bluesky.reduction._polarization import polarization_factor
from saxs_bluesky.reduction._slices import SliceIntegrator
from saxs_bluesky.reduction.arrays import BoolImage, Image
from saxs_bluesky.reduction.formats.curve_provenance import CurveProvenance
from saxs_bluesky.support.former_names import former_argument


class Reducer:
    """Turns frames into curves: those that the calibration asks for, then the user's own.

    Curves are numbered over the masks, then the slices: ``R0`` radial, ``P1`` azimuthal, ``S2`` a
    slice. In GISAXS mode the masks keep their numbers but make no curve.

    Parameters
    ----------
    calibration
        What to integrate and how.
    extra_integrators
        Integrators of the user's own, any objects that fit `Integrator`. Its former name is ``recipes``.
    deviation
        Whether curves carry a second estimate of their errors, the standard deviation of the pixels
        in each bin.
    leave_out_invalid
        Leave out, frame by frame, pixels that hold no counts: negative ones (gaps, bad pixels), the
        highest values of unsigned types (the same), those at or above the detector's count cutoff,
        NaN and infinity. Without it every pixel counts that is not masked, as in SAXSdog.

    Raises
    ------
    MaskError
        A mask is unreadable or has another shape than the images.
    CalibrationError
        An extra integrator does not fit `Integrator`, or its name is taken or cannot be part of a file name.
    """

    @former_argument("recipes", "extra_integrators")
    def __init__(
        self,
        calibration: Calibration,
        *,
        extra_integrators: Sequence[Integrator] = (),
        deviation: bool = False,
        leave_out_invalid: bool = True,
    ) -> None:
        self.calibration = calibration
        masked = [calibration.load_mask(index) for index in range(len(calibration.masks))]
        #: SHA-256 of each mask as it is applied: a byte a pixel, row by row from the top.
        self.mask_sha256 = tuple(hashlib.sha256(mask.tobytes()).hexdigest() for mask in masked)
        self._own: list[BinnedIntegrator] = []
        if not calibration.gisaxs_mode:
            self._own += _mask_integrators(calibration, masked, deviation=deviation)
        self._own += _slice_integrators(calibration, masked, deviation=deviation)
        #: What of the calibration gives curves without a point, or integral parameters of none; each in a line.
        self.remarks = tuple(_remarks(calibration, masked, self._own))
        self._extra = tuple(extra_integrators)
        self.integrators: tuple[Integrator, ...] = (*self._own, *self._extra)
        self._leave_out_invalid = leave_out_invalid
        _check_names(self.integrators)

    @cached_property
    def provenance(self) -> CurveProvenance:
        """What all its curves are made of, whatever the frame."""
        return CurveProvenance(self.calibration.sha256, self.mask_sha256)

    @cached_property
    def template(self) -> list[Curve]:
        """The curves of an empty image: what names, axes and units every frame's curves have."""
        return self.reduce(np.zeros(self.calibration.geometry.shape, dtype=np.int32))

    def reduce(self, image: Image, *, count_cutoff: float | None = None) -> list[Curve]:
        """Integrate one frame.

        Parameters
        ----------
        image
            Counts, shape (rows, columns), row 0 at the top; pixels that a ``numpy.ma.MaskedArray``
            masks are left out.
        count_cutoff
            Counts from which on a pixel is saturated, from the frame's header; None: no limit.

        Returns
        -------
        One curve for each integrator.

        Raises
        ------
        FrameError
            The image does not have the shape that the calibration says.
        """
        wanted = self.calibration.geometry.shape
        if np.shape(image) != wanted:
            raise FrameError(
                f"wanted an image of shape {wanted} (Imagesize in {self.calibration.where}), found {np.shape(image)}"
            )
        if image.dtype.kind not in "iuf":
            raise FrameError(f"wanted an image of real numbers, found {image.dtype}")
        limited = LimitedImage(image, valid_limits(count_cutoff, image.dtype) if self._leave_out_invalid else None)
        curves = [integrator.integrate(limited) for integrator in self._own]
        if self._extra:
            if self._leave_out_invalid:
                image = without_invalid(image, count_cutoff)
            curves += [integrator.integrate(image) for integrator in self._extra]
        return curves


def without_invalid(image: Image, count_cutoff: float | None = None) -> Image:
    """Mask the pixels that hold no counts.

    They are negative, NaN or infinite, at or above ``count_cutoff``, or among the highest values of an unsigned type:
    ``2**n - 1``, and beyond 8 bits ``2**n - 2``.

    Parameters
    ----------
    image
        Counts, shape (rows, columns); pixels that are masked already stay so.
    count_cutoff
        Counts from which on a pixel is saturated; None: no limit.

    Returns
    -------
    The same counts, shape (rows, columns), as a ``numpy.ma.MaskedArray``.
    """
    invalid = ~((image >= 0) & (image < np.inf)) if image.dtype.kind == "f" else image < 0
    flags = first_flag(image.dtype)
    if flags is not None:
        invalid |= image >= flags
    cutoff = whole_cutoff(count_cutoff)
    if cutoff is not None:
        # A whole number, since an integer image compared with a float is converted first.
        invalid |= image >= cutoff
    return np.ma.MaskedArray(np.ma.getdata(image), mask=np.ma.filled(invalid, fill_value=True))


def _mask_integrators(
    calibration: Calibration, masked: Sequence[BoolImage], *, deviation: bool
) -> Iterator[BinnedIntegrator]:
    correction = None
    if calibration.polarization is not None:
        correction = 1 / polarization_factor(calibration.geometry, calibration.polarization)
    for index, settings in enumerate(calibration.masks):
        make, letter = (AzimuthalIntegrator, "P") if settings.phi_mode else (RadialIntegrator, "R")
        yield make(
            f"{letter}{index}",
            calibration.geometry,
            ~masked[index],
            oversampling=settings.oversampling,
            pixels_per_bin=settings.pixels_per_bin,
            q_start=settings.q_start,
            q_stop=settings.q_stop,
            correction=correction,
            deviation=deviation,
        )


def _slice_integrators(
    calibration: Calibration, masked: Sequence[BoolImage], *, deviation: bool
) -> Iterator[BinnedIntegrator]:
    everywhere = np.ones(calibration.geometry.shape, dtype=bool)
    for index, settings in enumerate(calibration.slices, start=len(calibration.masks)):
        yield SliceIntegrator(
            f"S{index}",
            calibration.geometry,
            everywhere if settings.mask is None else ~masked[settings.mask],
            direction=settings.direction,
            plane=settings.plane,
            position=settings.position,
            margin=settings.margin,
            incident_angle=settings.incident_angle,
            deviation=deviation,
        )


def _remarks(calibration: Calibration, masked: Sequence[BoolImage], own: Sequence[BinnedIntegrator]) -> Iterator[str]:
    for integrator in own:
        index = int(integrator.name[1:])
        used = integrator.operator.area > 0
        if isinstance(integrator, SliceIntegrator):
            if not used.any():
                at = index - len(calibration.masks)
                mask = calibration.slices[at].mask
                why = (
                    f"{_mask_name(calibration, mask)} masks all of its strip" if mask is not None else "it has no pixel"
                )
                yield f"Slices[{at}] of {calibration.where} makes a curve of NaN: {why}"
            continue
        settings = calibration.masks[index]
        where = f"Masks[{index}] of {calibration.where}"
        if not used.any():
            pixels = "every pixel" if masked[index].all() else "every pixel between qStart and qStop"
            yield (
                f"{where} makes a curve of NaN: {_mask_name(calibration, index)} masks {pixels} "
                "(masked are the pixels that are not 0)"
            )
        elif isinstance(integrator, RadialIntegrator) and settings.q_stop > 0:  # 0: none wanted
            axis = integrator.axis[used]
            if not ((axis >= settings.q_start) & (axis <= settings.q_stop)).any():
                yield (
                    f"{where} has integral parameters of 0: no point of its curve lies between qStart "
                    f"{settings.q_start:g} and qStop {settings.q_stop:g} 1/nm; its pixels have q from "
                    f"{axis[0]:.4g} to {axis[-1]:.4g} 1/nm"
                )


def _mask_name(calibration: Calibration, index: int) -> str:
    return calibration.masks[index].mask_file or "its mask"


def _check_names(integrators: Sequence[Integrator]) -> None:
    taken: set[str] = set()
    for integrator in integrators:
        if not isinstance(integrator, Integrator):
            raise CalibrationError(f"wanted an integrator (name, axis, integrate), found {type(integrator).__name__}")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", integrator.name):
            raise CalibrationError(
                f"wanted an integrator's name of letters, digits and underscores, found {integrator.name!r}"
            )
        if integrator.name in taken:
            raise CalibrationError(f"wanted integrators of different names, found {integrator.name!r} twice")
        taken.add(integrator.name)
