"""A catalog that is full, locked or read-only is waited for; nothing is lost, doubled or set aside."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiled.client.dataframe import DataFrameClient

from saxs_bluesky.callbacks.catalog_writer import CatalogWriter, _run_upload
from saxs_bluesky.callbacks.catalog_writer._document_lines import encode
from saxs_bluesky.callbacks.catalog_writer._journal import Journal
from saxs_bluesky.callbacks.catalog_writer._stop_documents import aborted
from saxs_bluesky.catalog import close_catalog, open_catalog
from tests.helpers.crashing import KILLED
from tests.helpers.repository import ROOT
from tests.helpers.scans import COUNT, Scan, feed
from tests.helpers.waiting import PATIENCE, until

NamedDocument = tuple[str, dict[str, Any]]


@pytest.fixture
def opened(empty_catalog: Path) -> Iterator[Callable[[Path], Any]]:
    folders: list[Path] = []

    def at(folder: Path) -> Any:
        shutil.copytree(empty_catalog, folder, dirs_exist_ok=True)
        folders.append(folder)
        return open_catalog(folder)

    yield at
    for folder in folders:
        close_catalog(folder)


def assert_nothing_aside(writer: CatalogWriter, caplog: pytest.LogCaptureFixture) -> None:
    assert writer.wait(PATIENCE), writer.counters
    assert not (writer.journal / "rejected").exists()
    assert writer.counters.rejected == writer.counters.left_out == 0
    assert len([r for r in caplog.records if "the catalog is away" in r.getMessage()]) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("left", [0, 20_000, 80_000])
def test_full_disk_of_the_catalog_is_waited_for(opened, make_writer, small_disk, caplog, left):
    catalog = opened(small_disk / "catalog")
    scan = Scan()
    writer = make_writer(catalog)
    feed(writer, *scan.begin(), *scan.events(20))
    if left:  # full from the start, or in the middle of a run
        until(lambda: writer.counters.journaled == 0)
    filler = small_disk / "filler"
    fill(filler, left)
    feed(writer, *scan.events(20, COUNT), scan.stop())
    until(lambda: writer.counters.failures > 3)
    assert "the catalog is away" in caplog.text
    assert not writer.wait(0.1)
    filler.unlink()
    assert_nothing_aside(writer, caplog)
    scan.assert_whole(catalog)


def fill(path: Path, left: int) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
        file.truncate(max(0, path.stat().st_size - left))


_HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("name", ["catalog.db", "tables.db"])
def test_lock_of_another_process_costs_no_rewrite(opened, make_writer, tmp_path, caplog, name, monkeypatch):
    catalog = opened(tmp_path / "catalog")
    scan = Scan()
    writer = make_writer(catalog)
    feed(writer, *scan.begin(), *scan.events(20))
    until(lambda: writer.counters.journaled == 0)
    deleted = []
    monkeypatch.setattr(type(catalog), "delete_contents", lambda *args, **_: deleted.append(args))
    command = [sys.executable, "-c", _HOLD, str(tmp_path / "catalog" / name)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        feed(writer, *scan.events(20, COUNT), scan.stop())
        until(lambda: writer.counters.failures >= 2)
        other.send_signal(signal.SIGKILL)
    assert_nothing_aside(writer, caplog)
    scan.assert_whole(catalog)
    assert not deleted


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_waited_for(opened, make_writer, tmp_path, caplog):
    catalog = opened(tmp_path / "catalog")
    scan = Scan()
    writer = make_writer(catalog)
    arrays = tmp_path / "catalog" / "arrays"
    arrays.chmod(0o500)
    feed(writer, *scan.begin(), *scan.events(COUNT), scan.stop())
    until(lambda: writer.counters.failures > 3)
    arrays.chmod(0o700)
    assert_nothing_aside(writer, caplog)
    scan.assert_whole(catalog)


_WRITE = """
import os, sys
from pathlib import Path
from saxs_bluesky.callbacks import CatalogWriter
from saxs_bluesky.callbacks.catalog_writer._document_lines import decode
from tests.helpers.crashing import after
from tiled.client.array import ArrayClient
from tiled.client.dataframe import DataFrameClient

folder, moment = Path(sys.argv[1]), sys.argv[2]
owner, name = {"rows": (DataFrameClient, "append_partition"), "arrays": (ArrayClient, "patch")}[moment]
after(owner, name, 3)
writer = CatalogWriter(folder / "catalog", journal=folder / "journal", batch_seconds=0.01, batch_events=7)
for line in (folder / "documents").read_bytes().splitlines(keepends=True):
    writer(*decode(line))
    writer.wait_for_journal()
writer.wait(60)
"""


@pytest.mark.parametrize("moment", ["rows", "arrays"])
def test_of_a_run_of_a_killed_program_what_is_missing_is_written_and_it_is_aborted(
    opened, make_writer, tmp_path, monkeypatch, moment
):
    catalog = opened(tmp_path / "catalog")
    scan = Scan()
    documents = [*scan.begin(), *scan.events(COUNT)]
    (tmp_path / "documents").write_bytes(b"".join(encode(*document) for document in documents))
    killed = subprocess.run([sys.executable, "-c", _WRITE, str(tmp_path), moment], check=False, cwd=ROOT)
    assert killed.returncode == KILLED
    stream = catalog[scan.uid].base["primary"].base
    there = len(stream["internal"].read())
    assert 0 < there < COUNT
    written: list[int] = []
    append = DataFrameClient.append_partition

    def counting(self: DataFrameClient, partition: int, table: Any) -> None:
        written.append(table.num_rows)
        append(self, partition, table)

    monkeypatch.setattr(DataFrameClient, "append_partition", counting)
    writer = make_writer(catalog)
    writer.end_left_over("the power was gone")
    assert writer.wait(PATIENCE)
    assert sum(written) == COUNT - there
    scan.assert_whole(catalog)
    stop = catalog[scan.uid].metadata["stop"]
    assert (stop["exit_status"], stop["reason"]) == ("abort", "the power was gone")
    assert not list((tmp_path / "journal").glob("*.jsonl"))


def test_run_that_nobody_ends_is_aborted_when_its_writer_is_closed(opened, make_writer, tmp_path):
    catalog = opened(tmp_path / "catalog")
    scan = Scan()
    writer = make_writer(catalog)
    feed(writer, *scan.begin(), *scan.events(COUNT))
    assert writer.close(PATIENCE)
    scan.assert_whole(catalog)
    assert catalog[scan.uid].metadata["stop"]["exit_status"] == "abort"


def test_journal_of_an_open_run_is_trimmed_to_what_the_catalog_does_not_have(
    opened, make_writer, tmp_path, monkeypatch
):
    monkeypatch.setattr(_run_upload, "_TRIMMED_AT", 50_000)
    monkeypatch.setattr(_run_upload, "_KEPT", 5)
    catalog = opened(tmp_path / "catalog")
    scan = Scan()
    first = make_writer(catalog)
    feed(first, *scan.begin())
    sizes = []
    (file,) = until_one(tmp_path / "journal")
    for begin in range(0, COUNT, 10):
        feed(first, *scan.events(begin, begin + 10))
        assert first.wait(PATIENCE)
        sizes.append(file.stat().st_size)
    whole = sum(len(encode(*scan.event(index))) for index in range(COUNT))
    assert max(sizes) < whole / 2
    assert (first.counters.written, first.counters.journaled) == (COUNT + 2, 0)
    first._journal.close()  # as if its program were gone
    second = make_writer(catalog)
    second.end_left_over()
    assert second.wait(PATIENCE)
    scan.assert_whole(catalog)


def test_journal_that_is_trimmed_while_a_run_is_delivered_costs_nothing(opened, make_writer, tmp_path, monkeypatch):
    monkeypatch.setattr(_run_upload, "_TRIMMED_AT", 50_000)
    monkeypatch.setattr(_run_upload, "_KEPT", 5)
    catalog = opened(tmp_path / "catalog")
    scan = Scan()
    writer = make_writer(catalog, batch_events=10)
    feed(writer, *scan.begin(), *scan.events(COUNT), scan.stop())
    assert writer.wait(PATIENCE)
    assert (writer.counters.written, writer.counters.failures) == (COUNT + 3, 0)
    scan.assert_whole(catalog)
    assert not list((tmp_path / "journal").glob("*.jsonl"))


_TRIM = """
import sys
from pathlib import Path
from saxs_bluesky.callbacks.catalog_writer._journal import Journal
from tests.helpers.crashing import after, before

when = {"before": before, "after": after}[sys.argv[2]]
(run,) = Journal(Path(sys.argv[1])).left_over()
run.read(40)
when(Path, "replace", 1)
run.trim(30, lambda glance: True)
"""


@pytest.mark.parametrize(("moment", "left"), [("before", COUNT + 2), ("after", COUNT + 2 - 28 + 1)])
def test_program_killed_while_it_trims_a_journal_leaves_it_whole(tmp_path, moment, left):
    journal, scan = Journal(tmp_path / "journal"), Scan()
    journal.append([*scan.begin(), *scan.events(COUNT)])
    journal.close()
    command = [sys.executable, "-c", _TRIM, str(journal.folder), moment]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == KILLED
    journal = Journal(tmp_path / "journal")
    (run,) = journal.left_over()
    assert run.lines == left == len(list(run.glances()))
    assert aborted(run, "")[1]["num_events"] == {"primary": COUNT}
    assert [glance.number for glance in run.glances() if glance.name == "event"][-COUNT + 28 :] == [
        *range(29, COUNT + 1)
    ]
    journal.close()


def until_one(folder: Path) -> list[Path]:
    until(lambda: list(folder.glob("*.jsonl")))
    return list(folder.glob("*.jsonl"))
