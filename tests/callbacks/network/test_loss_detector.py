"""What a guard finds out about documents that were lost, doubled, late or never documents."""

from __future__ import annotations

import ast
import copy
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import event_model
import pytest
from bluesky import RunEngine
from bluesky.plans import count, scan
from ophyd.sim import det, motor
from ophyd_async.core import StaticPathProvider, TriggerInfo, UUIDFilenameProvider, init_devices
from ophyd_async.sim import SimBlobDetector, SimMotor

from saxs_bluesky.callbacks.network import LossDetector
from saxs_bluesky.callbacks.network._sequence_gaps import SequenceGaps, as_text, how_many

NamedDocument = tuple[str, dict[str, Any]]


def run_documents(events: int = 10, **start: Any) -> list[NamedDocument]:
    """A run of events without images."""
    bundle = event_model.compose_run(metadata=start)
    stream = bundle.compose_descriptor(
        name="primary", data_keys={"x": {"dtype": "number", "shape": [], "source": "test"}}
    )
    made = [stream.compose_event(data={"x": 1.0 * n}, timestamps={"x": 1.0}) for n in range(events)]
    return [
        ("start", dict(bundle.start_doc)),
        ("descriptor", dict(stream.descriptor_doc)),
        *(("event", dict(event)) for event in made),
        ("stop", dict(bundle.compose_stop())),
    ]


def streamed_documents(frames: int) -> list[NamedDocument]:
    """A run of stream_datum without events, one for each frame."""
    bundle = event_model.compose_run()
    keys = {"camera": {"dtype": "array", "shape": [1, 60, 80], "source": "test", "external": "STREAM:"}}
    stream = bundle.compose_descriptor(name="primary", data_keys=keys)
    resource = bundle.compose_stream_resource(
        mimetype="application/x-hdf5", uri="file://localhost/x.h5", data_key="camera", parameters={}
    )
    made = [
        resource.compose_stream_datum(
            indices={"start": n, "stop": n + 1},
            seq_nums={"start": n + 1, "stop": n + 2},
            descriptor=stream.descriptor_doc,
        )
        for n in range(frames)
    ]
    return [
        ("start", dict(bundle.start_doc)),
        ("descriptor", dict(stream.descriptor_doc)),
        ("stream_resource", dict(resource.stream_resource_doc)),
        *(("stream_datum", dict(datum)) for datum in made),
        ("stop", dict(bundle.compose_stop()) | {"num_events": {"primary": frames}}),
    ]


def guarded(documents: list[NamedDocument], **keywords: Any) -> tuple[LossDetector, list[NamedDocument]]:
    """Feed documents to a guard; return it and what it handed on."""
    passed: list[NamedDocument] = []
    guard = LossDetector(lambda name, doc: passed.append((name, dict(doc))), **keywords)
    for name, doc in documents:
        guard(name, doc)
    return guard, passed


def test_coverage_knows_what_is_missing() -> None:
    coverage = SequenceGaps()
    assert [coverage.add(*numbers) for numbers in ((1, 2), (2, 4), (6, 7), (12, 15))] == [0, 0, 2, 5]
    assert coverage.missing() == [(4, 6), (7, 12)]
    assert coverage.missing(16) == [(4, 6), (7, 12), (15, 17)]
    assert coverage.missing(9) == [(4, 6), (7, 10)]
    assert how_many(coverage.missing()) == 7
    assert as_text(coverage.missing(16)) == "4-5, 7-11, 15-16"
    assert as_text([(n, n + 1) for n in range(1, 40, 2)], limit=3) == "1, 3, 5, ..."
    coverage.add(8, 10)  # late, and in the middle
    assert coverage.missing() == [(4, 6), (7, 8), (10, 12)]
    coverage.add(1, 12)
    assert coverage.missing() == []


@pytest.mark.parametrize("numbers", [(0, 1), (2, 2), (-1, 3), (float("nan"), 2)])
def test_coverage_refuses_what_is_no_number(numbers: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="wanted sequence numbers from 1 up"):
        SequenceGaps().add(*numbers)


def test_whole_run_passes_untouched() -> None:
    documents = run_documents()
    before = copy.deepcopy(documents)
    guard, passed = guarded(documents)
    assert passed == documents == before
    assert (guard.report.passed, guard.report.lost, str(guard.report)) == (13, 0, "")


def test_lost_events_are_told_at_the_gap_and_at_the_stop(caplog: pytest.LogCaptureFixture) -> None:
    documents = run_documents()
    run = documents[0][1]["uid"]
    del documents[5], documents[7:9]  # seq_num 4; 7 and 8
    guard, passed = guarded(documents)
    assert [doc["seq_num"] for name, doc in passed if name == "event"] == [1, 2, 3, 5, 6, 9, 10]
    assert guard.report.lost == 3
    losses = "lost on the way: 3 of 10 events of stream primary (seq_num 4, 7-8)"
    assert guard.report.told == (
        f"run {run}: wanted seq_num 4 of events of stream primary, found 5: what is between is lost",
        f"run {run}: {losses}",
    )
    assert caplog.messages == list(guard.report.told)
    assert passed[-1][1]["reason"] == losses
    assert documents[-1][1]["reason"] == ""  # the document itself is not touched


def test_loss_is_known_before_the_stop() -> None:
    documents = run_documents()
    del documents[5]
    assert guarded(documents[:-1])[0].report.lost == 1


def test_events_lost_at_the_end_are_found_by_the_stop() -> None:
    documents = run_documents()
    guard, passed = guarded([*documents[:9], documents[-1]])
    assert guard.report.lost == 3
    assert passed[-1][1]["reason"] == "lost on the way: 3 of 10 events of stream primary (seq_num 8-10)"


def test_lost_descriptor_loses_its_events_and_says_so() -> None:
    documents = run_documents(3)
    descriptor = documents.pop(1)[1]["uid"]
    guard, passed = guarded(documents)
    assert [name for name, _ in passed] == ["start", "stop"]
    assert (guard.report.lost, guard.report.passed_over) == (3, 3)
    assert guard.report.told[0] == (
        f"event without its descriptor {descriptor}: passed over, like what follows of that descriptor"
    )
    assert passed[-1][1]["reason"] == "lost on the way: all 3 events of stream primary, with its descriptor"


def test_event_pages_are_counted_event_by_event() -> None:
    documents = run_documents(6)
    events = [doc for name, doc in documents if name == "event"]
    pages = [event_model.pack_event_page(*events[:2]), event_model.pack_event_page(*events[3:])]
    guard, passed = guarded([*documents[:2], *(("event_page", dict(page)) for page in pages), documents[-1]])
    assert [doc["seq_num"] for name, doc in passed if name == "event"] == [1, 2, 4, 5, 6]
    assert guard.report.lost == 1


def test_event_that_makes_no_sense_does_not_take_its_page_along() -> None:
    documents = run_documents(3)
    page = event_model.pack_event_page(*(doc for name, doc in documents if name == "event"))
    page["seq_num"][1] = "two"
    guard, passed = guarded([*documents[:2], ("event_page", dict(page)), documents[-1]])
    assert [doc["seq_num"] for name, doc in passed if name == "event"] == [1, 3]
    assert (guard.report.senseless, guard.report.lost) == (1, 1)


def test_lost_stream_datum_is_found_without_events() -> None:
    documents = streamed_documents(6)
    del documents[5]
    _guard, passed = guarded(documents)
    assert [doc["seq_nums"]["start"] for name, doc in passed if name == "stream_datum"] == [1, 2, 4, 5, 6]
    assert passed[-1][1]["reason"] == "lost on the way: 1 of 6 frames of camera in stream primary (seq_num 3)"


def test_lost_stream_resource_loses_its_frames() -> None:
    documents = streamed_documents(4)
    del documents[2]
    guard, _passed = guarded(documents)
    assert guard.report.lost == 4
    assert "without its stream_resource" in guard.report.told[0]


@pytest.mark.parametrize("by", ["its own run", "no run", "a run that has stopped"])
def test_resource_of_another_run_is_of_use_to_datums(by: str) -> None:
    """A detector that is staged once for two runs tells of its resource in the first only; old ones name no run."""
    first, second = event_model.compose_run(), event_model.compose_run()
    keys = {"camera": {"dtype": "array", "shape": [1, 60, 80], "source": "test", "external": "FILESTORE:"}}
    made = first.compose_resource(spec="AD_TIFF", root="/", resource_path="x", resource_kwargs={})
    resource = dict(made.resource_doc)
    if by == "no run":
        del resource["run_start"]
    documents: list[NamedDocument] = [("start", dict(first.start_doc)), ("stop", dict(first.compose_stop()))]
    documents.insert(2 if by == "a run that has stopped" else 1, ("resource", resource))
    stream = second.compose_descriptor(name="primary", data_keys=keys)
    documents += [("start", dict(second.start_doc)), ("descriptor", dict(stream.descriptor_doc))]
    for number in range(2):
        datum = made.compose_datum(datum_kwargs={"point_number": number})
        event = stream.compose_event(
            data={"camera": datum["datum_id"]}, timestamps={"camera": 1.0}, filled={"camera": False}
        )
        documents += [("datum", dict(datum)), ("event", dict(event))]
    documents.append(("stop", dict(second.compose_stop())))
    guard, passed = guarded(documents)
    assert passed == documents
    assert guard.report.told == ()


def test_duplicates_are_left_out() -> None:
    documents = run_documents(4)
    guard, passed = guarded([named for named in documents for _ in range(2)])
    assert passed == documents
    assert (guard.report.duplicates, guard.report.lost, guard.report.passed_over) == (7, 0, 0)


def test_run_published_again_after_its_stop_is_another() -> None:
    documents = run_documents(2)
    _, passed = guarded([*documents, *documents])
    assert passed == [*documents, *documents]


def test_point_that_was_taken_again_is_no_duplicate() -> None:
    documents = run_documents(3)
    again = documents[3][1] | {"uid": "another"}  # as the RunEngine does when it rewinds
    guard, passed = guarded([*documents[:4], ("event", again), *documents[4:]])
    assert len(passed) == len(documents) + 1
    assert (guard.report.lost, guard.report.duplicates) == (0, 0)


@pytest.mark.parametrize("first", [1, 2, 5, 12])
def test_late_join_is_told_with_its_run(first: int) -> None:
    documents = run_documents()
    run = documents[0][1]["uid"]
    guard, passed = guarded([*documents[first:], *run_documents(2)])
    assert [name for name, _ in passed] == ["start", "descriptor", "event", "event", "stop"]
    assert guard.report.passed_over == 13 - first
    assert guard.report.told[-1] == f"joined late: {13 - first} documents of run {run} passed over"


def test_late_run_beside_another_claims_only_what_is_its_own() -> None:
    late, other = run_documents(2), run_documents(2)
    guard, passed = guarded([other[0], *late[2:], *other[1:]])
    assert passed == other
    assert guard.report.passed_over == 3
    assert f"joined late: 1 documents of run {late[0][1]['uid']} passed over" in guard.report.told


def test_interleaved_runs_are_counted_apart() -> None:
    runs = [run_documents(5) for _ in range(3)]
    del runs[1][4]
    documents = [named for some in zip(*(run[:7] for run in runs), strict=True) for named in some]
    guard, passed = guarded([*documents, runs[0][7], runs[2][7]])
    assert guard.report.lost == 1
    assert [doc["reason"] == "" for name, doc in passed if name == "stop"] == [False, True, True]


def test_run_that_never_stops_is_forgotten_and_closed() -> None:
    runs = [run_documents(2, number=number) for number in range(5)]
    guard, passed = guarded([named for run in runs for named in run[:-1]], open_runs=3)
    stops = [doc for name, doc in passed if name == "stop"]
    assert [stop["run_start"] for stop in stops] == [run[0][1]["uid"] for run in runs[:2]]
    event_model.schema_validators[event_model.DocumentNames.stop].validate(stops[0])
    assert stops[0]["exit_status"] == "abort"
    assert stops[0]["reason"] == "no stop document came; forgotten after 0 s without a document"
    assert guard.report.forgotten == 2


def test_idle_run_is_forgotten_when_another_starts() -> None:
    one, other = run_documents(2), run_documents(2)
    guard, passed = guarded([*one[:-1], *other, one[-1]], idle_seconds=0)
    assert [name for name, _ in passed].count("stop") == 2
    assert (guard.report.forgotten, guard.report.passed_over) == (1, 0)


INSANE: list[tuple[Any, Any]] = [
    ("start", {}),
    ("start", {"uid": []}),
    ("start", None),
    ("nonsense", {}),
    ("event", {}),
    ("event", {"descriptor": {}, "seq_num": 1}),
    ("event", 7),
    ("event_page", {"descriptor": "x"}),
    ("event_page", {"uid": 3}),
    ("descriptor", {"run_start": "RUN", "uid": "d"}),
    ("descriptor", {"run_start": "RUN", "uid": ["d"], "name": {}, "data_keys": 3}),
    ("stream_datum", {"descriptor": "DESCRIPTOR", "uid": "s"}),
    ("stream_resource", {"run_start": "RUN", "uid": "r"}),
    ("resource", {"uid": "r"}),
    ("datum", {"x": 1}),
    ("datum_page", {"resource": None}),
    ("event", {"descriptor": "DESCRIPTOR", "uid": "e1", "seq_num": "1"}),
    ("event", {"descriptor": "DESCRIPTOR", "uid": "e2", "seq_num": -3}),
    ("event", {"descriptor": "DESCRIPTOR", "uid": "e3"}),
    ("stop", {}),
    ("stop", {"run_start": {"x": 1}}),
]


def test_documents_that_make_no_sense_are_survived() -> None:
    documents = run_documents(3)
    text = repr(INSANE).replace("RUN", documents[0][1]["uid"]).replace("DESCRIPTOR", documents[1][1]["uid"])
    insane = ast.literal_eval(text)
    guard, passed = guarded([*documents[:3], *insane, *documents[3:]])
    assert passed == documents
    assert guard.report.senseless + guard.report.passed_over >= len(INSANE)
    assert guard.report.lost == 0


@pytest.mark.parametrize("num_events", [None, 3, {"primary": "three"}, {"primary": None}, {}])
def test_stop_passes_whatever_it_counts(num_events: Any) -> None:
    documents = run_documents(3)
    documents[-1][1]["num_events"] = num_events
    guard, passed = guarded(documents)
    assert passed[-1][0] == "stop"
    assert guard.report.lost == 0


# Real runs have no losses


@pytest.fixture
def engine() -> RunEngine:
    return RunEngine({})


def test_real_scans_are_found_whole(engine: RunEngine) -> None:
    guard, passed = guarded([])
    engine.subscribe(guard)
    plan = bpp.baseline_wrapper(scan([det], motor, -1, 1, 4), [motor])
    engine(bpp.monitor_during_wrapper(plan, [motor]))
    engine(count([det], 2))
    assert (guard.report.told, guard.report.lost) == ((), 0)
    assert len(passed) == guard.report.passed > 14


def test_real_streams_are_found_whole(engine: RunEngine, tmp_path: Path) -> None:
    guard, passed = guarded([])
    with init_devices():
        blob = SimBlobDetector(StaticPathProvider(UUIDFilenameProvider(), tmp_path), name="blob")
        stage = SimMotor(name="stage", instant=True)
    engine.subscribe(guard)
    engine(scan([blob], stage, 0, 1, 2))
    engine(count([blob], 2))

    @bpp.stage_decorator([blob])
    @bpp.run_decorator()
    def fly() -> Any:
        yield from bps.prepare(blob, TriggerInfo(number_of_events=3), wait=True)
        yield from bps.declare_stream(blob, name="primary", collect=True)
        yield from bps.kickoff(blob, wait=True)
        yield from bps.collect_while_completing(flyers=[blob], dets=[blob], stream_name="primary", flush_period=0.2)

    engine(fly())
    assert (guard.report.told, guard.report.lost) == ((), 0)
    assert sum(name == "stream_datum" for name, _ in passed) >= 5
