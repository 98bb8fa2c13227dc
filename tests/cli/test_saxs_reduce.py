"""``saxs-reduce`` as a beamline runs it: in a process of its own, with a RunEngine elsewhere."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import event_model
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import count
from ophyd.sim import SynSignal

from saxs_bluesky.callbacks.network import DocumentProxy, publish
from saxs_bluesky.catalog import close_catalog, open_catalog, read_curves
from saxs_bluesky.cli.saxs_reduce import main
from saxs_bluesky.reduction import Calibration, Reducer, read_chi
from tests.helpers.commands import command_line
from tests.helpers.ports import free_port
from tests.helpers.waiting import PATIENCE

COMMAND = command_line("saxs_reduce")
NamedDocument = tuple[str, dict[str, Any]]


class Command:
    """The command in a process, and what it says."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *options], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self.complaints: list[str] = []
        self._arrived: Queue[str] = Queue()
        self._readers = [
            threading.Thread(target=self._read, args=pair)
            for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.complaints))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))
            self._arrived.put(lines[-1])

    def wait_for(self, pattern: str, seconds: float = PATIENCE) -> None:
        """Wait until a line says what is wanted."""
        end = time.monotonic() + seconds
        while not any(re.search(pattern, line) for line in [*self.lines, *self.complaints]):
            try:
                self._arrived.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                pytest.fail(f"{pattern} not among {self.lines}, {self.complaints}")

    def end(self, number: int | None = signal.SIGTERM) -> int:
        """Ask it to stop; return its exit code."""
        if number is not None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(PATIENCE)
        finally:
            self.process.kill()
        for reader, stream in zip(self._readers, (self.process.stdout, self.process.stderr), strict=True):
            reader.join()
            assert stream is not None
            stream.close()
        return code


@pytest.fixture
def start(beamtime: Path) -> Iterator[Callable[..., Command]]:
    started: list[Command] = []

    def make(*options: str) -> Command:
        started.append(Command(beamtime, *options))
        return started[-1]

    yield make
    for command in started:
        if command.process.poll() is None:
            command.end(signal.SIGKILL)


Start = Callable[..., Command]
Publishing = Callable[..., Any]


@pytest.fixture
def images(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.poisson(10, (60, 80)) for _ in range(6)]


def run_documents(images: list[Any]) -> list[NamedDocument]:
    bundle = event_model.compose_run()
    keys = {"camera": {"dtype": "array", "shape": [60, 80], "source": "test"}}
    stream = bundle.compose_descriptor(name="primary", data_keys=keys)
    events = [stream.compose_event(data={"camera": image}, timestamps={"camera": 1.0}) for image in images]
    return [
        ("start", dict(bundle.start_doc)),
        ("descriptor", dict(stream.descriptor_doc)),
        *(("event", dict(event)) for event in events),
        ("stop", dict(bundle.compose_stop())),
    ]


@pytest.fixture
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture
def publishing(ports: tuple[int, int]) -> Iterator[Publishing]:
    """What makes publishers to the proxy, which are closed also where a test fails."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(closing(publish(str(ports[0]), **options)))


@pytest.fixture
def proxy(ports: tuple[int, int]) -> Iterator[None]:
    """A proxy beside the command."""
    with closing(DocumentProxy(*map(str, ports))):
        yield


def intensities(folder: Path) -> list[np.ndarray]:
    """Of the first curve of each frame, in their order."""
    paths = sorted(path for path in folder.glob("*.chi") if not re.search(r"_c[RPS]\d+$", path.stem))
    return [read_chi(path).curve.intensity for path in paths]


def assert_reduced(beamtime: Path, images: list[np.ndarray], folder: str = "curves") -> None:
    reducer = Reducer(Calibration.from_file(beamtime / "cal.json"))
    found = intensities(beamtime / folder)
    assert len(found) == len(images)
    for intensity, image in zip(found, images, strict=True):
        np.testing.assert_array_equal(intensity, reducer.reduce(image)[0].intensity)


@pytest.mark.parametrize("serializer", ["msgpack", "json"])
def test_runs_of_a_session_become_curves_in_the_catalog_and_files(
    beamtime: Path,
    start: Start,
    ports: tuple[int, int],
    publishing: Publishing,
    images: list[np.ndarray],
    serializer: Any,
) -> None:
    catalog = ["--catalog", "catalog"] if serializer == "msgpack" else []
    command = start(
        "--proxy", *map(str, ports), "--serializer", serializer, "--prefix", "saxs", "--chi", "curves", *catalog
    )
    command.wait_for(f"^listening at tcp://127.0.0.1:{ports[1]}, documents in {serializer}$")
    time.sleep(0.3)
    camera = SynSignal(func=partial(next, iter(images)), name="camera")  # it takes one to begin with
    publisher = publishing(prefix=b"saxs", serializer=serializer)
    engine = RunEngine({})
    engine.subscribe(publisher)
    (uid,) = engine(count([camera], 5), sample="silver behenate")
    command.wait_for("^reduced 5, failed 0, waiting 0, lag 0.0 s$")
    assert command.end() == 0
    assert [line for line in command.complaints if "saxs" in line or "rror" in line] == []
    assert_reduced(beamtime, images[1:])
    if catalog:
        run = open_catalog(beamtime / "catalog")[-1]
        curves = read_curves(run)
        close_catalog(beamtime / "catalog")
        assert run.metadata["start"]["original_run_uid"] == uid
        expected = Reducer(Calibration.from_file(beamtime / "cal.json")).reduce(images[3])[0]
        np.testing.assert_array_equal(curves["R0_intensity"][2], expected.intensity)


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, "0"), (signal.SIGINT, "1")])
def test_signal_in_the_middle_of_a_run_finishes_what_has_come(
    beamtime: Path,
    start: Start,
    ports: tuple[int, int],
    publishing: Publishing,
    images: list[np.ndarray],
    number: int,
    workers: str,
) -> None:
    command = start("--chi", "curves", "--workers", workers, str(ports[1]))
    command.wait_for("^listening")
    time.sleep(0.5)
    publisher = publishing()
    for name, doc in run_documents(images)[:-1]:
        publisher(name, doc)
    # It has accepted some by now; of those that are on their way none may be lost.
    time.sleep(0.3)
    assert command.end(number) == 0
    assert_reduced(beamtime, images)
    assert command.lines[-1] == "reduced 6, failed 0, waiting 0, lag 0.0 s"
    assert command.complaints == []


def test_lost_and_late_documents_and_strangers_are_told(
    beamtime: Path, start: Start, ports: tuple[int, int], publishing: Publishing, images: list[np.ndarray]
) -> None:
    command = start("--proxy", *map(str, ports), "--chi", "curves", "-c", "camera=cal.json")
    command.wait_for("^listening")
    time.sleep(0.3)
    late, lossy = run_documents(images), run_documents(images)
    del lossy[4]
    publisher, stranger = publishing(), publishing(serializer="json")
    stranger("start", {"uid": "x"})
    for name, doc in [*late[5:], *lossy]:
        publisher(name, doc)
    command.wait_for("reduced 5, failed 0, waiting 0, lag 0.0 s, lost 1, passed over 4, unreadable 1$")
    assert command.end() == 1
    assert_reduced(beamtime, [*images[:2], *images[3:]])
    complaints = "\n".join(command.complaints)
    assert (
        "saxs-reduce: not done: 1 events and frames were lost on the way and have no curves; 4 documents" in complaints
    )
    assert f"saxs-reduce: joined late: 4 documents of run {late[0][1]['uid']} passed over" in complaints
    assert "lost on the way: 1 of 6 events of stream primary (seq_num 3)" in complaints
    assert "wanted a document in msgpack" in complaints


def test_frame_that_fails_is_told_and_the_others_done(
    beamtime: Path, start: Start, ports: tuple[int, int], publishing: Publishing, images: list[np.ndarray]
) -> None:
    command = start("--proxy", *map(str, ports), "--chi", "curves")
    command.wait_for("^listening")
    time.sleep(0.3)
    publisher = publishing()
    documents = run_documents(images[:3])
    documents[3][1]["data"]["camera"] = images[1][:50]
    for name, doc in documents:
        publisher(name, doc)
    command.wait_for("^reduced 2, failed 1, waiting 0")
    assert command.end() == 0
    assert_reduced(beamtime, [images[0], images[2]])
    (complaint,) = command.complaints
    assert re.search(r"^saxs-reduce: frame 1 of run .* failed: .*wanted an image of shape \(60, 80\)", complaint)


def test_curves_that_cannot_be_written_make_another_exit_code(
    beamtime: Path, start: Start, ports: tuple[int, int], publishing: Publishing, images: list[np.ndarray]
) -> None:
    (beamtime / "curves").write_text("a file where a folder should be")
    command = start("--proxy", *map(str, ports), "--chi", "curves")
    command.wait_for("^listening")
    time.sleep(0.3)
    publisher = publishing()
    for name, doc in run_documents(images[:1]):
        publisher(name, doc)
    command.wait_for("not delivered")
    assert command.end() == 1


def test_catalog_that_is_away_is_told_at_the_start_and_its_key_never(
    beamtime: Path, start: Start, ports: tuple[int, int]
) -> None:
    address = f"http://127.0.0.1:{free_port()}/api/v1"
    command = start("--proxy", *map(str, ports), "--catalog", f"{address}?api_key=s3cret", "--journal", "journal")
    command.wait_for(
        rf"the catalog is away \({address}: wanted a Tiled server that answers.*documents will wait in .*journal"
    )
    assert command.end() == 0  # nothing was to be done
    told = "\n".join([*command.lines, *command.complaints])
    assert "set TILED_API_KEY instead" in told
    assert "s3cret" not in told
    assert not [path for path in (beamtime / "journal").rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]


def test_terminal_sees_one_line(beamtime: Path, ports: tuple[int, int]) -> None:
    reader, writer = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "--proxy", *map(str, ports), "--chi", "curves"], cwd=beamtime, stdout=writer, stderr=writer
    )
    os.close(writer)
    seen = b""
    while b"reduced 0" not in seen:
        seen += os.read(reader, 1000)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    while True:
        try:
            seen += os.read(reader, 1000)
        except OSError:
            break
    os.close(reader)
    status = "reduced 0, failed 0, waiting 0, lag 0.0 s"
    listening = f"listening at tcp://127.0.0.1:{ports[1]}, documents in msgpack"
    assert seen.decode() == f"{listening}\r\n\r\x1b[K{status}\r\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["5568"], "--catalog or --chi is needed: where curves go"),
        (["--chi", "x"], "ADDRESS of a proxy is needed, or --proxy to start one"),
        (["--chi", "x", "host"], "'host': wanted an address host:port"),
        (["--chi", "x", "--proxy", "in", "out"], "'127.0.0.1:in': wanted an address host:port"),
        (["--chi", "x", "-c", "none.json", "5568"], "none.json: wanted a calibration file, found No such file"),
        (["--chi", "x", "-c", "a=cal.json", "-c", "cal.json", "5568"], "wanted NAME=FILE where there are several"),
        (["--chi", "x", "-c", "a=cal.json", "-c", "a=cal.json", "5568"], "wanted one calibration for a"),
        (["--chi", "x", "--prefix", "a b", "5568"], "prefix: wanted no spaces"),
    ],
)
def test_wrong_usage_is_one_line(
    beamtime: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(beamtime)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(options) == 2
    (complaint,) = capsys.readouterr().err.splitlines()
    assert complaint.startswith("saxs-reduce: ")
    assert message in complaint
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("options", [["--workers", "-1"], ["--patience", "nan"], ["--serializer", "pickle"]])
def test_options_out_of_range_are_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*options, "--chi", "x", "5568"])


def test_file_with_an_equals_sign_in_its_name_is_a_calibration(
    beamtime: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(beamtime)
    document = json.loads((beamtime / "cal.json").read_text())
    (beamtime / "d=1.json").write_text(json.dumps(document | {"Wavelenght": 1}))
    assert main(["--chi", "x", "-c", "d=1.json", "5568"]) == 2
    assert 'd=1.json: unknown key "Wavelenght"' in capsys.readouterr().err
