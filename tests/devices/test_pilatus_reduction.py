"""Documents of the real Pilatus device, against its soft IOC, become curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from saxs_bluesky.callbacks import Reduction
from saxs_bluesky.reduction import Calibration, Reducer, read_frame
from saxs_bluesky.simulation import simulated_calibration
from tests.helpers.waiting import PATIENCE


def test_frames_of_the_real_device_are_reduced(pilatus_ioc: Any, documents: Any, tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "helpers" / "run_plan.py"
    finished = pilatus_ioc.run(script, pilatus_ioc.prefix, str(tmp_path), "--frames", "2", "--triggers", "3")
    calibration = Calibration.from_dict(simulated_calibration("100K"))
    reduction = Reduction(calibration, [documents])
    for line in finished.stdout.splitlines():
        reduction(*json.loads(line))
    assert reduction.close(PATIENCE)
    events = documents.of("event")
    paths = sorted(tmp_path.glob("*.tif"))
    assert len(events) == len(paths) == 6
    reducer = Reducer(calibration)
    for event, path in zip(events, paths, strict=True):
        frame = read_frame(path)
        assert event["data"]["image_path"] == str(path)
        assert event["data"]["failure"] == ""
        for curve in reducer.reduce(frame.image, count_cutoff=frame.header.count_cutoff):
            np.testing.assert_array_equal(event["data"][f"{curve.name}_intensity"], curve.intensity)
    assert documents.of("stop")[0]["num_events"] == {"primary": 6}
