"""``saxs-bluesky journal``: what waits for a catalog or was set aside is listed, put in again, and exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saxs_bluesky.callbacks.catalog_writer import CatalogWriter
from saxs_bluesky.callbacks.catalog_writer._journal import Journal
from saxs_bluesky.catalog import open_catalog
from saxs_bluesky.cli.main import main
from tests.helpers.scans import COUNT, Scan, feed
from tests.helpers.waiting import PATIENCE, until


@pytest.fixture
def catalog(catalog_folder: Path) -> Path:
    return catalog_folder


@pytest.fixture
def journal(catalog: Path, tmp_path: Path) -> tuple[Path, Scan, Scan]:
    """A journal with a run that was set aside by an earlier version, half written, and one that waits."""
    folder = tmp_path / "journal"
    aside, waiting = Scan(), Scan(20)
    writer = CatalogWriter(open_catalog(catalog), journal=tmp_path / "first", batch_seconds=0.02)
    feed(writer, *aside.begin(), *aside.events(25))
    assert writer.wait(PATIENCE)
    writer._end_runs = lambda *_, **__: False  # it is killed
    writer.close()
    made = Journal(folder)
    documents = [*aside.begin(), *(aside.made[index] for index in range(25)), *aside.events(25, COUNT), aside.stop()]
    made.append(documents)
    (path,) = folder.glob("*.jsonl")
    made.aside.folder.mkdir()
    path.rename(made.aside.folder / path.name)
    made.aside.note(aside.uid, path.name, "database or disk is full")
    made.append([*waiting.begin(), *waiting.events(20), waiting.stop()])
    made.close()
    return folder, aside, waiting


def test_everything_is_listed_exported_and_put_in_again(journal, catalog, tmp_path, capsys):
    folder, aside, waiting = journal
    assert main(["journal", "list", str(folder)]) == 1
    first, second, reason = capsys.readouterr().out.splitlines()
    assert first.startswith(f"waits, run {waiting.uid}")
    assert "23 documents (1 start, 1 descriptor, 20 event, 1 stop)" in first
    assert second.startswith(f"set aside, run {aside.uid}, scan_id 7, ")
    assert reason.strip() == "database or disk is full"

    assert main(["journal", "export", str(folder), "--to", str(tmp_path / "plain")]) == 0
    for line in capsys.readouterr().out.splitlines():
        named = [json.loads(each) for each in Path(line).read_text().splitlines()]
        assert [each["name"] for each in named][:: len(named) - 1] == ["start", "stop"]
        assert [each["doc"]["data"]["n"] for each in named if each["name"] == "event"] == list(range(len(named) - 3))

    # The command opens and closes the catalog itself.
    assert main(["journal", "retry", str(folder), "--catalog", str(catalog)]) == 0
    assert "documents are in the catalog" in capsys.readouterr().out
    opened = open_catalog(catalog)
    aside.assert_whole(opened)
    waiting.assert_whole(opened, 20)
    assert main(["journal", "list", str(folder)]) == 0
    assert capsys.readouterr().out == "nothing waits, and nothing is set aside\n"


def test_what_no_catalog_takes_is_set_aside_again_and_told(catalog, tmp_path, capsys):
    folder, scan = tmp_path / "journal", Scan(5)
    writer = CatalogWriter(open_catalog(catalog), journal=folder, batch_seconds=0.02)
    name, bad = scan.event(1)
    feed(writer, *scan.begin(), scan.event(0), (name, bad | {"time": "noon"}), *scan.events(2, 5), scan.stop())
    assert not writer.close(PATIENCE)
    for command in (["list", str(folder)], ["retry", str(folder), "--catalog", str(catalog)]):
        assert main(["journal", *command]) == 1
        told = capsys.readouterr()
        assert f"set aside, run {scan.uid}, 1 documents (1 event)" in told.out + told.err
        assert "noon" in told.out + told.err
    stop = open_catalog(catalog)[scan.uid].metadata["stop"]
    assert stop["exit_status"] == "success"


def test_folder_that_is_none_or_in_use_is_told(catalog, tmp_path, capsys):
    assert main(["journal", "list", str(tmp_path / "none")]) == 2
    assert "this is not a journal folder" in capsys.readouterr().err
    writer = CatalogWriter(open_catalog(catalog), journal=tmp_path / "journal")
    until((tmp_path / "journal").is_dir)
    assert main(["journal", "retry", str(tmp_path / "journal"), "--catalog", str(catalog)]) == 2
    assert "the journal folder is used by another process" in capsys.readouterr().err
    writer.close()
