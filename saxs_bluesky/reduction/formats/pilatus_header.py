"""What a Pilatus writes beside a frame: its header, as texts of a TIFF file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from saxs_bluesky.reduction.formats._tiff import DATE_TIME, IMAGE_DESCRIPTION, MODEL, SOFTWARE

_DATE_AND_TIME = re.compile(r"(\d{4}):(\d\d?):(\d\d?) (\d\d?):(\d\d?):(\d\d?)")
#: A number in a header, as a pattern: possessive, so that no damaged text takes longer than its length.
DIGITS = r"[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?"
_NUMBER = re.compile(DIGITS)
_PIXEL_SIZE = re.compile(rf"({DIGITS})\s*m\s*x\s*({DIGITS})\s*m\b")
_ENTRY = re.compile(r"#?\s*+(\w++)(?:\s*+[=:]\s*+|\s++)(\S.*)")
# What stands between key and text in the detector's own files, where it is no space.
_SEPARATORS = {"Tau": " = ", "N_excluded_pixels": " = "} | dict.fromkeys(
    (
        "Threshold_setting",
        "Gain_setting",
        "Excluded_pixels",
        "Flat_field",
        "Trim_file",
        "Image_path",
        "Ratecorr_lut_directory",
        "Retrigger_mode",
    ),
    ": ",
)


@dataclass(frozen=True)
class PilatusHeader:
    """What the detector says of a frame; None where it does not.

    ``exposure_time`` and ``exposure_period`` in s, ``count_cutoff`` the counts from which on a
    pixel is saturated, ``threshold`` in eV, ``wavelength`` in nm, ``pixel_size`` (y, x) in mm,
    ``date_time`` as the detector's clock wrote it, ``model`` and ``software`` its names,
    ``image_path`` the folder on the detector's computer. ``entries`` holds every line of the
    header, key to text.
    """

    exposure_time: float | None = None
    exposure_period: float | None = None
    count_cutoff: float | None = None
    threshold: float | None = None
    wavelength: float | None = None
    pixel_size: tuple[float, float] | None = None
    image_path: str | None = None
    date_time: str | None = None
    model: str | None = None
    software: str | None = None
    entries: dict[str, str] = field(default_factory=dict)

    def time(self, zone: tzinfo) -> datetime | None:
        """When the frame was taken, the detector's clock being in time zone ``zone``; None if unknown.

        Raises
        ------
        ValueError
            ``date_time`` is no date and time.
        """
        if self.date_time is None:
            return None
        match = _DATE_AND_TIME.fullmatch(self.date_time)
        if match is None:
            raise ValueError(f"wanted a time like 2014:01:31 12:26:52, found {self.date_time!r}")
        year, month, day, hour, minute, second = map(int, match.groups())
        return datetime(year, month, day, hour, minute, second, tzinfo=zone)

    def description(self) -> str:
        """The text of the TIFF tag ``ImageDescription``: a line for each entry, in their order."""
        lines = (f"# {key}{_SEPARATORS.get(key, ' ')}{text}\r\n" for key, text in self.entries.items())
        return "".join(lines)


def parse_header(texts: Mapping[int, str]) -> PilatusHeader:
    """Read the header out of the texts of a TIFF file, by the codes of their tags."""
    lines = (line.rstrip() for line in texts.get(IMAGE_DESCRIPTION, "").splitlines())
    entries = {match[1]: match[2] for line in lines if (match := _ENTRY.match(line))}

    def number(key: str) -> float | None:
        match = _NUMBER.match(entries.get(key, ""))
        return float(match[0]) if match else None

    def positive(key: str) -> float | None:
        value = number(key)
        return value if value is not None and 0 < value < math.inf else None

    wavelength = number("Wavelength")
    sizes = _PIXEL_SIZE.match(entries.get("Pixel_size", ""))
    return PilatusHeader(
        exposure_time=number("Exposure_time"),
        exposure_period=number("Exposure_period"),
        count_cutoff=positive("Count_cutoff"),  # 0: not set
        threshold=number("Threshold_setting"),
        wavelength=None if wavelength is None else wavelength / 10,
        # The header gives x before y.
        pixel_size=(float(sizes[2]) * 1000, float(sizes[1]) * 1000) if sizes else None,
        image_path=entries.get("Image_path"),
        date_time=texts.get(DATE_TIME, "").strip() or None,
        model=texts.get(MODEL, "").strip() or None,
        software=texts.get(SOFTWARE, "").strip() or None,
        entries=entries,
    )
