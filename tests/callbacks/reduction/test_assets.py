"""Files that resources and datums lead to: the right image, or a failure that says why and stops no other detector."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import event_model
import h5py
import numpy as np
import pytest
from event_model import pack_datum_page, pack_event_page

from saxs_bluesky.callbacks import Reduction
from saxs_bluesky.errors import PluginError
from saxs_bluesky.reduction import Calibration, write_frame
from saxs_bluesky.workers import WorkerPool
from tests.helpers.calibrations import small_document
from tests.helpers.handlers import RawBytes
from tests.helpers.reducing import Make, NamedDocument, assert_curves, events_of
from tests.helpers.waiting import PATIENCE


@pytest.fixture
def calibration() -> Calibration:
    return Calibration.from_dict(small_document())


def key(shape: Sequence[Any] = (1, 60, 80), external: str = "FILESTORE:") -> dict[str, Any]:
    return {"dtype": "array", "shape": list(shape), "source": "test", "external": external}


class Run:
    """Documents of a run whose detectors tell of their images by resource and datum."""

    def __init__(self, resources: dict[str, dict[str, Any]], **shapes: Sequence[Any]) -> None:
        self.bundle = event_model.compose_run()
        keys = {name: key(shapes.get(name, (1, 60, 80))) for name in resources}
        self.stream = self.bundle.compose_descriptor(name="primary", data_keys=keys)
        self.resources = resources
        self.begin: list[NamedDocument] = [
            ("start", dict(self.bundle.start_doc)),
            ("descriptor", dict(self.stream.descriptor_doc)),
        ]
        for name, resource in resources.items():
            common = {"uid": name, "run_start": self.bundle.start_doc["uid"], "path_semantics": "posix"}
            self.begin.append(("resource", common | resource))

    def point(self, number: int, **datum_kwargs: Any) -> list[NamedDocument]:
        documents: list[NamedDocument] = []
        for name in self.resources:
            kwargs = datum_kwargs.get(name, {"point_number": number})
            documents.append(("datum", {"resource": name, "datum_id": f"{name}/{number}", "datum_kwargs": kwargs}))
        data = {name: f"{name}/{number}" for name in self.resources}
        event = self.stream.compose_event(
            data=data, timestamps=dict.fromkeys(data, 1.0), filled=dict.fromkeys(data, False)
        )
        return [*documents, ("event", dict(event))]

    def feed(self, reduction: Reduction, points: int, **datum_kwargs: Any) -> None:
        documents = self.begin + [one for number in range(points) for one in self.point(number, **datum_kwargs)]
        for name, doc in [*documents, ("stop", dict(self.bundle.compose_stop()))]:
            reduction(name, doc)
        assert reduction.wait(PATIENCE)


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(10, (6, 60, 80)).astype("i4")


TIFF = {"template": "%s%s_%06d.tif", "filename": "x", "frame_per_point": 1}


def tiff(folder: Path, images: np.ndarray, **changes: Any) -> dict[str, Any]:
    for number, image in enumerate(images):
        write_frame(folder / f"x_{number:06d}.tif", image)
    return {
        "spec": "AD_TIFF",
        "root": str(folder.parent),
        "resource_path": f"{folder.name}/",
        "resource_kwargs": TIFF,
    } | changes


def hdf5(path: Path, images: np.ndarray, spec: str, dataset: str = "/entry/data/data", **kwargs: Any) -> dict[str, Any]:
    with h5py.File(path, "w") as file:
        file[dataset] = images
    return {
        "spec": spec,
        "root": "/",
        "resource_path": str(path)[1:],
        "resource_kwargs": {"frame_per_point": 1} | kwargs,
    }


@pytest.mark.parametrize(
    ("spec", "dataset"),
    [
        *((f"AD_HDF5{suffix}", "/entry/data/data") for suffix in ("", "_SWMR", "_SWMR_STREAM", "_SWMR_SLICE")),
        ("TPX_HDF5", "/entry/instrument/detector/data"),
    ],
)
def test_specs_of_one_hdf5_file(
    reductions: Make, calibration: Calibration, images: np.ndarray, tmp_path: Path, spec: str, dataset: str
) -> None:
    reduction, found = reductions(calibration, patience=0.0)
    Run({"camera": hdf5(tmp_path / "a.h5", images, spec, dataset)}).feed(reduction, 6)
    assert_curves(events_of(found), images, calibration)


def test_hdf5_files_of_one_image_each(
    reductions: Make, calibration: Calibration, images: np.ndarray, tmp_path: Path
) -> None:
    for number, image in enumerate(images):
        with h5py.File(tmp_path / f"x_{number}.h5", "w") as file:
            file["entry/data/data"] = image[None] if number % 2 else image
    kwargs = {"template": "%s%s_%d.h5", "filename": "x", "frame_per_point": 2}
    resource = {"spec": "AD_HDF5_SINGLE", "root": "/", "resource_path": str(tmp_path), "resource_kwargs": kwargs}
    reduction, found = reductions(calibration, patience=0.0)
    Run({"camera": resource}, camera=(2, 60, 80)).feed(reduction, 3)
    assert_curves(events_of(found), images, calibration)


@pytest.mark.parametrize("shape", [(1, 60, 80), (60, 80), (3, 60, 80), (60, 80, 0), (7, 60, 80), (None, 60, 80)])
@pytest.mark.parametrize("spec", ["AD_HDF5", "AD_TIFF", "RAW_BYTES"])
def test_frames_are_counted_as_the_resource_says(
    reductions: Make,
    calibration: Calibration,
    images: np.ndarray,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    shape: Any,
    spec: str,
) -> None:
    if spec == "AD_HDF5":
        resource = hdf5(tmp_path / "a.h5", images, spec, frame_per_point=3)
    elif spec == "AD_TIFF":
        resource = tiff(tmp_path, images, resource_kwargs=TIFF | {"frame_per_point": 3})
    else:
        (tmp_path / "raw").write_bytes(images.tobytes())
        resource = {
            "spec": spec,
            "root": "/",
            "resource_path": str(tmp_path / "raw"),
            "resource_kwargs": {"frame_per_point": 3},
        }
    reduction, found = reductions(calibration, patience=0.0, handlers={"RAW_BYTES": RawBytes})
    Run({"camera": resource}, camera=shape).feed(reduction, 2)
    events = events_of(found)
    assert_curves(events, images, calibration)
    assert [event["data"]["frame_index"] for event in events] == list(range(6))
    told = [record.getMessage() for record in caplog.records if "its descriptor says" in record.getMessage()]
    assert len(told) == (shape != (3, 60, 80))
    if told:
        assert told[0].endswith("images in an event, what it refers to 3; they are numbered by the latter")


def test_stream_is_counted_as_its_resource_says(
    reductions: Make, calibration: Calibration, images: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hdf5(tmp_path / "a.h5", images, "")
    for shape in ((60, 80), (1, 60, 80), (2, 60, 80), (3, 60, 80)):
        reduction, found = reductions(calibration, patience=0.0)
        run = event_model.compose_run()
        stream = run.compose_descriptor(name="primary", data_keys={"camera": key(shape, "STREAM:")})
        resource = run.compose_stream_resource(
            mimetype="application/x-hdf5",
            uri=f"file://localhost{tmp_path}/a.h5",
            data_key="camera",
            parameters={"dataset": "/entry/data/data", "multiplier": 3},
        )
        reduction("start", dict(run.start_doc))
        reduction("descriptor", dict(stream.descriptor_doc))
        reduction("stream_resource", dict(resource.stream_resource_doc))
        datum = resource.compose_stream_datum({"start": 0, "stop": 2}, {"start": 1, "stop": 3}, stream.descriptor_doc)
        reduction("stream_datum", dict(datum))
        assert reduction.wait(PATIENCE)
        events = events_of(found)
        assert_curves(events, images, calibration)
        assert [event["data"]["frame_index"] for event in events] == list(range(6))
    assert caplog.text.count("its descriptor says") == 3


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(1) as made:
        yield made


@pytest.mark.parametrize("where", ["here", "workers", "workers, defined in the session"])
def test_handlers_of_a_session(
    reductions: Make, calibration: Calibration, images: np.ndarray, tmp_path: Path, pool: WorkerPool, where: str
) -> None:
    class Local(RawBytes):
        """No other process can import it."""

    executor: Executor | None = None if where == "here" else pool
    handler = RawBytes if where == "workers" else Local
    reduction, found = reductions(calibration, executor=executor, handlers={"RAW_BYTES": handler})
    (tmp_path / "raw").write_bytes(images.tobytes())
    raw = {
        "spec": "RAW_BYTES",
        "root": str(tmp_path),
        "resource_path": "raw",
        "resource_kwargs": {"frame_per_point": 2},
    }
    Run({"camera": raw, "other": tiff(tmp_path, images)}, camera=(2, 60, 80)).feed(reduction, 3)
    assert_curves(events_of(found, "camera"), images, calibration)
    assert_curves(events_of(found, "other"), images[:3], calibration)


def test_handler_of_a_session_comes_before_what_is_known(
    reductions: Make, calibration: Calibration, images: np.ndarray, tmp_path: Path
) -> None:
    reduction, found = reductions(calibration, handlers={"AD_TIFF": RawBytes})
    (tmp_path / "raw").write_bytes(images.tobytes())
    raw = {"spec": "AD_TIFF", "root": str(tmp_path), "resource_path": "raw", "resource_kwargs": {}}
    Run({"camera": raw}).feed(reduction, 6)
    assert_curves(events_of(found), images, calibration)


def test_handler_that_is_none_is_refused(calibration: Calibration) -> None:
    with pytest.raises(PluginError, match="wanted a handler's class for each spec, found 'RawBytes' for 'RAW_BYTES'"):
        Reduction(calibration, handlers={"RAW_BYTES": "RawBytes"})  # type: ignore[dict-item]


def test_handler_that_gives_more_images_than_documents_say(
    reductions: Make, calibration: Calibration, images: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "raw").write_bytes(images.tobytes())
    raw = {"spec": "RAW_BYTES", "root": "/", "resource_path": str(tmp_path / "raw"), "resource_kwargs": {}}
    reduction, found = reductions(calibration, patience=0.0, handlers={"RAW_BYTES": lambda path: lambda **_: images})
    Run({"camera": raw}).feed(reduction, 2)
    failures = [event["data"]["failure"] for event in events_of(found)]
    assert failures == [f"{tmp_path}/raw: wanted 1 images as its documents say, found 6"] * 2


WRONG = {
    "unheard of": ({"spec": "UNHEARD_OF"}, {}, "no handler reads files of spec UNHEARD_OF: give Reduction"),
    "no spec": ({"spec": None}, {}, "no handler reads files of spec None"),
    "no template": ({"resource_kwargs": {"filename": "x"}}, {"point_number": 0}, "found KeyError('template') in it"),
    "wrong template": ({"resource_kwargs": TIFF | {"template": "%d%d"}}, {"point_number": 0}, "wanted a resource"),
    "no kwargs": ({"resource_kwargs": None}, {"point_number": 0}, "found KeyError('template') in it"),
    "no point": ({}, {}, "wanted a point_number in datum_kwargs, found {}"),
    "another argument": ({}, {"frame": 3}, "wanted a point_number in datum_kwargs, found {'frame': 3}"),
    "text": ({}, {"point_number": "1"}, "wanted a number from 0 on as point_number, found '1'"),
    "negative": ({}, {"point_number": -1}, "wanted a number from 0 on as point_number, found -1"),
    "half": ({}, {"point_number": 0.5}, "wanted a number from 0 on as point_number, found 0.5"),
    "nothing": ({}, {"point_number": None}, "wanted a resource of spec AD_TIFF, found TypeError"),
    "no frames": ({"resource_kwargs": TIFF | {"frame_per_point": 0}}, {"point_number": 0}, "wanted a number of frames"),
    "all frames": ({"resource_kwargs": TIFF | {"frame_per_point": 10**12}}, {"point_number": 0}, "wanted a number of"),
    "relative": ({"root": "", "resource_path": "a/"}, {"point_number": 0}, "wanted an absolute path in root and resou"),
    "windows": ({"root": "C:\\data", "path_semantics": "windows"}, {"point_number": 0}, "found C:\\data\\"),
    "handler's arguments": ({"spec": "RAW_BYTES", "resource_kwargs": {"colour": 1}}, {}, "the handler of spec RAW_B"),
    "handler's datum": ({"spec": "RAW_BYTES", "resource_kwargs": {}}, {"frame": 1}, "the handler of spec RAW_B"),
    "installed handler's datum": ({"spec": "AD_SPE"}, {"frame": 1}, "the handler of spec AD_SPE cannot be called"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_documents_that_lead_nowhere_fail_at_once_and_the_other_detector_goes_on(
    reductions: Make,
    calibration: Calibration,
    images: np.ndarray,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    case: str,
) -> None:
    resource, datum, why = WRONG[case]
    (tmp_path / "wrong").mkdir()
    reduction, found = reductions(calibration, patience=PATIENCE, handlers={"RAW_BYTES": RawBytes})
    wrong = tiff(tmp_path / "wrong", images[::-1], **resource)
    begin = time.monotonic()
    Run({"wrong": wrong, "good": tiff(tmp_path, images)}).feed(reduction, 3, wrong=datum)
    assert time.monotonic() - begin < PATIENCE / 2
    assert_curves(events_of(found, "good"), images[:3], calibration)
    failures = [event["data"]["failure"] for event in events_of(found, "wrong")]
    assert len(failures) == 3
    for failure in failures:
        assert why in failure
        assert "\n" not in failure
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("root", "path", "more"),
    [
        ("{parent}", "{name}/", {}),
        ("{parent}/", "{name}", {}),
        ("{parent}//", "./{name}//", {}),
        ("/", "{folder}/", {}),
        ("", "{folder}/", {}),
        ("/elsewhere", "{folder}/", {}),  # an absolute path counts by itself
        ("{parent}", "{name}\\", {"path_semantics": "windows"}),
    ],
)
def test_roots_and_paths(
    reductions: Make, calibration: Calibration, images: np.ndarray, tmp_path: Path, root: str, path: str, more: Any
) -> None:
    names = {"parent": str(tmp_path.parent), "name": tmp_path.name, "folder": str(tmp_path)}
    resource = tiff(tmp_path, images, root=root.format(**names), resource_path=path.format(**names), **more)
    reduction, found = reductions(calibration, patience=0.0)
    Run({"camera": resource}).feed(reduction, 6)
    assert_curves(events_of(found), images, calibration)


@pytest.mark.parametrize("pages", ["datums", "events", "both", "mixed"])
def test_pages_of_datums_and_events(
    reductions: Make, calibration: Calibration, images: np.ndarray, tmp_path: Path, pages: str
) -> None:
    run = Run({"camera": tiff(tmp_path, images), "other": hdf5(tmp_path / "a.h5", images[::-1], "AD_HDF5_SWMR")})
    points = [run.point(number) for number in range(6)]
    datums = [[doc for name, doc in point if name == "datum"] for point in points]
    events = [point[-1][1] for point in points]
    by_resource = [[pair[which] for pair in datums] for which in range(2)]
    match pages:
        case "datums":
            documents = [
                *(("datum_page", dict(pack_datum_page(*some))) for some in by_resource),
                *(("event", one) for one in events),
            ]
        case "events":
            documents = [
                *(("datum", one) for some in by_resource for one in some),
                ("event_page", dict(pack_event_page(*events))),
            ]
        case "both":
            documents = [*(("datum_page", dict(pack_datum_page(*some))) for some in by_resource)]
            documents += [("event_page", dict(pack_event_page(*some))) for some in (events[:2], events[2:])]
        case _:
            documents = [one for point in points[:2] for one in point]
            documents += [("datum_page", dict(pack_datum_page(*some[2:5]))) for some in by_resource]
            documents += [("event_page", dict(pack_event_page(*events[2:4]))), ("event", events[4]), *points[5]]
    reduction, found = reductions(calibration, patience=0.0)
    for name, doc in run.begin + documents:
        reduction(name, doc)
    assert reduction.wait(PATIENCE)
    assert_curves(events_of(found, "camera"), images, calibration)
    assert_curves(events_of(found, "other"), images[::-1], calibration)


def test_event_of_a_page_that_makes_no_sense_costs_no_other(
    reductions: Make, calibration: Calibration, images: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run({"camera": tiff(tmp_path, images)})
    points = [run.point(number) for number in range(3)]
    page = pack_event_page(*(point[-1][1] for point in points))
    page["seq_num"][1] = None  # type: ignore[call-overload]
    reduction, found = reductions(calibration, patience=0.0)
    for name, doc in run.begin + [one for point in points for one in point[:-1]] + [("event_page", dict(page))]:
        reduction(name, doc)
    assert reduction.wait(PATIENCE)
    assert_curves(events_of(found), images[[0, 2]], calibration, (0, 2))
    assert "a document could not be followed" in caplog.text


def streamed(reduction: Reduction, resource: dict[str, Any], rows: int, shape: Sequence[int] = (1, 60, 80)) -> None:
    run = event_model.compose_run()
    stream = run.compose_descriptor(name="primary", data_keys={"camera": key(shape, "STREAM:")})
    uid = run.start_doc["uid"]
    reduction("start", dict(run.start_doc))
    reduction("descriptor", dict(stream.descriptor_doc))
    reduction("stream_resource", {"uid": "r", "data_key": "camera", "run_start": uid} | resource)
    for row in range(rows):
        ranges = {"indices": {"start": row, "stop": row + 1}, "seq_nums": {"start": row + 1, "stop": row + 2}}
        datum = {"uid": f"r/{row}", "stream_resource": "r", "descriptor": stream.descriptor_doc["uid"]}
        reduction("stream_datum", datum | ranges)
    reduction("stop", dict(run.compose_stop()))
    assert reduction.wait(PATIENCE)


@pytest.mark.parametrize(
    "uri",
    [
        "file://localhost{path}",
        "file://detector-pc.example.org{path}",
        "file://{path}",
        "file:{path}",
        "{path}",
        "FILE://localhost{path}",
    ],
)
@pytest.mark.parametrize("name", ["a b.h5", "a%20b.h5", "50%.h5", "run#1.h5", "why?.h5", "\u00e4+b.h5"])
def test_uris(
    reductions: Make, calibration: Calibration, images: np.ndarray, tmp_path: Path, uri: str, name: str
) -> None:
    quoted = name.replace("%", "%25").replace(" ", "%20").replace("\u00e4", "%C3%A4")
    path = str(tmp_path / quoted)
    hdf5(tmp_path / name, images, "")
    reduction, found = reductions(calibration, patience=0.0)
    resource = {
        "mimetype": "application/x-hdf5",
        "uri": uri.format(path=path),
        "parameters": {"dataset": "/entry/data/data"},
    }
    streamed(reduction, resource, 2)
    assert_curves(events_of(found), images[:2], calibration)
    assert {event["data"]["image_path"] for event in events_of(found)} == {str(tmp_path / name)}


@pytest.mark.parametrize(
    ("kwargs", "rows", "shape"),
    [
        ({"path": "/entry/data/data", "multiplier": 1, "timestamps": "/entry/t"}, 6, (1, 60, 80)),  # of ophyd-async 0.3
        ({"dataset": "/entry/data/data", "swmr": True, "chunk_shape": (1, 60, 80), "locking": None}, 6, (60, 80)),
        ({"dataset": "/entry/data/data", "join_method": "concat", "chunk_shape": (2, 60, 80)}, 3, (2, 60, 80)),
        ({"dataset": "/entry/data/data", "join_method": "stack", "chunk_shape": (1, 2, 60, 80)}, 3, (2, 60, 80)),
        ({"dataset": "/stacked", "join_method": "stack"}, 3, (2, 60, 80)),
        ({}, 6, (1, 60, 80)),
    ],
)
@pytest.mark.parametrize("old", [True, False])
def test_parameters_of_hdf5_streams_old_and_new(
    reductions: Make,
    calibration: Calibration,
    images: np.ndarray,
    tmp_path: Path,
    kwargs: dict[str, Any],
    rows: int,
    shape: Any,
    old: bool,
) -> None:
    hdf5(tmp_path / "a.h5", images, "")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["stacked"] = images.reshape(3, 2, 60, 80)
    if old:
        resource = {
            "spec": "AD_HDF5_SWMR_SLICE",
            "root": str(tmp_path),
            "resource_path": "a.h5",
            "resource_kwargs": kwargs,
        }
    else:
        resource = {"mimetype": "application/x-hdf5", "uri": f"file://localhost{tmp_path}/a.h5", "parameters": kwargs}
    reduction, found = reductions(calibration, patience=0.0)
    streamed(reduction, resource, rows, shape)
    assert_curves(events_of(found), images, calibration)


@pytest.mark.parametrize(("template", "pages"), [("part_{:03d}.h5", 2), ("/part_{:03d}.h5", 2), ("part_%03d.h5", 2)])
def test_sequence_of_hdf5_files(
    reductions: Make, calibration: Calibration, images: np.ndarray, tmp_path: Path, template: str, pages: int
) -> None:
    for number in range(3):
        hdf5(tmp_path / f"part_{number:03d}.h5", images[2 * number : 2 * number + 2], "")
    parameters = {"dataset": "/entry/data/data", "template": template, "chunk_shape": (2, 60, 80)}
    resource = {"mimetype": "application/x-hdf5", "uri": f"file://localhost{tmp_path}/", "parameters": parameters}
    reduction, found = reductions(calibration, patience=0.0)
    streamed(reduction, resource, 3, (2, 60, 80))
    assert_curves(events_of(found), images, calibration)


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("x_{:06d}.tif", "{folder}/"),
        ("/x_{:06d}.tif", "{folder}"),
        ("/x_{:06d}.tif", "{folder}/"),
        ("x_{:06d}.tif", "{folder}"),
        ("_{:06d}.tif", "{folder}/x"),  # of the file's name, the beginning
        ("%s%s_%06d.tif", "{folder}/"),
        ("%s%s_%6.6d.tif", "{folder}"),
        ("{{filename}}_{{:06d}}.tif", "{folder}/"),
        ("%s_%06d.tif", "{folder}/"),
    ],
)
def test_sequence_of_tiff_files(
    reductions: Make, calibration: Calibration, images: np.ndarray, tmp_path: Path, template: str, uri: str
) -> None:
    tiff(tmp_path, images)
    parameters = {
        "template": template.replace("{{", "{").replace("}}", "}"),
        "filename": "x",
        "chunk_shape": (1, 60, 80),
    }
    resource = {
        "mimetype": "multipart/related;type=image/tiff",
        "uri": "file://localhost" + uri.format(folder=tmp_path),
        "parameters": parameters,
    }
    reduction, found = reductions(calibration, patience=0.0)
    streamed(reduction, resource, 6)
    assert_curves(events_of(found), images, calibration)


WRONG_STREAMS = {
    "mimetype": ({"mimetype": "image/jpeg"}, "wanted HDF5 or TIFF files, found image/jpeg"),
    "no mimetype": ({"mimetype": None}, "wanted HDF5 or TIFF files, found None"),
    "scheme": ({"uri": "s3://bucket/a.h5"}, "wanted the URI of a file with an absolute path, found 's3://bucket/a.h5'"),
    "no path": ({"uri": "file://localhost"}, "wanted the URI of a file with an absolute path"),
    "relative": ({"uri": "a.h5"}, "wanted the URI of a file with an absolute path, found 'a.h5'"),
    "no uri": ({"uri": None}, "wanted the URI of a file with an absolute path, found 'None'"),
    "slice": ({"parameters": {"slice": [":", "0:5"]}}, "wanted all of a dataset, found the slice"),
    "multiplier": ({"parameters": {"multiplier": -2}}, "wanted a number of frames in multiplier, found -2"),
    "text": ({"parameters": {"multiplier": "2"}}, "wanted a number of frames in multiplier, found '2'"),
    "parameters": ({"parameters": ["dataset"]}, "wanted a dataset /entry/data/data, found none"),
    "dataset": ({"parameters": {"dataset": "/entry"}}, "wanted a dataset /entry, found a group"),
    "another shape": ({"parameters": {"dataset": "/numbers"}}, "wanted a stack of images in /numbers, found shape"),
}


@pytest.mark.parametrize("case", WRONG_STREAMS)
def test_streams_that_lead_nowhere(reductions: Make, calibration: Calibration, tmp_path: Path, case: str) -> None:
    change, why = WRONG_STREAMS[case]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/other"], file["numbers"] = 1, np.arange(5)
    resource = {"mimetype": "application/x-hdf5", "uri": f"file://localhost{tmp_path}/a.h5", "parameters": {}} | change
    reduction, found = reductions(calibration, patience=0.1)
    streamed(reduction, resource, 2)
    failures = [event["data"]["failure"] for event in events_of(found)]
    assert len(failures) == 2
    for failure in failures:
        assert why in failure


def test_data_key_that_makes_no_sense_costs_no_other(
    reductions: Make, calibration: Calibration, images: np.ndarray, tmp_path: Path
) -> None:
    run = Run({"camera": tiff(tmp_path, images)})
    descriptor = run.begin[1][1]
    for name, shape in {"a": 7, "b": None, "c": "60x80", "d": {}}.items():
        descriptor["data_keys"][name] = {"dtype": "array", "shape": shape, "source": "test", "external": "STREAM:"}
    descriptor["object_keys"] = None
    run.begin[0][1]["hints"] = {"dimensions": [(list("abcd"), "primary")]}
    reduction, found = reductions(calibration, patience=0.0)
    run.feed(reduction, 6)
    assert_curves(events_of(found, "camera"), images, calibration)
