"""The commands of the data merge, as deployed clients and windows use them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from saxs_bluesky.leash import Attachment, Command
from tests.helpers.calibrations import small_document
from tests.helpers.merging import DATA, configuration, copy_beam_time, deployed_answer
from tests.helpers.serving import Client, Server
from tests.helpers.waiting import until

CALIBRATION = small_document(Directory=["user1", "run"])
CALIBRATION["Geometry"]["Imagesize"] = [16, 24]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, ("-w", "--catalog", str(tmp_path / "catalog")))
    copy_beam_time(server.base)
    yield server.start()
    server.end()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client() as client:
        assert client.raw(Command.NEW, {"calibration": CALIBRATION, "data": {}})["result"] == "new queue"
        yield client


def merge(client: Client, document: dict[str, Any], *files: Attachment, **options: Any) -> dict[str, Any]:
    return client.raw(Command.MERGEDATA, {"mergeconf": document}, *files, **options)


def until_merged(client: Client) -> int:
    """Poll as a window does; the number that tells that the merge has ended."""
    counts: list[Any] = []

    def is_counted() -> bool:
        counts.append(client.stat().get("mergecount"))
        return counts[-1] is not None

    until(is_counted)
    return int(counts[-1])


def add_images_for_the_merge_only(server: Server) -> None:
    """Some seconds of work for a merge; the queue wants names with a dot before ``tif``."""
    images = server.base / "user1" / "run" / "run1"
    for number in range(40_000):
        os.link(images / "a_00000.tif", images / f"e_{number:05d}_tif")


def test_window_merges_and_draws(server: Server, client: Client) -> None:
    assert merge(client, configuration("first")) == {"result": "merge startedmergedata", "data": {}}
    assert until_merged(client) == 1
    assert "mergecount" not in client.stat()  # or windows would ask for the result at every look
    text = client.raw(Command.MERGESTAT)["data"]["mergeinfo"]
    folder = server.base.resolve() / "user1" / "run"
    assert text.startswith(f"Base-directory of merge is: {folder}\n")
    assert "A total of 20 images were found." in text
    assert "Time shift (FirstImage):0 days 00:00:37.251000" in text
    assert f"Write: {folder}/results/logs/run.csv" in text
    assert "---ERROR---" not in text
    assert client.raw(Command.MERGESTAT)["data"]["mergeinfo"] == ""
    answer = client.raw(Command.GETMERGEDATA)
    wanted = deployed_answer("first")
    assert answer["result"] == "mergedata"
    assert answer["data"]["syncplot"]["Images"] == wanted["syncplot"]["Images"]
    assert answer["data"]["syncplot"]["CalculatedTimeshift"] == "0 days 00:00:37.251000"
    # The queue has made curves of its own meanwhile.
    for kind, paths in wanted["fileslist"].items():
        here = [path.replace("BASE", str(server.base.resolve())) for path in paths]
        assert set(here) <= set(answer["data"]["fileslist"][kind])
    assert (folder / "results" / "logs" / "run_igor.csv").exists()


def test_each_merge_is_counted_and_recorded_in_the_catalog(server: Server, client: Client) -> None:
    for number in (1, 2):
        assert merge(client, configuration("hand"))["result"] == "merge startedmergedata"
        assert until_merged(client) == number
        assert client.ask(Command.STAT, protocol=2).data["stat"]["mergecount"] == number
    client.raw(Command.CLOSE)
    assert server.stop() in (0, 1)  # 1: the images of another shape have failed
    from saxs_bluesky.catalog import close_catalog, open_catalog

    catalog = open_catalog(server.catalog)
    merged = [run for run in catalog.values() if run.metadata["start"].get("analysis_stage") == "merge"]
    assert [run.metadata["stop"]["num_events"]["primary"] for run in merged] == [20, 20]
    close_catalog(server.catalog)


def test_logs_of_the_client_come_as_attachments(server: Server, client: Client) -> None:
    document = configuration("hand")
    content = (DATA / "base" / "logs" / "peakinteg.log").read_text()
    document["LogDataTables"][0]["Files"] = [{"RemotePath": [], "LocalPath": "/home/user/peakinteg.log"}]
    (server.base / "logs" / "peakinteg.log").unlink()
    assert merge(client, document, Attachment("peakinteg.log", content))["result"] == "merge startedmergedata"
    assert until_merged(client) == 1
    assert "Duration (Peak)" in (server.base / "user1" / "run" / "results" / "logs" / "run.csv").read_text()


def test_file_of_the_client_is_not_looked_for_on_the_server(server: Server, client: Client) -> None:
    document = configuration("hand")
    document["LogDataTables"][0]["Files"] = [{"LocalPath": str(server.base / "logs" / "peakinteg.log")}]
    answer = merge(client, document)
    assert answer["result"] == "Error"
    assert "as an attachment, found none" in answer["data"]["Error"]


def test_merge_that_cannot_be_made_is_an_error_at_once(client: Client) -> None:
    absent = {"Name": "Peak", "Files": [{"RemotePath": ["logs", "absent.log"]}]}
    changes: dict[str, dict[str, Any]] = {
        "leads out of its folder": {"OutputFileBaseName": "../outside"},
        "absolute": {"OutputFileBaseName": "/etc/outside"},
        "time zone": {"ImageTimeZone": "Vienna"},
        "absent.log": {"LogDataTables": [absent]},
    }
    for reason, change in changes.items():
        answer = merge(client, configuration("hand") | change)
        assert answer["result"] == "Error"
        assert reason in answer["data"]["Error"]


def test_failure_in_the_middle_shows_in_the_text_and_windows_go_on(server: Server, client: Client) -> None:
    for image in (server.base / "user1" / "run").rglob("*.tif"):
        image.unlink()
    assert merge(client, configuration("hand"))["result"] == "merge startedmergedata"
    text = ""

    def has_failed() -> bool:
        nonlocal text
        text += client.raw(Command.MERGESTAT)["data"]["mergeinfo"]
        return "---ERROR---" in text

    until(has_failed)
    assert "wanted images to merge, found none" in text
    assert "mergecount" not in client.stat()
    answer = client.raw(Command.GETMERGEDATA)
    assert answer["result"] == "Error"
    assert "no merge has been made" in answer["data"]["Error"]


def test_one_merge_at_a_time_and_abort_ends_it(server: Server, client: Client) -> None:
    add_images_for_the_merge_only(server)
    assert merge(client, configuration("hand"))["result"] == "merge startedmergedata"
    again = merge(client, configuration("hand"))
    assert again == {"result": "Error", "data": {"Error": "Merge already started please wait"}}
    (process,) = (child for child in psutil.Process(server.process.pid).children() if child.nice() > 0)  # type: ignore[union-attr]
    begin = time.monotonic()
    client.raw(Command.ABORT)
    until(lambda: not process.is_running())
    assert time.monotonic() - begin < 60
    assert "the merge was cancelled" in client.raw(Command.MERGESTAT)["data"]["mergeinfo"]
    results = server.base / "user1" / "run" / "results"
    assert not [*results.rglob("*.csv"), *results.rglob(".*")]


def test_process_that_is_killed_costs_the_merge_and_not_the_server(server: Server, client: Client) -> None:
    add_images_for_the_merge_only(server)
    merge(client, configuration("hand"))
    (process,) = (child for child in psutil.Process(server.process.pid).children() if child.nice() > 0)  # type: ignore[union-attr]
    process.kill()
    until(lambda: "---ERROR---" in client.raw(Command.MERGESTAT)["data"]["mergeinfo"])
    assert "images processed" in client.stat()


def test_without_a_queue_there_is_nothing_to_merge(server: Server) -> None:
    with server.client() as client:
        answer = merge(client, configuration("hand"))
        assert answer["result"] == "Error"
        assert "there is no queue" in answer["data"]["Error"]
        assert client.raw(Command.MERGESTAT) == {"result": "stat", "data": {"mergeinfo": ""}}
