"""Where a server writes: never out of its base directory, whatever links there are in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from saxs_bluesky.leash import Command
from tests.helpers.serving import CAL, MASK, Client, Server

OUTSIDE = "precious"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text(OUTSIDE)
    yield made
    made.end()


def opened(server: Server, client: Client, directory: list[str] | None = None) -> None:
    calibration = CAL if directory is None else CAL | {"Directory": directory}
    client.ask(Command.NEW, {"calibration": calibration, "data": {}}, MASK)


def untouched(folder: Path) -> bool:
    outside = folder / "outside"
    return [path.name for path in outside.iterdir()] == ["file"] and (outside / "file").read_text() == OUTSIDE


def put_list(server: Server, outside: Path) -> None:
    results = server.data.parent / "results"
    results.mkdir()
    (results / f"filelist_{server.data.name}.log").symlink_to(outside / "file")


def put_list_dangling(server: Server, outside: Path) -> None:
    results = server.data.parent / "results"
    results.mkdir()
    (results / f"filelist_{server.data.name}.log").symlink_to(outside / "new")


def put_list_hard(server: Server, outside: Path) -> None:
    results = server.data.parent / "results"
    results.mkdir()
    (results / f"filelist_{server.data.name}.log").hardlink_to(outside / "file")


def put_results(server: Server, outside: Path) -> None:
    (server.data.parent / "results").symlink_to(outside)


def put_work(server: Server, outside: Path) -> None:
    (server.data.parent / "work").symlink_to(outside)


def put_curve(server: Server, outside: Path) -> None:
    work = server.data.parent / "work"
    work.mkdir()
    (work / "a.chi").symlink_to(outside / "file")


@pytest.mark.parametrize(
    ("put", "before"),
    [
        (put_list, True),
        (put_list_dangling, True),
        (put_list_hard, True),
        (put_results, True),
        (put_work, True),
        (put_curve, True),
        (put_list, False),
        (put_results, False),
        (put_work, False),
    ],
)
def test_nothing_is_written_through_a_link(
    server: Server, put: Callable[[Server, Path], None], before: bool, tmp_path: Path
) -> None:
    server.start()
    with server.client() as client:
        if not before:
            opened(server, client)
            server.add("first.tif")
            server.until(lambda: client.stat()["images processed"] == 1)
            for name in ("work", "results"):
                folder = server.data.parent / name
                if folder.exists():
                    folder.rename(folder.with_name(f"old_{name}"))
        put(server, tmp_path / "outside")
        if before:
            opened(server, client)
        server.add("a.tif")
        server.until(
            lambda: (client.stat() or {}).get("images processed", 2) >= (1 if before else 2) or "link" in server.log
        )
        assert untouched(tmp_path)
    assert server.stop() in (0, 1)
    assert untouched(tmp_path)
    if put not in (put_curve, put_list_hard):
        assert "leads out of" in server.log
    else:
        assert server.chi(server.data / "a.tif").read_text().startswith("{")


def test_queue_of_the_base_directory_writes_inside_it(server: Server, tmp_path: Path) -> None:
    server.start()
    with server.client() as client:
        opened(server, client, [])
        image = server.add("a.tif")
        image = image.rename(server.base / "a.tif")
        server.until((server.base / "work" / "a.chi").exists)
        server.until(lambda: client.stat()["images processed"] >= 1)
    assert server.stop() == 0
    assert (server.base / "results" / f"filelist_{server.base.name}.log").read_text().startswith("/work/a.chi, ")
    assert not (tmp_path / "work").exists()
    assert not (tmp_path / "results").exists()


def test_link_that_stays_in_the_base_directory_is_followed(server: Server) -> None:
    (server.base / "disk").mkdir()
    (server.data.parent / "work").symlink_to(os.path.relpath(server.base / "disk", server.data.parent))
    server.start()
    with server.client() as client:
        opened(server, client)
        server.add("a.tif")
        server.until((server.base / "disk" / "a.chi").exists)
    assert server.stop() == 0
