"""The reduction: calibrations, frames in, curves out. NumPy, SciPy and numba; no Bluesky, no network."""

from saxs_bluesky.reduction._calibration import Calibration, MaskSettings, SliceSettings, own_spelling
from saxs_bluesky.reduction._consistency import differences
from saxs_bluesky.reduction._curve import Curve, CurveKind, IntegralParameters, integral_parameters
from saxs_bluesky.reduction._geometry import Geometry
from saxs_bluesky.reduction._integrators import AzimuthalIntegrator, Integrator, RadialIntegrator
from saxs_bluesky.reduction._operator import BinningOperator
from saxs_bluesky.reduction._polarization import Polarization, polarization_factor
from saxs_bluesky.reduction._reducer import Reducer, without_invalid
from saxs_bluesky.reduction._slices import SliceIntegrator
from saxs_bluesky.reduction.formats.axis_labels import Q_UNITS, in_unit
from saxs_bluesky.reduction.formats.chi import (
    ChiFile,
    chi_bytes,
    chi_is_whole,
    chi_labels,
    first_line,
    first_line_if_whole,
    read_chi,
    write_chi,
)
from saxs_bluesky.reduction.formats.converters import Conversion, conversion, convert
from saxs_bluesky.reduction.formats.curve_provenance import CurveProvenance, provenance_in
from saxs_bluesky.reduction.formats.file_list import FileList
from saxs_bluesky.reduction.formats.frames import (
    Frame,
    FrameFile,
    ends_in_zeros,
    read_frame,
    read_header,
    read_headers,
    superseded,
    write_frame,
)
from saxs_bluesky.reduction.formats.image_shape import image_shape
from saxs_bluesky.reduction.formats.masks import read_mask
from saxs_bluesky.reduction.formats.pilatus_header import PilatusHeader
from saxs_bluesky.reduction.formats.poni import poni_text
from saxs_bluesky.reduction.formats.stamps import Stamp, has_stamp, part_of, stamp_of

__all__ = [
    "Q_UNITS",
    "AzimuthalIntegrator",
    "BinningOperator",
    "Calibration",
    "ChiFile",
    "Conversion",
    "Curve",
    "CurveKind",
    "CurveProvenance",
    "FileList",
    "Frame",
    "FrameFile",
    "Geometry",
    "IntegralParameters",
    "Integrator",
    "MaskSettings",
    "PilatusHeader",
    "Polarization",
    "RadialIntegrator",
    "Reducer",
    "SliceIntegrator",
    "SliceSettings",
    "Stamp",
    "chi_bytes",
    "chi_is_whole",
    "chi_labels",
    "conversion",
    "convert",
    "differences",
    "ends_in_zeros",
    "first_line",
    "first_line_if_whole",
    "has_stamp",
    "image_shape",
    "in_unit",
    "integral_parameters",
    "own_spelling",
    "part_of",
    "polarization_factor",
    "poni_text",
    "provenance_in",
    "read_chi",
    "read_frame",
    "read_header",
    "read_headers",
    "read_mask",
    "stamp_of",
    "superseded",
    "without_invalid",
    "write_chi",
    "write_frame",
]
