"""A wrong value in an event costs itself: the rest of the event is in the catalog, and what was left out is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_model import compose_run

from saxs_bluesky.callbacks import CatalogWriter, Reduction
from saxs_bluesky.reduction import Calibration
from tests.helpers.waiting import PATIENCE

NamedDocument = tuple[str, dict[str, Any]]


@pytest.fixture
def written(catalog: Any, tmp_path: Path) -> Callable[..., Any]:
    """Write a run whose events have these values of a key beside good ones; return the container of its stream."""

    def write(entry: dict[str, Any], values: list[Any], *, key: str = "k", together: bool = False) -> Any:
        run = compose_run()
        keys = {"good": {"dtype": "number", "shape": [], "source": "SIM"}, key: {"source": "SIM"} | entry}
        bundle = run.compose_descriptor(name="primary", data_keys=keys, validate=False)
        writer = CatalogWriter(catalog, journal=tmp_path / "journal", batch_seconds=0.02)
        writer("start", run.start_doc)
        writer("descriptor", bundle.descriptor_doc)
        for index, value in enumerate(values):
            data = {"good": index / 4, key: value}
            writer("event", bundle.compose_event(data=data, timestamps=dict.fromkeys(data, 1.5), validate=False))
            assert together or writer.wait(PATIENCE)
        writer("stop", run.compose_stop())
        assert writer.wait(PATIENCE)
        write.counters = writer.counters
        assert writer.close()
        stream = catalog[run.start_doc["uid"]].base["primary"].base
        assert stream["internal"].read()["good"].tolist() == [index / 4 for index in range(len(values))]
        return stream

    return write


def left_out(journal: Path) -> list[tuple[int, str, Any]]:
    files = list((journal / "rejected").glob("*-values.jsonl"))
    found = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert all(each["reason"] for each in found)
    return [(each["seq_num"], each["key"], each["value"]) for each in found]


NUMBER = {"dtype": "number", "shape": []}
INTEGER = {"dtype": "integer", "shape": []}
CURVE = {"dtype": "array", "shape": [3], "dtype_numpy": "<f8"}
COUNTS = {"dtype": "array", "shape": [3], "dtype_numpy": "<i4"}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("wrong", ["off", None, [1.0, 2.0], {"a": 1}, 10**400])
def test_wrong_value_in_a_column_of_numbers_is_nan(written, tmp_path, wrong, together):
    stream = written(NUMBER, [0.5, wrong, 2.5], together=together)
    found = stream["internal"].read()["k"].tolist()
    assert found[::2] == [0.5, 2.5]
    assert math.isnan(found[1])
    assert left_out(tmp_path / "journal") == [(2, "k", wrong)]
    assert written.counters.left_out == 1


@pytest.mark.parametrize("together", [True, False])
def test_whole_numbers_become_others_where_one_has_a_fraction(written, tmp_path, together):
    stream = written(INTEGER, [1, 2, 2.5, 3], together=together)
    assert stream["internal"].read()["k"].tolist() == [1.0, 2.0, 2.5, 3.0]
    assert list(stream.parent) == ["primary"]
    assert left_out(tmp_path / "journal") == []


def test_large_whole_numbers_keep_every_digit(written, tmp_path):
    stream = written(INTEGER, [2**60 + 1, 2**60 + 3, 0.5])
    assert stream["internal"].read()["k"].tolist()[:2] == pytest.approx([2**60, 2**60])
    assert left_out(tmp_path / "journal") == [(3, "k", 0.5)]


@pytest.mark.parametrize("key", ["a;b", "x" * 70, "GOOD", "2theta", "a/b", "a.b"])
def test_key_that_no_table_takes_is_set_aside_by_name(written, tmp_path, key):
    written(NUMBER, [1.0, 2.0], key=key)
    assert left_out(tmp_path / "journal") == [(1, key, 1.0), (2, key, 2.0)]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("entry", [CURVE, COUNTS])
def test_arrays_of_other_lengths_come_back_as_they_were(written, tmp_path, entry, together):
    dtype = entry["dtype_numpy"]
    values = [np.arange(size).astype(dtype) for size in (3, 3, 2, 4)]
    stream = written(entry, values, together=together)
    assert list(stream) == ["internal"]
    found = [json.loads(text) for text in stream["internal"].read()["k"]]
    assert found == [value.tolist() for value in values]
    assert left_out(tmp_path / "journal") == []


@pytest.mark.parametrize("wrong", ["off", None])
def test_array_that_is_none_is_nan(written, tmp_path, wrong):
    stream = written(CURVE, [np.ones(3), wrong, np.zeros(3)])
    np.testing.assert_array_equal(stream["k"].read(), [[1, 1, 1], [np.nan] * 3, [0, 0, 0]])
    assert left_out(tmp_path / "journal") == [(2, "k", wrong)]


def test_fractions_in_an_array_of_whole_numbers_are_not_cut_off(written, tmp_path):
    values = [np.array([1, 2, 3], dtype="<i4"), np.array([1.5, 2.0, 3.0])]
    stream = written(COUNTS, values)
    assert [json.loads(text) for text in stream["internal"].read()["k"]] == [[1, 2, 3], [1.5, 2.0, 3.0]]


def test_text_keeps_what_it_can_hold(written, tmp_path):
    stream = written({"dtype": "string", "shape": []}, ["a", "", "b\0c", "\ud800", "ü"])
    found = stream["internal"].read()["k"].astype(object).where(lambda column: column.notna(), None).tolist()
    assert found == ["a", "", None, None, "ü"]
    assert [number for number, *_ in left_out(tmp_path / "journal")] == [3, 4]


def test_arrays_that_the_descriptor_tells_to_vary_are_stored_as_they_are(written):
    stream = written({"dtype": "array", "shape": [None]}, [[1.0], [], [2.0, 3.0]])
    assert [json.loads(text) for text in stream["internal"].read()["k"]] == [[1.0], [], [2.0, 3.0]]


def test_what_is_set_aside_is_told_by_the_status_of_the_reduction(catalog, tmp_path, document):
    writer = CatalogWriter(catalog, journal=tmp_path / "journal")
    reduction = Reduction(Calibration.from_dict(document), [writer])
    assert reduction.status.set_aside == 0
    writer("event", {"descriptor": "of no run", "data": {}})
    assert not reduction.wait(PATIENCE)
    assert reduction.status.set_aside == 1
    writer.close()
