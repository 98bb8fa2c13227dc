"""Where frames are: files of every kind, and what is said when they are not there."""

from __future__ import annotations

import json
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from event_model import compose_run

from saxs_bluesky.documents import HandlerFrame, Hdf5Frame, InlineFrame, TiffFrame, load
from saxs_bluesky.documents._raw_run import RawRun
from saxs_bluesky.documents._references import SpilledFrame
from saxs_bluesky.documents._resources import from_datum, from_stream_datum
from saxs_bluesky.errors import FrameError
from saxs_bluesky.reduction import Calibration, PilatusHeader, Reducer, differences, write_frame

STACK = np.arange(3 * 4 * 5, dtype=np.int32).reshape(3, 4, 5)


def test_tiff_brings_its_cutoff(tmp_path: Path) -> None:
    write_frame(tmp_path / "a.tif", STACK[0], PilatusHeader(entries={"Count_cutoff": "1000 counts"}))
    frame = load(TiffFrame(str(tmp_path / "a.tif")), 0)
    np.testing.assert_array_equal(frame.image, STACK[0])
    assert frame.count_cutoff == 1000


def test_hdf5_by_index_and_as_a_single_image(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file["stack"], file["single"] = STACK, STACK[1]
    path = str(tmp_path / "a.h5")
    np.testing.assert_array_equal(load(Hdf5Frame(path, "stack", 2), 0).image, STACK[2])
    np.testing.assert_array_equal(load(Hdf5Frame(path, "single", 0), 0).image, STACK[1])
    with pytest.raises(FrameError, match=r"a\.h5: wanted frame 3 in stack, found 3"):
        load(Hdf5Frame(path, "stack", 3), 0)
    with pytest.raises(FrameError, match=r"a\.h5: .*nothing"):
        load(Hdf5Frame(path, "nothing", 0), 0)


@pytest.mark.parametrize("data", ["entry/data/data", "entry/instrument/detector/data"])
@pytest.mark.parametrize(
    ("told", "cutoff"),
    [
        ({}, None),
        ({"saturation_value": 4095}, 4096),
        ({"saturation_value": [4095]}, 4096),
        ({"detectorSpecific/countrate_correction_count_cutoff": 245916}, 245917),
        ({"detectorSpecific/detectorModule_000/countrate_correction_count_cutoff": 9000}, 9001),
        ({"saturation_value": 65533, "detectorSpecific/countrate_correction_count_cutoff": 245916}, 65534),
        # Not set, different for the thresholds, of no use: not known.
        ({"saturation_value": 0}, None),
        ({"saturation_value": [10, 20]}, None),
        ({"saturation_value": "high"}, None),
        ({"saturation_value": np.nan}, None),
    ],
)
def test_hdf5_tells_the_largest_valid_count(tmp_path: Path, data: str, told: dict[str, Any], cutoff: int) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[data] = STACK
        detector = file.require_group("entry/instrument/detector")
        for name, value in told.items():
            detector[name] = value
    assert load(Hdf5Frame(str(tmp_path / "a.h5"), "/" + data, 1), 0).count_cutoff == cutoff


def test_the_detector_of_several_is_the_one_that_has_the_data(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, value in (("saxs", 100), ("waxs", 200)):
            detector = file.create_group(f"entry/instrument/{name}")
            detector.attrs["NX_class"] = "NXdetector"
            detector["data"], detector["saturation_value"] = STACK, value
            file[f"entry/{name}/data"] = detector["data"]
    path = str(tmp_path / "a.h5")
    assert load(Hdf5Frame(path, "entry/waxs/data", 0), 0).count_cutoff == 201
    assert load(Hdf5Frame(path, "entry/saxs/data", 0), 0).count_cutoff == 101


def test_data_file_has_the_cutoff_of_the_master_file_beside_it(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x_data_000001.h5", "w") as file:
        file["entry/data/data"] = STACK
    frame = Hdf5Frame(str(tmp_path / "x_data_000001.h5"), "entry/data/data", 0)
    assert load(frame, 0).count_cutoff is None
    for value in (1000, 2000):  # a master that comes later, and is written again
        with h5py.File(tmp_path / "x_master.h5", "w") as file:
            file["entry/instrument/detector/detectorSpecific/countrate_correction_count_cutoff"] = value
            file["entry/data/data_000001"] = h5py.ExternalLink("x_data_000001.h5", "entry/data/data")
        assert load(frame, 0).count_cutoff == value + 1
    master = Hdf5Frame(str(tmp_path / "x_master.h5"), "entry/data/data_000001", 2)
    found = load(master, 0)
    np.testing.assert_array_equal(found.image, STACK[2])
    assert found.count_cutoff == 2001


def test_real_nexus_file_of_a_lambda(shared_data: Path) -> None:
    path = str(shared_data / "real" / "lambda_750k.nxs")
    frame = load(Hdf5Frame(path, "/entry/instrument/detector/data", 3), 0)
    assert frame.image.shape == (516, 1554)
    assert frame.count_cutoff == 4096  # of 12 bits
    assert frame.header is not None
    assert frame.header.pixel_size == pytest.approx((0.055, 0.055))


def detector_file(path: Path, **changes: Any) -> None:
    """A file as DECTRIS writes it, for the small detector; a change to None leaves a value out."""
    values: dict[str, Any] = {
        "beam_center_x": (30.6, "pixel"),
        "beam_center_y": (34.7, "pixel"),  # 60 rows - 25.3
        "detector_distance": (0.2, "m"),
        "x_pixel_size": (1e-3, "m"),
        "y_pixel_size": (1e-3, "m"),
        "incident_wavelength": (1.54, "angstrom"),
    }
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = np.zeros((3, 60, 80), np.uint32)
        for name, value in (values | changes).items():
            if value is not None:
                group = "beam" if name == "incident_wavelength" else "detector"
                file[f"entry/instrument/{group}/{name}"] = value[0]
                if value[1]:
                    file[f"entry/instrument/{group}/{name}"].attrs["units"] = value[1]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ""),
        ({"incident_wavelength": (0.154, "")}, "Wavelength 1.54, in the image 0.154 A"),
        ({"incident_wavelength": (0.154, "nm")}, ""),
        ({"detector_distance": (300.0, "mm")}, "DedectorDistanceMM 200, in the image 300 mm"),
        ({"detector_distance": None, "distance": (0.5, "")}, "DedectorDistanceMM 200, in the image 500 mm"),
        ({"x_pixel_size": (75.0, b"micrometer")}, "PixelSizeMicroM [1000.0, 1000.0], in the image [1000.0, 75.0] um"),
        ({"beam_center_y": (25.3, "pixel")}, "BeamCenter [25.3, 30.6], in the image [34.7, 30.6] (its Beam_xy "),
        # Defaults, and units that are none or other ones.
        ({"beam_center_x": (40.0, "pixel"), "beam_center_y": (30.0, "pixel")}, ""),
        ({"beam_center_x": (0.0, "pixel"), "beam_center_y": (0.0, "pixel")}, ""),
        ({"beam_center_y": (0.0253, "m")}, ""),
        ({"detector_distance": (0.0, "m")}, ""),
        ({"detector_distance": (1.0, "m")}, ""),
        ({"detector_distance": (8.0, "furlong")}, ""),
    ],
)
def test_hdf5_tells_where_the_detector_is(
    tmp_path: Path, document: dict[str, Any], changes: dict[str, Any], found: str
) -> None:
    detector_file(tmp_path / "a.h5", **changes)
    header = load(Hdf5Frame(str(tmp_path / "a.h5"), "/entry/data/data", 0), 0).header
    assert header is not None
    text = "; ".join(differences(Calibration.from_dict(document), header))
    assert text.startswith(found) if found else text == ""


@pytest.mark.parametrize(("dtype", "gap"), [("u4", 2**32 - 1), ("u2", 65535)])
def test_gaps_of_unsigned_images_are_left_out_on_every_way_in(
    tmp_path: Path, document: dict[str, Any], dtype: str, gap: int
) -> None:
    image = np.full((60, 80), 7, dtype)
    image[20:30], image[5, 5] = gap, gap - 1
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack", metadata=None)
    tifffile.imwrite(tmp_path / "b.tif", image, photometric="minisblack", byteorder=">", compression="zlib")
    np.save(tmp_path / "h_0.npy", image[None])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = image[None]
    ways = [
        TiffFrame(str(tmp_path / "a.tif")),
        TiffFrame(str(tmp_path / "b.tif")),
        InlineFrame(image[None], 0),
        SpilledFrame.write(tmp_path, image),
        Hdf5Frame(str(tmp_path / "a.h5"), "entry/data/data", 0),
        HandlerFrame("NPY_SEQ", str(tmp_path / "h"), (), (("index", 0),), 0),
    ]
    reducer = Reducer(Calibration.from_dict(document))
    for way in ways:
        frame = load(way, 0)
        (curve,) = reducer.reduce(frame.image, count_cutoff=frame.count_cutoff)
        np.testing.assert_array_equal(curve.intensity[~np.isnan(curve.intensity)], 7.0, err_msg=str(way))


def test_hdf5_that_is_still_written_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "growing.h5"

    def write() -> None:
        with h5py.File(path, "w", libver="latest") as file:
            data = file.create_dataset("stack", (0, 4, 5), np.int32, maxshape=(None, 4, 5), chunks=(1, 4, 5))
            file.swmr_mode = True
            for number in range(3):
                time.sleep(0.1)
                data.resize(number + 1, axis=0)
                data[number] = STACK[number]
                data.flush()
            time.sleep(0.2)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        np.testing.assert_array_equal(load(Hdf5Frame(str(path), "stack", 2), time.time() + 10).image, STACK[2])
    finally:
        writer.join()


def test_lists_in_events_have_the_type_that_the_descriptor_says(document: dict[str, Any]) -> None:
    image = np.full((60, 80), 7, "u4")
    image[20:30], image[5, 5] = 2**32 - 1, 2**32 - 2
    keys = {"det": {"dtype": "array", "dtype_numpy": "<u4", "shape": [60, 80], "source": "test"}}
    bundle = compose_run()
    stream = bundle.compose_descriptor(name="primary", data_keys=keys)
    event = stream.compose_event(data={"det": image.tolist()}, timestamps={"det": 1.0})
    raw = RawRun(bundle.start_doc)
    # As from a file of JSON lines.
    named = [("descriptor", stream.descriptor_doc), ("event", event)]
    tasks = [task for name, doc in named for task in raw.frames(name, json.loads(json.dumps(doc)))]
    frame = load(tasks[0].reference, 0)
    assert frame.image.dtype == np.uint32
    (curve,) = Reducer(Calibration.from_dict(document)).reduce(frame.image)
    np.testing.assert_array_equal(curve.intensity[~np.isnan(curve.intensity)], 7.0)


def test_inline_stacks_and_their_shapes() -> None:
    np.testing.assert_array_equal(load(InlineFrame(STACK, 1), 0).image, STACK[1])
    np.testing.assert_array_equal(load(InlineFrame(STACK[0].tolist(), 0), 0).image, STACK[0])
    np.testing.assert_array_equal(load(InlineFrame(STACK[None], 2), 0).image, STACK[2])
    for bad in (STACK[0, 0], 3.0):
        with pytest.raises(FrameError, match="wanted frame 0 of an image stack, found shape"):
            load(InlineFrame(bad, 0), 0)


def test_deadline_is_kept_and_the_last_reason_told(tmp_path: Path) -> None:
    start = time.time()
    with pytest.raises(FrameError, match=r"gone\.tif: wanted a TIFF image, found No such file"):
        load(TiffFrame(str(tmp_path / "gone.tif")), start + 0.3)
    assert 0.15 < time.time() - start < 2


def test_references_travel_between_processes(tmp_path: Path) -> None:
    for reference in (
        TiffFrame("/a"),
        Hdf5Frame("/a", "b", 1),
        HandlerFrame("S", "/a", (("k", [1]),), (), 0),
    ):
        assert pickle.loads(pickle.dumps(reference)) == reference


def test_classic_tiff_resource_leads_to_its_files() -> None:
    kwargs = {"template": "%s%s_%6.6d.tif", "filename": "scan", "frame_per_point": 2}
    resource = {"spec": "AD_TIFF", "root": "/data", "resource_path": "run1/", "resource_kwargs": kwargs}
    references = from_datum(resource, {"datum_kwargs": {"point_number": 3}}, 2)
    assert references == [TiffFrame("/data/run1/scan_000006.tif"), TiffFrame("/data/run1/scan_000007.tif")]


def test_classic_hdf5_resource_leads_to_its_frames() -> None:
    resource = {"spec": "AD_HDF5", "root": "/data", "resource_path": "a.h5", "resource_kwargs": {"frame_per_point": 2}}
    references = from_datum(resource, {"datum_kwargs": {"point_number": 1}}, 2)
    assert references == [
        Hdf5Frame("/data/a.h5", "/entry/data/data", 2),
        Hdf5Frame("/data/a.h5", "/entry/data/data", 3),
    ]


def test_files_of_other_kinds_are_read_by_the_registered_handler(tmp_path: Path) -> None:
    np.save(tmp_path / "x_0.npy", STACK)
    kwargs: dict[str, Any] = {}
    resource = {"spec": "NPY_SEQ", "root": str(tmp_path), "resource_path": "x", "resource_kwargs": kwargs}
    references = from_datum(resource, {"datum_kwargs": {"index": 0}}, 3)
    np.testing.assert_array_equal(load(references[1], 0).image, STACK[1])
    with pytest.raises(FrameError, match="no handler reads files of spec UNHEARD_OF"):
        load(HandlerFrame("UNHEARD_OF", "/x", (), (), 0), 0)


def stream_resource(mimetype: str, **parameters: Any) -> dict[str, Any]:
    return {"uri": "file://localhost/data/a%20b", "mimetype": mimetype, "parameters": parameters}


def test_stream_resources_lead_to_their_frames() -> None:
    hdf5 = stream_resource("application/x-hdf5", dataset="/entry/data/data")
    assert from_stream_datum(hdf5, 2, 4, 1) == [Hdf5Frame("/data/a b", "/entry/data/data", n) for n in (2, 3)]
    for template in ("img_{:04d}.tif", "img_%04d.tif"):
        tiff = stream_resource("multipart/related;type=image/tiff", template=template)
        assert from_stream_datum(tiff, 0, 1, 2) == [TiffFrame(f"/data/a b/img_000{n}.tif") for n in (0, 1)]
    with pytest.raises(FrameError, match="wanted HDF5 or TIFF files, found application/x-other"):
        from_stream_datum(stream_resource("application/x-other"), 0, 1, 1)
