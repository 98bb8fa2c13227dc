"""An attempt to write to a catalog, which tells a catalog in trouble from a document that it does not take."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import numpy as np

_PROBE = "saxs-bluesky-probe"


def takes_writes(catalog: Any, run: Any) -> bool:
    """True if the catalog takes a small run of our own at this moment: container, rows and array.

    Only then can it be a document's fault that it was not taken.

    Parameters
    ----------
    catalog
        The catalog.
    run
        The run's container, in which the attempt shows least; None where the catalog does not have it.
    """
    import pyarrow as pa

    from saxs_bluesky.catalog.tables import child_of, make_table

    where = catalog if run is None else run
    try:
        with suppress(KeyError):
            _remove(where, child_of(where, _PROBE))
        start = {"uid": _PROBE, "time": time.time(), "plan_name": "probe"}
        made = where.create_container(key=_PROBE, metadata={"start": start})
        schema = pa.schema([("seq_num", pa.int64()), ("time", pa.float64())])
        table = make_table(made, "internal", schema)
        table.append_partition(0, pa.table({"seq_num": [1], "time": [0.0]}, schema=schema))
        made.write_array(np.zeros(8), key="array")
        _remove(where, made)
    except Exception:  # noqa: BLE001 - in whatever way it fails, the catalog is in no state to judge
        return False
    return True


def _remove(where: Any, made: Any) -> None:
    made.delete_contents(recursive=True, external_only=False)
    where.delete_contents([_PROBE], recursive=True, external_only=False)
