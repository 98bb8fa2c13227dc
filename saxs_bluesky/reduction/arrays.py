"""Names for the arrays that pass between the modules of the reduction."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.number[Any]]
"""Pixel values, shape (rows, columns), row 0 at the top; a masked array where pixels are left out."""

BoolImage: TypeAlias = NDArray[np.bool_]
"""One flag a pixel, shape (rows, columns)."""

FloatImage: TypeAlias = NDArray[np.float64]
"""One quantity a pixel, shape (rows, columns)."""

FloatArray: TypeAlias = NDArray[np.float64]
"""Numbers of any shape."""

IndexArray: TypeAlias = NDArray[np.int32]
"""Flat indices of pixels, or numbers of bins."""
