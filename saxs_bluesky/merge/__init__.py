"""Data merge: images and the logs of a beam time in, one table with a row for each image out."""

from saxs_bluesky.merge._offsets import first_image_offset, zero_image_offset
from saxs_bluesky.merge._tables import LONG_EXPOSURE, Images, LogTable, Method, Times

__all__ = ["LONG_EXPOSURE", "Images", "LogTable", "Method", "Times", "first_image_offset", "zero_image_offset"]
