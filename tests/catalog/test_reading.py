from __future__ import annotations

import sqlite3

import numpy as np
import pandas as pd
import pytest

from saxs_bluesky.catalog import _curves, read_curves
from saxs_bluesky.catalog._errors import words
from saxs_bluesky.catalog._trouble import may_pass
from saxs_bluesky.errors import CatalogError
from tests.helpers.runs import reduced, write


def renamed(documents, stream):
    for name, doc in documents:
        if name == "descriptor":
            doc["name"] = stream
        if name == "stop":
            doc["num_events"] = {stream: doc["num_events"]["primary"]}
    return documents


def test_run_that_has_just_begun_is_empty(catalog, reducer):
    documents = reduced(reducer, [], "raw-begun")
    found = read_curves(write(catalog, documents[:1]))
    assert dict(found.sizes) == {"frame": 0}
    assert found.attrs["original_run_uid"] == "raw-begun"


def test_only_stream_needs_no_name(catalog, reducer, frames):
    run = write(catalog, renamed(reduced(reducer, frames[:2], "raw-fly"), "fly"))
    found = read_curves(run)
    assert (found.sizes["frame"], found.attrs["stream"]) == (2, "fly")
    with pytest.raises(CatalogError, match="wanted stream primary, found fly"):
        read_curves(run, "primary")


def test_small_arrays_that_another_writer_kept_in_the_table_are_read():
    values = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(_curves._column(pd.Series(list(values)), {"dtype": "array"}), values)


def test_run_with_fewer_curves_than_rows_is_not_read_askew(catalog, reducer, frames, monkeypatch):
    run = write(catalog, reduced(reducer, frames, "raw-askew"))
    node = run.base["primary"].base
    node.delete_contents(["R0_intensity"], external_only=False)
    node.write_array(np.ones((4, 61)), key="R0_intensity", dims=("time", "R0_q"))
    monkeypatch.setattr(_curves, "_PATIENCE", 0.1)
    with pytest.raises(CatalogError, match="wanted 5 items of R0_intensity, one for each event, found 4"):
        read_curves(run)


def test_locked_tables_are_waited_for_and_then_named(catalog_folder, catalog, reducer, frames, monkeypatch):
    run = write(catalog, reduced(reducer, frames, "raw-locked"))
    real, failing = _curves._read, []

    def locked_for_a_while(*arguments):
        if failing:
            failing.pop()
            raise sqlite3.OperationalError("database is locked")
        return real(*arguments)

    monkeypatch.setattr(_curves, "_read", locked_for_a_while)
    failing += [None, None]
    assert read_curves(run).sizes["frame"] == 5
    failing += [None] * 100
    monkeypatch.setattr(_curves, "_PATIENCE", 0.3)
    with pytest.raises(CatalogError, match=rf"run {run.start['uid']}: its curves cannot be read: database is locked"):
        read_curves(run)


def test_errors_that_pass_are_told_from_others():
    locked = ValueError("while reading")
    locked.__cause__ = sqlite3.OperationalError("database table is locked: assets")
    assert may_pass(locked)
    assert not may_pass(sqlite3.OperationalError("no such table: assets"))


@pytest.mark.parametrize(
    "text",
    [
        "401 for http://host:8000/api/v1/?api_key=s3cret99&x=1",
        "http://host/?api%5Fkey=1&api_key=s3cret99",
        "header Authorization: Apikey s3cret99",
        "postgresql://tiled:s3cret99@host/db refused",
        "{'api_key': 's3cret99'}",
    ],
)
def test_keys_and_passwords_are_not_told(text):
    assert "s3cret99" not in words(ValueError(text))
