"""Documents over real sockets on the loopback: what arrives, what is told, and what strangers send."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import event_model
import msgpack
import msgpack_numpy
import numpy as np
import pytest
import zmq
from bluesky import RunEngine
from bluesky.callbacks.zmq import Publisher
from bluesky.plans import count, scan
from ophyd.sim import SynSignal, motor

from saxs_bluesky.callbacks import Reduction
from saxs_bluesky.callbacks.network import FORMATS, DocumentProxy, DocumentReceiver, LossDetector, publish
from saxs_bluesky.callbacks.network._formats import deserializer, serializer
from saxs_bluesky.errors import SaxsError
from saxs_bluesky.reduction import Calibration, Reducer
from saxs_bluesky.support.addresses import tcp_address
from tests.helpers.ports import free_port
from tests.helpers.waiting import PATIENCE

NamedDocument = tuple[str, dict[str, Any]]


class Collected(list[NamedDocument]):
    """A consumer that keeps the documents."""

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        self.append((name, doc))

    def of(self, name: str) -> list[dict[str, Any]]:
        return [doc for found, doc in self if found == name]


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(condition())


def run_documents(images: list[Any]) -> list[NamedDocument]:
    """A run with its images inline, as documents."""
    bundle = event_model.compose_run()
    keys = {"camera": {"dtype": "array", "shape": [60, 80], "source": "test"}}
    stream = bundle.compose_descriptor(name="primary", data_keys=keys)
    events = [
        stream.compose_event(data={"camera": image}, timestamps={"camera": 1.0}, validate=False) for image in images
    ]
    return [
        ("start", dict(bundle.start_doc)),
        ("descriptor", dict(stream.descriptor_doc)),
        *(("event", dict(event)) for event in events),
        ("stop", dict(bundle.compose_stop())),
    ]


def assert_curves(events: list[dict[str, Any]], images: list[Any], calibration: Calibration) -> None:
    assert len(events) == len(images)
    for event, image in zip(events, images, strict=True):
        for curve in Reducer(calibration).reduce(np.asarray(image)):
            np.testing.assert_array_equal(event["data"][f"{curve.name}_intensity"], curve.intensity)


class Net:
    """A proxy, and what is connected to it; publishers only once all receivers get what is published."""

    def __init__(self) -> None:
        self.ports = free_port(), free_port()
        self.proxy = DocumentProxy(*(str(port) for port in self.ports))
        self.parts: list[Any] = []

    def receiver(self, consumer: Any, **keywords: Any) -> DocumentReceiver:
        self.parts.append(DocumentReceiver(str(self.ports[1]), consumer, **keywords))
        assert until(partial(self._reached, self.parts[-1]))
        return self.parts[-1]

    def _reached(self, receiver: DocumentReceiver) -> bool:
        """Whether a message of a prefix that nobody uses comes through."""
        with zmq.Context() as context, context.socket(zmq.PUB) as probe:
            probe.connect(f"tcp://127.0.0.1:{self.ports[0]}")
            time.sleep(0.1)
            before = receiver.counters
            probe.send(b"")
            return until(lambda: receiver.counters != before, 0.5)

    def publisher(self, **keywords: Any) -> Any:
        self.parts.append(publish(str(self.ports[0]), **keywords))
        return self.parts[-1]

    def close(self) -> None:
        for part in self.parts:
            part.close()
        self.proxy.close()


@pytest.fixture
def net() -> Iterator[Net]:
    net = Net()
    yield net
    net.close()


@pytest.fixture
def calibration(document: dict[str, Any]) -> Calibration:
    return Calibration.from_dict(document)


@pytest.fixture
def reduced(calibration: Calibration) -> Iterator[tuple[Reduction, Collected]]:
    sink = Collected()
    reduction = Reduction(calibration, [sink], patience=0.2)
    yield reduction, sink
    assert reduction.close(PATIENCE)


# Formats


@pytest.mark.parametrize("name", FORMATS)
def test_documents_arrive_as_they_left(name: str) -> None:
    doc = {
        "uid": "x",
        "text": "Ångström \x00 \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        "nan": float("nan"),
        "infinity": -np.inf,
        "scalar": np.float32(0.5),
        "integer": np.int64(2**40),
        "truth": np.True_,
        "nested": [{"a": (1, 2)}, None, {}],
        "empty": np.zeros((0, 3)),
    }
    back = deserializer(name)(serializer(name)(doc))
    assert back.pop("nan") != back.get("nan")
    assert np.asarray(back.pop("empty")).size == 0
    expected = {
        "uid": "x",
        "text": doc["text"],
        "infinity": -np.inf,
        "scalar": 0.5,
        "integer": 2**40,
        "truth": True,
        "nested": [{"a": [1, 2]}, None, {}],
    }
    assert back == expected
    assert type(back["scalar"]) is float


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", ["<i4", ">u2", "<f8", "?", "<U3"])
def test_arrays_arrive_as_they_left(name: str, dtype: str) -> None:
    array = np.array([[1, 0, 3], [4, 5, 6]]).astype(dtype)
    strided = array[:, ::2]
    back = deserializer(name)(serializer(name)({"a": array, "b": strided}))
    np.testing.assert_array_equal(back["a"], array)
    np.testing.assert_array_equal(back["b"], strided)
    if name == "msgpack":
        assert back["a"].dtype == np.dtype(dtype)


@pytest.mark.parametrize("name", FORMATS)
def test_what_no_format_knows_goes_as_text(name: str) -> None:
    moment = datetime(2024, 1, 31, 12, tzinfo=UTC)
    doc = {"folder": Path("/data"), "moment": moment, "some": {3}, "objects": np.array([1, "a", None], dtype=object)}
    assert deserializer(name)(serializer(name)(doc)) == {
        "folder": "/data",
        "moment": "2024-01-31T12:00:00+00:00",
        "some": [3],
        "objects": [1, "a", None],
    }


def test_sessions_with_msgpack_numpy_are_understood() -> None:
    image = np.arange(6, dtype=np.int32).reshape(2, 3)
    back = deserializer("msgpack")(msgpack_numpy.packb({"image": image, "scalar": np.float64(1.5)}))
    np.testing.assert_array_equal(back["image"], image)
    assert back["scalar"] == 1.5


class Bomb:
    """Something that, when unpickled, does what it wants."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize(
    "array",
    [
        {b"nd": True, b"kind": b"O", b"type": [["", "|O"]], b"shape": [1], b"data": pickle.dumps(Bomb())},
        {b"nd": True, b"kind": b"", b"type": "O", b"shape": [1], b"data": b"\x00" * 8},
        {b"nd": True, b"kind": b"", b"type": "i4,O", b"shape": [1], b"data": b"\x00" * 16},
        {b"nd": False, b"type": "O", b"data": b"\x00" * 8},
        {b"nd": True, b"kind": b"", b"type": "<i4", b"shape": [10**12], b"data": b"\x00" * 8},
        {b"nd": True, b"kind": b"", b"type": "<i4", b"shape": [-1], b"data": b"\x00" * 8},
        {b"nd": True},
    ],
)
def test_arrays_that_mean_harm_are_refused(array: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        deserializer("msgpack")(msgpack.packb({"image": array}))


def test_unknown_format_is_refused() -> None:
    with pytest.raises(SaxsError, match="serializer: wanted one of msgpack, json, found 'pickle'"):
        serializer("pickle")


# Addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("5568", "tcp://127.0.0.1:5568"),
        (":5568", "tcp://127.0.0.1:5568"),
        ("tcp://:5568", "tcp://127.0.0.1:5568"),
        ("localhost:5568", "tcp://localhost:5568"),
        ("tcp://10.0.0.1:5568", "tcp://10.0.0.1:5568"),
        ("ipc:///tmp/x", "ipc:///tmp/x"),
    ],
)
def test_address_without_a_host_is_this_computer(text: str, address: str) -> None:
    assert tcp_address(text) == address


@pytest.mark.parametrize("text", ["", "host", "host:", "host:port", "host:0", "host:70000", "tcp://host"])
def test_address_without_a_port_is_refused(text: str) -> None:
    with pytest.raises(SaxsError, match="found no port from 1 to 65535"):
        tcp_address(text)


def test_prefix_with_a_space_is_refused() -> None:
    with pytest.raises(SaxsError, match="prefix: wanted no spaces"):
        publish("5567", prefix=b"a b")


# Sockets


@pytest.mark.parametrize("name", FORMATS)
def test_scan_in_another_session_is_reduced(
    net: Net,
    name: Any,
    rng: np.random.Generator,
    calibration: Calibration,
    reduced: tuple[Reduction, Collected],
) -> None:
    reduction, sink = reduced
    images = [rng.poisson(10, (60, 80)) for _ in range(4)]
    camera = SynSignal(func=partial(next, iter(images)), name="camera")  # it takes one to begin with
    guard = LossDetector(reduction)
    net.receiver(guard, serializer=name)
    engine = RunEngine({})
    engine.subscribe(net.publisher(serializer=name))
    engine(scan([camera], motor, -1, 1, 3), sample="silver behenate")
    assert until(lambda: sink.of("stop"))
    assert_curves(sink.of("event"), images[1:], calibration)
    assert [event["data"]["motor"] for event in sink.of("event")] == [-1, 0, 1]
    assert sink.of("start")[0]["sample"] == "silver behenate"
    assert guard.report.lost == 0


def test_burst_of_6000_events_arrives_whole(net: Net) -> None:
    arrived = Collected()
    guard = LossDetector(arrived)
    net.receiver(guard)
    publisher = net.publisher()
    for name, doc in run_documents(list(range(6000))):
        publisher(name, doc)
    assert until(lambda: arrived.of("stop"))
    assert [event["data"]["camera"] for event in arrived.of("event")] == list(range(6000))
    assert (guard.report.lost, guard.report.told) == (0, ())


def test_burst_waits_for_a_slow_consumer(net: Net) -> None:
    release = threading.Event()
    arrived: list[str] = []

    def slow(name: str, doc: dict[str, Any]) -> None:
        release.wait(20)
        arrived.append(name)

    net.receiver(slow)
    publisher = net.publisher()
    for name, doc in run_documents([0] * 6000):
        publisher(name, doc)
    time.sleep(0.5)
    assert arrived == []
    release.set()
    assert until(lambda: len(arrived) == 6003)


def relay(context: zmq.Context[Any], source: int, target: int, drop: Callable[[bytes], bool]) -> threading.Thread:
    """A network that loses what it is told to."""
    incoming, outgoing = context.socket(zmq.SUB), context.socket(zmq.PUB)
    incoming.setsockopt(zmq.SUBSCRIBE, b"")
    incoming.connect(f"tcp://127.0.0.1:{source}")
    outgoing.bind(f"tcp://127.0.0.1:{target}")

    def forward() -> None:
        with incoming, outgoing:
            try:
                while True:
                    message = incoming.recv()
                    if not drop(message):
                        outgoing.send(message)
            except zmq.ContextTerminated:
                pass

    thread = threading.Thread(target=forward)
    thread.start()
    return thread


def test_document_lost_on_the_way_is_told_and_the_others_reduced(
    net: Net, rng: np.random.Generator, calibration: Calibration, reduced: tuple[Reduction, Collected]
) -> None:
    reduction, sink = reduced
    guard = LossDetector(reduction)
    images = [rng.poisson(10, (60, 80)) for _ in range(6)]
    context, port = zmq.Context(), free_port()
    thread = relay(context, net.ports[1], port, lambda message: b" event " in message and b"seq_num\x03" in message)
    net.ports = net.ports[0], port
    net.receiver(guard)
    publisher = net.publisher()
    for name, doc in run_documents(images):
        publisher(name, doc)
    assert until(lambda: sink.of("stop"))
    context.term()
    thread.join()
    assert_curves(sink.of("event"), [*images[:2], *images[3:]], calibration)
    loss = "lost on the way: 1 of 6 events of stream primary (seq_num 3)"
    assert sink.of("stop")[0]["reason"] == f"raw run: {loss}"
    assert guard.report.lost == 1
    assert loss in str(guard.report)


def test_late_join_is_told_and_the_next_run_reduced(
    net: Net, rng: np.random.Generator, calibration: Calibration, reduced: tuple[Reduction, Collected]
) -> None:
    reduction, sink = reduced
    guard = LossDetector(reduction)
    images = [rng.poisson(10, (60, 80)) for _ in range(4)]
    publisher = net.publisher()
    missed, seen = run_documents(images), run_documents(images)
    for name, doc in missed[:3]:
        publisher(name, doc)
    time.sleep(0.2)
    net.receiver(guard)
    for name, doc in [*missed[3:], *seen]:
        publisher(name, doc)
    assert until(lambda: sink.of("stop"))
    assert_curves(sink.of("event"), images, calibration)
    assert sink.of("start")[0]["original_run_uid"] == seen[0][1]["uid"]
    assert guard.report.told[-1] == f"joined late: 4 documents of run {missed[0][1]['uid']} passed over"


def test_only_the_prefix_that_is_wanted_counts(net: Net) -> None:
    arrived = Collected()
    receiver = net.receiver(arrived, prefix=b"saxs")
    before = receiver.counters.foreign
    mine, others = net.publisher(prefix=b"saxs"), net.publisher(prefix=b"saxs2")
    others("start", {"uid": "theirs"})
    time.sleep(0.1)
    mine("start", {"uid": "mine"})
    assert until(lambda: arrived)
    assert arrived == [("start", {"uid": "mine"})]
    assert receiver.counters.foreign == before + 1


def garbage() -> list[list[bytes]]:
    good = serializer("msgpack")(run_documents([1])[0][1])
    return [
        [b" start " + pickle.dumps({"uid": Bomb()})],
        [b""],
        [b" "],
        [b"\xff\xfe\x00"],
        [b" start"],
        [b" start "],
        [b" nonsense " + good],
        [b" \xff\xff " + good],
        [b" start " + good[:-5]],
        [b" start " + good + b"\x01"],
        [b" start \xc1"],
        [b" start \xdd\xff\xff\xff\xff"],
        [b" start " + b"\x91" * 100_000],
        [b" start " + msgpack.packb([1, 2])],
        [b" start " + msgpack.packb({"x": 1})[:1]],
        [b" start " + json.dumps({"uid": "x"}).encode()],
        [b" bulk_events " + good],
        [b" start ", good],
        [b" start", b"", good],
        *[[bytes(piece)] for piece in np.random.default_rng(7).integers(0, 256, (50, 40), dtype=np.uint8)],
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_garbage_is_counted_and_survived(net: Net, name: Any, caplog: pytest.LogCaptureFixture) -> None:
    arrived = Collected()
    guard = LossDetector(arrived)
    receiver = net.receiver(guard, serializer=name)
    before = receiver.counters.unreadable
    with zmq.Context() as context, context.socket(zmq.PUB) as stranger:
        stranger.connect(f"tcp://127.0.0.1:{net.ports[0]}")
        time.sleep(0.3)
        for parts in garbage():
            stranger.send_multipart(parts)
        documents = run_documents([1, 2])
        for kind, doc in documents:
            stranger.send(b" ".join([b"", kind.encode(), serializer(name)(doc)]))
        assert until(lambda: arrived.of("stop"))
    assert arrived[-5:] == documents
    # The JSON document among them is garbage for MessagePack only.
    assert len(arrived) == 5 + (name == "json")
    assert receiver.counters.unreadable - before == len(garbage()) - (name == "json")
    assert len(caplog.records) < 20
    assert "it looks like pickle: use saxs_bluesky.callbacks.publish" in caplog.text


def test_consumer_that_raises_costs_one_document(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    arrived: list[str] = []

    def faulty(name: str, doc: dict[str, Any]) -> None:
        arrived.append(name)
        raise OSError("disk full")

    net.receiver(faulty)
    publisher = net.publisher()
    for name, doc in run_documents([1]):
        publisher(name, doc)
    assert until(lambda: len(arrived) == 4)


def test_proxy_that_comes_back_is_found_again(net: Net) -> None:
    arrived = Collected()
    net.receiver(arrived)
    net.proxy.close()
    net.proxy = DocumentProxy(*(str(port) for port in net.ports))
    publisher = net.publisher()
    assert until(lambda: publisher("start", {"uid": "x"}) or arrived)


def test_what_has_arrived_is_taken_before_the_end(net: Net) -> None:
    arrived: list[str] = []

    def slow(name: str, doc: dict[str, Any]) -> None:
        time.sleep(0.002)
        arrived.append(name)

    receiver = net.receiver(slow)
    publisher = net.publisher()
    for name, doc in run_documents([0] * 200):
        publisher(name, doc)
    assert until(lambda: arrived)
    time.sleep(0.1)
    assert receiver.close(PATIENCE)
    assert len(arrived) == 203
    assert receiver.close()  # twice does no harm


def test_bluesky_publisher_is_understood(net: Net) -> None:
    arrived = Collected()
    net.receiver(arrived)
    publisher = Publisher(f"127.0.0.1:{net.ports[0]}", serializer=msgpack_numpy.dumps)
    assert until(lambda: publisher("start", {"uid": "x"}) or arrived)
    publisher.close()


def test_publisher_without_a_proxy_says_so_and_lets_the_scan_go_on(caplog: pytest.LogCaptureFixture) -> None:
    publisher = publish(str(free_port()), connect_seconds=0.1)
    engine = RunEngine({})
    engine.subscribe(publisher)
    engine(count([motor], 2))
    publisher.close()
    assert "wanted a 0MQ proxy, found none yet" in caplog.text


def test_document_that_cannot_be_sent_does_not_end_the_scan(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    arrived = Collected()
    net.receiver(arrived)
    publisher = net.publisher()
    circle: dict[str, Any] = {"uid": "x"}
    circle["itself"] = circle
    publisher("start", circle)
    publisher("start", {"uid": "y"})
    assert until(lambda: arrived)
    assert [doc["uid"] for _, doc in arrived] == ["y"]
    assert "a start document cannot be published: ValueError" in caplog.text


def test_proxy_at_a_taken_port_says_so(net: Net) -> None:
    with pytest.raises(SaxsError, match="wanted a free address for the proxy, found Address already in use"):
        DocumentProxy(str(net.ports[0]), str(free_port()))


def test_receiver_of_an_impossible_address_says_so() -> None:
    with pytest.raises(
        SaxsError, match=r"nothing://x: wanted the address of a 0MQ proxy, found Protocol not supported"
    ):
        DocumentReceiver("nothing://x", print)
