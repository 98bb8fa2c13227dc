"""What clients are shown: as the deployed window reads it, of very many images, and after a restart."""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from saxs_bluesky.leash import Command
from saxs_bluesky.leash.server._integral_history import MOST_ROWS, IntegralHistory, Row
from saxs_bluesky.leash.server._plot_cache_file import PlotCacheFile
from saxs_bluesky.reduction import read_chi, write_frame
from tests.helpers.frame_files import HEADER
from tests.helpers.serving import MASK, NEW, Client, Server

BEGAN = 1_795_774_597.0  # 2026-11-27 10:16:37 UTC


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Vienna")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def history(number: int, step: float = 1.0, **options: Any) -> IntegralHistory:
    kept = IntegralHistory(**options)
    for index in range(number):
        kept.add(
            Row.from_values(BEGAN + step * index, {"R0": (f"/data/work/frame_{index:06d}", index, 2.0, float("nan"))})
        )
    return kept


def table(kept: IntegralHistory, curve: str = "R0") -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = json.loads(kept.text())[curve]
    return columns


def test_times_are_local_ones_without_zone() -> None:
    assert table(history(2))["time"] == ["2026-11-27T11:16:37", "2026-11-27T11:16:38"]


def test_one_time_with_a_fraction_gives_all_of_them_one() -> None:
    """pandas refuses a list of both forms."""
    kept = history(2500)
    assert table(kept)["time"][0] == "2026-11-27T11:16:37"
    kept.add(Row.from_values(BEGAN + 2500.25, {"R0": ("/a", 1, 2, 3)}))
    columns = table(kept)
    assert columns["time"][0] == "2026-11-27T11:16:37.000000"
    assert columns["time"][-1].endswith(".250000")
    times = pd.to_datetime(pd.DataFrame(columns)["time"])
    assert times.is_monotonic_increasing
    assert (times.iloc[-1] - times.iloc[0]).total_seconds() == 2500.25


def test_every_image_is_there_however_many_there_are_up_to_the_bound() -> None:
    for number in (1, 999, 1000, 1001, 12_345):
        kept = history(number)
        assert table(kept)["I0"] == [*map(float, range(number))]
        assert {len(column) for column in table(kept).values()} == {number}


def test_beyond_the_bound_the_older_half_is_thinned_and_nothing_is_cut() -> None:
    kept = history(10_000, most_rows=2000, curves=2)
    assert kept.most == 1000
    numbers = [int(number) for number in table(kept)["I0"]]
    assert 700 < len(numbers) <= 1000
    assert numbers[0] == 0
    assert numbers == sorted(set(numbers))
    assert numbers[-500:] == [*range(9500, 10_000)]
    steps = [later - former for former, later in pairwise(numbers)]
    assert steps == sorted(steps, reverse=True), "the older, the thinner"
    assert set(steps[:100]) == {64}, "evenly"


def test_answer_of_the_largest_history_is_not_made_anew_for_each_image() -> None:
    kept = history(MOST_ROWS)
    began = time.perf_counter()
    size = len(kept.text())
    first = time.perf_counter() - began
    kept.add(Row.from_values(BEGAN, {"R0": ("/data/work/last", 1, 2, 3)}))
    kept.text()
    took = []
    for index in range(10):
        kept.add(Row.from_values(BEGAN + index, {"R0": ("/data/work/last", 1, 2, 3)}))
        began = time.perf_counter()
        kept.text()
        took.append(time.perf_counter() - began)
    print(f"{size / 1e6:.1f} MB, first {1000 * first:.0f} ms, then {1000 * min(took):.1f} ms")  # noqa: T201
    assert size < 16e6
    assert min(took) < first / 2


# Through a server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path).start()
    yield one
    one.end()


def plot(server: Server, client: Client, images: int) -> Any:
    """Answer to ``plot`` once so many images are in it."""

    def is_whole() -> bool:
        data = client.raw(Command.PLOT)["data"]
        columns = data.get("IntegralParameters", {}).get("R0", {"time": []})
        return len(columns["time"]) == images <= len(data["history"])

    server.until(is_whole)
    return client.raw(Command.PLOT)["data"]


def test_deployed_window_draws_what_it_gets(server: Server) -> None:
    """Its own arithmetic, on more than 100 images that are processed within seconds."""
    images = [server.add(f"image.{number:03d}.tif", number) for number in range(160)]
    with server.client() as client:
        client.ask(Command.NEW, NEW, MASK)
        data = plot(server, client, 160)
    frame = pd.DataFrame(data["IntegralParameters"]["R0"])
    frame["time"] = pd.to_datetime(frame["time"])
    assert frame.set_index("time").index.dtype.kind == "M"
    assert frame["file"].str.contains("/").all()
    assert Counter(frame["file"]) == Counter(str(server.chi(image).with_suffix("")) for image in images)
    first = read_chi(frame["file"][0] + ".chi").curve.integral
    assert [frame[name][0] for name in ("I0", "I1", "I2")] == pytest.approx([first.I0, first.I1, first.I2])
    done = pd.Series(data["history"])
    assert len(done) == 160
    assert (done.diff().dropna() > 0).all()
    assert done.iloc[-1] - done.iloc[-101] > 0
    assert 100 / (done.iloc[-1] - done.iloc[-101]) < 1e6
    ages = data["stat"]["time"] - done
    assert ((ages >= 0) & (ages < 100)).all()


def test_integral_parameters_begin_anew_with_readdir(server: Server) -> None:
    for number in range(5):
        server.add(f"{number}.tif", number)
    with server.client() as client:
        client.ask(Command.NEW, NEW, MASK)
        plot(server, client, 5)
        client.ask(Command.READDIR)
        plot(server, client, 5)
        server.until(lambda: client.stat()["images processed"] == 10)
        assert len(client.raw(Command.PLOT)["data"]["IntegralParameters"]["R0"]["file"]) == 5
        client.ask(Command.NEW, NEW, MASK)
        plot(server, client, 5)
        assert client.stat()["images processed"] == 5
        assert len(client.raw(Command.PLOT)["data"]["history"]) == 5


def shown(client: Client) -> dict[str, Any]:
    """All that clients are shown but for the clock."""
    data = client.raw(Command.PLOT)["data"]
    stat = data.pop("stat")
    return data | {"done": stat["images processed"], "files": client.raw(Command.FILESLIST)["data"]["fileslist"]}


def restored(server: Server, end: Callable[[], object]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is shown before and after a restart, of ten images of which one failed, and of a readdir."""
    for number in range(9):
        server.add(f"{number}.tif", number)
    write_frame(server.data / "bad.tif", np.zeros((10, 10), "i4"), HEADER)
    with server.client() as client:
        client.ask(Command.NEW, NEW, MASK)
        server.until(lambda: client.stat()["images processed"] == 10)
        client.ask(Command.READDIR)
        server.until(lambda: client.stat()["images processed"] == 20)
        plot(server, client, 9)
        time.sleep(0.3)  # what is shown is made ten times a second
        before = shown(client)
    end()
    server.start()
    with server.client() as client:
        return before, shown(client)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_clients_are_shown_the_same_after_a_restart(server: Server, end: str) -> None:
    before, after = restored(server, getattr(server, end))
    graphs = zip(before.pop("graphs"), after.pop("graphs"), strict=True)
    assert after == before
    assert after["done"] == 20
    for old, new in graphs:
        assert {key: old[key] for key in ("kind", "conf", "columnLabels")} == {
            key: new[key] for key in ("kind", "conf", "columnLabels")
        }
        for was, now in zip(old["array"], new["array"], strict=True):
            assert now == pytest.approx(was, rel=1e-5, nan_ok=True)
    with server.client() as client:
        server.add("later.tif", 77)
        server.until(lambda: client.stat()["images processed"] == 21)
        plot(server, client, 10)


OTHER = [
    line + b"\n"
    for line in (
        b'["frame"]', b"5", b'{"a": 1}', b'["row", 1e400, {}]', b'["row", NaN, {}]', b'["files", "Radial0", [5]]',
        b'["frame", 1.0, 2.0, "a", [["R0", "b"]], {"R0": [1]}]', b'["done", ["x"]]', b'["done", [null]]',
        b'["latest", "x", [["R0", "/etc/passwd"], 5]]', b'["frame", 1.0, 2.0, "a", [["R0", 5]], {}]', b"[" * 100_000,
    )
]  # fmt: skip


def plot_cache_file(server: Server) -> Path:
    (path,) = (server.state / str(server.port)).glob("picture-*")
    return path


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "folder", "gone", "foreign", "other types"])
def test_damage_of_what_is_kept_costs_no_more_than_itself(server: Server, damage: str) -> None:
    def spoil() -> None:
        server.kill()
        path = plot_cache_file(server)
        lines = path.read_bytes().splitlines(keepends=True)
        match damage:
            case "flipped":
                lines[-3] = b"\xff" + lines[-3][1:]
                path.write_bytes(b"".join(lines))
            case "cut":
                path.write_bytes(b"".join(lines)[:-10])
            case "emptied":
                path.write_bytes(b"")
            case "folder":
                path.unlink()
                path.mkdir()
            case "gone":
                path.unlink()
            case "foreign":
                path.write_bytes(os.urandom(5000))
            case "other types":
                path.write_bytes(b"".join([*lines, *OTHER]))

    before, after = restored(server, spoil)
    kept = after.get("IntegralParameters", {}).get("R0", {}).get("file", [])
    if damage in ("flipped", "cut", "other types"):
        assert "damaged and left out" in server.log
        assert len(kept) in (8, 9) if damage != "other types" else kept == before["IntegralParameters"]["R0"]["file"]
    else:
        assert kept == []
    with server.client() as client:
        server.add("later.tif", 77)
        server.until(lambda: "later" in client.raw(Command.PLOT)["data"].get("filename", ""))
    assert "Traceback" not in server.log


def test_file_stays_short_and_goes_with_its_queue(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = PlotCacheFile(tmp_path, 1.5)
    first.rewrite([["count", 3]])
    for number in range(20_010):
        first.append(["failed", str(number)])
    assert first.is_long
    first.rewrite([["count", 20_013]])
    assert not first.is_long
    assert first.path.read_text() == '["count",20013]\n'
    assert first.path.stat().st_mode & 0o777 == 0o600
    first.append(["failed", "x"])
    first.close()
    second = PlotCacheFile(tmp_path, 2.5)
    with caplog.at_level(logging.WARNING):
        second.load(lambda _: None)
    assert caplog.messages == []
    second.rewrite([])
    assert [path.name for path in tmp_path.iterdir()] == ["picture-2.5"]


def test_half_a_line_is_left_alone(tmp_path: Path) -> None:
    one = PlotCacheFile(tmp_path, 1.5)
    one.path.write_bytes(b'["count",3]\n["fail')
    one.append(["failed", "a"])
    seen: list[Any] = []
    one.load(seen.append)
    assert seen == [["count", 3], ["failed", "a"]]
    one.close()


def test_disk_that_is_full_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = PlotCacheFile(tmp_path, 1.5)
    one.path.symlink_to("/dev/full")
    for _ in range(3):
        one.append(["failed", "a"])
    (message,) = caplog.messages
    assert "after a restart it is missing" in message
    one.close()
