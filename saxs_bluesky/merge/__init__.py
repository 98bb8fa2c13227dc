"""Data merge: images and the logs of a beam time in, one table with a row for each image out."""

from saxs_bluesky.merge._join import Merged, TableReport, join, wall_times
from saxs_bluesky.merge._offsets import first_image_offset, zero_image_offset
from saxs_bluesky.merge._tables import LONG_EXPOSURE, Images, LogTable, Method, Times
from saxs_bluesky.merge._values import ImageValues, Lack, image_values

__all__ = [
    "LONG_EXPOSURE",
    "ImageValues",
    "Images",
    "Lack",
    "LogTable",
    "Merged",
    "Method",
    "TableReport",
    "Times",
    "first_image_offset",
    "image_values",
    "join",
    "wall_times",
    "zero_image_offset",
]
