"""The catalog: Bluesky runs in a folder of one's own or behind a Tiled server, and curves read back from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saxs_bluesky.catalog._curves import read_curves
from saxs_bluesky.catalog._errors import words
from saxs_bluesky.catalog._keys import split_key, without_key
from saxs_bluesky.catalog._open import close_catalog, open_catalog, why_away
from saxs_bluesky.catalog._reduce import reduce_run
from saxs_bluesky.catalog._runs import merged_runs, reduced_runs
from saxs_bluesky.catalog._trouble import is_away
from saxs_bluesky.support.former_names import former_names

if TYPE_CHECKING:
    from saxs_bluesky.catalog._merge import merge

__all__ = [
    "close_catalog",
    "is_away",
    "merge",
    "merged_runs",
    "open_catalog",
    "read_curves",
    "reduce_run",
    "reduced_runs",
    "split_key",
    "why_away",
    "without_key",
    "words",
]

# It brings pandas, a third of what commands take to start.
__getattr__ = former_names(__name__, {}, loaded_late={"merge": f"{__name__}._merge.merge"})
