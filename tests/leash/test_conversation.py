"""Client and request validator exchange requests and answers, in either protocol."""

from __future__ import annotations

import json
import logging
import math
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.errors import FrameError, MaskError, SaxsError, SchemaError
from saxs_bluesky.leash import (
    Attachment,
    Command,
    Kind,
    LeashError,
    Limits,
    ReplyContext,
    Response,
    compose,
    error_of,
    read_reply,
)
from saxs_bluesky.leash.server import RequestValidator
from tests.helpers.hostile import CALIBRATION, MERGE, npy
from tests.helpers.leash_validation import NOW, SECRET, SMALL, Clock, make_validator

PLOT = {
    "filename": "user/2014/frame.tif",
    "graphs": [
        {
            "kind": "Radial",
            "conf": {"MaskFile": "mask.npy"},
            "columnLabels": ["q", "I", "sigma"],
            "array": [np.array([0.1, 0.2]), np.array([np.nan, np.inf]), [1, -math.inf]],
        }
    ],
    "stat": {"queue length": np.int64(3), "images processed": 4, "time": NOW, "start time": NOW - 5, "mergecount": 0},
    "history": np.array([NOW, NOW - 1]),
    "IntegralParameters": {"R0": {"time": [NOW], "file": ["a.tif"], "I0": [np.float32(1.5)], "I1": [2.0], "I2": [3.0]}},
}

# What deployed clients let pass.
DATA_KEYS = {
    "cal", "Error", "syncplot", "mergeinfo", "directory", "attachments", "threads", "dircontent", "history",
    "fileslist", "stat", "filename", "IntegralParameters", "graphs",
}  # fmt: skip
STAT_KEYS = {"queue length", "images processed", "time", "start time", "mergecount"}


def ask(command: Command = Command.STAT, argument: Any = None, *files: Attachment, **options: Any) -> list[bytes]:
    return compose(command, argument or {}, files, secret=SECRET, clock=lambda: NOW - 1, **options)


@pytest.fixture(params=[1, 2])
def protocol(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


def test_request_and_answer_travel(validator: RequestValidator, protocol: int) -> None:
    parts = ask(Command.PLOT, protocol=protocol)
    request = validator.validate(parts)
    assert (request.command, request.argument, request.time) == (Command.PLOT, {}, NOW - 1)
    answer = validator.reply(request, "plot", PLOT)
    assert len(answer) == protocol
    response = read_reply(answer, parts, SECRET)
    assert (response.result, response.error) == ("plot", None)
    assert response.data["stat"]["queue length"] == 3
    columns = response.data["graphs"][0]["array"]
    assert columns[0] == [0.1, 0.2]
    assert np.isnan([*columns[1], columns[2][1]]).all()
    assert response.data["IntegralParameters"]["R0"]["I0"] == [1.5]


def test_calibration_with_its_mask_travels(validator: RequestValidator, protocol: int) -> None:
    mask = np.zeros((60, 80), "u1")
    mask[3, 5] = 255
    content = npy(content=mask.tobytes())
    parts = ask(
        Command.NEW,
        {"calibration": CALIBRATION, "data": {}},
        Attachment.from_bytes("a.npy", content),
        protocol=protocol,
    )
    request = validator.validate(parts)
    assert request.attachments[0].content() == content
    assert request.calibration is not None
    assert request.calibration.document["Threads"] == 1
    assert request.calibration.load_mask(0)[3, 5]


def test_mask_of_every_byte_travels(validator: RequestValidator) -> None:
    every = bytes(range(256))
    assert Attachment.from_bytes("a", every).content() == every
    (part,) = ask(Command.STAT, {}, Attachment.from_bytes("a", every))[1:]
    assert json.loads(part)["data"].encode("latin-1") == every


def test_entries_without_mask_need_no_attachment(validator: RequestValidator) -> None:
    entry = CALIBRATION["Masks"][0]
    calibration = {**CALIBRATION, "Masks": [{}, entry, {}]}
    parts = ask(Command.NEW, {"calibration": calibration}, Attachment.from_bytes("a.npy", npy(dtype="|b1")))
    request = validator.validate(parts)
    assert request.calibration is not None
    assert [request.calibration._mask_sources[i] is None for i in range(3)] == [True, False, True]


def test_merge_gets_its_defaults_and_one_name(validator: RequestValidator) -> None:
    request = validator.validate(ask(Command.MERGEDATA, {"mergeconf": MERGE}, Attachment("data.log", "1\t2\n")))
    merge = request.argument["mergeconf"]
    assert merge["OutputFileName"] == "merged"
    assert "OutputFileBaseName" not in merge
    assert [name for name, wanted in merge["OutputFormats"].items() if wanted] == ["csv"]
    assert merge["LogDataTables"][0]["FirstImageCorrelation"] is False
    assert request.attachments == (Attachment("data.log", "1\t2\n"),)


@pytest.mark.parametrize(("path", "parts"), [("logs//peak.log", ["logs", "peak.log"]), (["peak.log"], ["peak.log"])])
def test_path_of_the_shipped_template_is_a_remote_path(validator: RequestValidator, path: Any, parts: Any) -> None:
    conf = {"LogDataTables": [{"Name": "Peak", "Files": [{"Path": path, "LocalPath": ""}]}]}
    request = validator.validate(ask(Command.MERGEDATA, {"mergeconf": conf}))
    assert request.argument["mergeconf"]["LogDataTables"][0]["Files"] == [{"RemotePath": parts, "LocalPath": ""}]


def test_listdir_gets_its_names_tidied(validator: RequestValidator) -> None:
    assert validator.validate(ask(Command.LISTDIR, {"directory": [".", "user", ""]})).argument == {
        "directory": ["user"]
    }


def test_answer_of_protocol_1_is_what_deployed_clients_read(validator: RequestValidator) -> None:
    (body,) = validator.reply(validator.validate(ask()), "plot", PLOT)
    assert body.isascii()
    assert b"NaN" in body
    assert b"Infinity" not in body
    document = json.loads(body)
    assert set(document) == {"result", "data"}
    assert set(document["data"]) <= DATA_KEYS
    assert set(document["data"]["stat"]) <= STAT_KEYS
    (graph,) = document["data"]["graphs"]
    assert set(graph) == {"kind", "conf", "columnLabels", "array"}


def test_schema_lets_pass_what_deployed_clients_do() -> None:
    from saxs_bluesky.schemas import load_schema

    data = load_schema("leash-response")["properties"]["data"]["properties"]
    assert set(data) == DATA_KEYS
    assert set(data["stat"]["properties"]) == STAT_KEYS
    assert set(data["graphs"]["items"]["properties"]) == {"kind", "conf", "columnLabels", "array"}
    assert data["graphs"]["items"]["properties"]["kind"]["enum"] == ["Radial", "Slice"]


class Name(StrEnum):
    A = "a"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float64("nan"), "NaN"), (math.inf, "NaN"), (np.float32("-inf"), "NaN"), (np.int32(5), "5"),
        (np.uint64(2**64 - 1), "18446744073709551615"), (np.bool(True), "true"), (True, "true"), (None, "null"),
        (np.str_("a"), '"a"'), (Name.A, '"a"'), (Path("a/b"), '"a/b"'), ((1, 2), "[1, 2]"),
        (np.zeros((2, 1)), "[[0.0], [0.0]]"),
        (np.array([1, 2]), "[1, 2]"), (np.array(["a"]), '["a"]'), (np.array(True), "true"), (np.float32(0.5), "0.5"),
        ({1: 2}, '{"1": 2}'), ("\u00e9", '"\\u00e9"'), (np.array([]), "[]"), (np.array(5.0), "5.0"),
    ],
)  # fmt: skip
def test_values_of_every_kind_are_written(validator: RequestValidator, value: Any, text: str) -> None:
    (body,) = validator.reply(ReplyContext(), "cal", {"cal": {"x": value}})
    assert json.loads(body)["result"] == "cal"
    assert body.decode() == '{"result": "cal", "data": {"cal": {"x": ' + text + "}}}"


def in_itself() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


@pytest.mark.parametrize(
    "data",
    [
        {"more": 1}, {"stat": {"more": 1}}, {"stat": {"queue length": 1.5}}, {"cal": b"x"}, {"cal": {"x": b"x"}},
        {"cal": {"x": {1, 2}}}, {"cal": {"x": 1j}}, {"cal": {(1, 2): 3}}, {"cal": {"x": object()}},
        {"cal": {"x": in_itself()}},
        {"graphs": [{"kind": "Azimuthal"}]}, {"directory": "x"}, {"mergeinfo": "x" * 60_000}, {"Error": None},
        {"cal": {"x": np.array(["2014"], "M8[Y]")}},
    ],
)  # fmt: skip
def test_answer_that_clients_cannot_read_becomes_an_error(
    validator: RequestValidator, data: dict[str, Any], protocol: int, caplog: pytest.LogCaptureFixture
) -> None:
    parts = ask(protocol=protocol)
    with caplog.at_level(logging.WARNING):
        response = read_reply(validator.reply(validator.validate(parts), "x", data), parts, SECRET)
    assert response.result == "ServerError"
    assert response.error
    assert len(caplog.records) == 1
    assert "Traceback" not in response.error + caplog.text


def test_errors_travel(validator: RequestValidator, protocol: int) -> None:
    parts = ask(protocol=protocol)
    request = validator.validate(parts)
    for error, kind in [
        (LeashError(Kind.IO, "no such file"), "IOError"),
        (SchemaError("bad"), "ValidationError in request"),
        (MaskError("bad"), "ValueError in request"),
        (FrameError("bad"), "Error"),
        (PermissionError(13, "Permission denied", "/home/secret/path"), "OSError"),
        (NotImplementedError(), "ErrorNotimplemented"),
        (KeyError(SECRET), "ServerError"),
        (RecursionError(SECRET), "ServerError"),
    ]:
        response = read_reply(validator.error_reply(error, request), parts, SECRET)
        assert response.result == kind
        assert response.error
        assert SECRET not in response.error
        assert "/home" not in response.error


def test_error_of_an_authentic_request_is_signed(validator: RequestValidator) -> None:
    parts = ask(Command.LISTDIR, {"directory": [".."]}, protocol=2)
    with pytest.raises(LeashError) as caught:
        validator.validate(parts)
    response = read_reply(validator.error_reply(caught.value), parts, SECRET)
    assert response.result == "ValueError in request"


def test_error_of_any_other_request_is_not_signed(validator: RequestValidator) -> None:
    parts = ask(protocol=2)
    spoilt = [parts[0].replace(b"stat", b"plot")]
    with pytest.raises(LeashError) as caught:
        validator.validate(spoilt)
    answer = validator.error_reply(caught.value)
    assert len(answer) == 1
    with pytest.raises(LeashError, match=r"found none \(it says: Wrong signature\.\)"):
        read_reply(answer, parts, SECRET)


def test_request_that_comes_again_gets_a_signed_refusal(validator: RequestValidator) -> None:
    parts = ask(protocol=2)
    validator.validate(parts)
    with pytest.raises(LeashError) as caught:
        validator.validate(parts)
    assert read_reply(validator.error_reply(caught.value), parts, SECRET).error == "Request seen before."


def test_old_signing_can_be_switched_off(clock: Clock) -> None:
    validator = make_validator(clock=clock, legacy=False)
    with pytest.raises(LeashError, match="wants requests of protocol 2") as caught:
        validator.validate(ask())
    assert read_reply(validator.error_reply(caught.value), ask(), SECRET).result == "AuthenticationError"
    assert validator.validate(ask(protocol=2)).command is Command.STAT


def test_two_requests_of_protocol_2_are_never_the_same() -> None:
    assert ask(protocol=2) != ask(protocol=2)


def test_unknown_protocol_and_bad_argument_are_not_sent() -> None:
    with pytest.raises(LeashError, match="wanted protocol 1 or 2, found 3"):
        ask(protocol=3)
    with pytest.raises(LeashError, match='unknown key "x"'):
        ask(Command.STAT, {"x": 1})
    with pytest.raises(LeashError, match="wanted values that JSON can hold"):
        ask(Command.NEW, {"calibration": {"x": b"x"}})
    with pytest.raises(LeashError, match="half of a surrogate pair"):
        ask(Command.LISTDIR, {"directory": ["\ud800"]})


def test_attachment_beyond_latin_1_is_named() -> None:
    with pytest.raises(LeashError, match=r"found U\+6E2C"):
        Attachment("a.msk", "\u6e2c").content()


def test_answers_of_protocol_2_are_bound_to_their_request(validator: RequestValidator) -> None:
    first, second = ask(protocol=2), ask(protocol=2)
    answer = validator.reply(validator.validate(first), "stat", {})
    assert read_reply(answer, first, SECRET) == Response("stat", {})
    body, sign = answer
    for wrong in (
        [body.replace(b"stat", b"plot"), sign],
        [body, sign[:-1]],
        [body, b""],
        [body, sign.upper()],
        [body, b"\xff" * 64],
        [sign, body],
        [b"", sign],
    ):
        with pytest.raises(LeashError) as caught:
            read_reply(wrong, first, SECRET)
        assert caught.value.kind == "AuthenticationError"
    with pytest.raises(LeashError, match="found another's"):
        read_reply(answer, second, SECRET)
    with pytest.raises(LeashError, match="found none"):
        read_reply([body], first, SECRET)
    with pytest.raises(LeashError, match="found another"):
        read_reply(answer, first, "other secret")
    with pytest.raises(LeashError):
        read_reply([], first, SECRET)
    with pytest.raises(LeashError):
        read_reply([*answer, b""], first, SECRET)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"null", b"NaN", b"\xff", b"\xef\xbb\xbf{}", b"{" * 5000, b"[" * 5000,
        b'{"result": "x"}', b'{"result": 5, "data": {}}', b'{"result": "x", "data": []}',
        b'{"result": "x", "data": {"stat": {"queue length": NaN}}}',
        b'{"result": "x", "data": {"graphs": [{"kind": "Radial", "conf": {}, "columnLabels": [], "array": [["1"]]}]}}',
        b'{"result": "x", "data": {"graphs": [{"kind": "Radial", "conf": {}, "columnLabels": [], "array": [[true]]}]}}',
        b'{"result": "x", "data": {"graphs": [{"kind": "R", "conf": {}, "columnLabels": [], "array": []}]}}',
        b'{"result": "x", "result": "y", "data": {}}', b'{"result": "x", "data": {"Error": 5}}',
    ],
)  # fmt: skip
def test_answer_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(LeashError, match=r"^answer: "):
        read_reply([body], ask(), SECRET)


def test_answer_that_is_too_large_is_refused() -> None:
    with pytest.raises(LeashError, match="wanted 1 parts of at most 50000 bytes"):
        read_reply([b" " * 50_001], ask(), SECRET, SMALL)


def test_answers_of_deployed_servers_are_read() -> None:
    body = (
        b'{"data": {"graphs": [{"kind": "Slice", "conf": {}, "columnLabels": ["q"], "array": [[NaN, Infinity, 1]]}],'
        b'"filename": "a\\udcff.tif", "stat": {"time": "now", "queue length": 0}}, "result": "plot"}'
    )
    response = read_reply([body], ask(), SECRET)
    assert math.isnan(response.data["graphs"][0]["array"][0][0])


def test_empty_secret_is_refused() -> None:
    with pytest.raises(SaxsError, match="found an empty one"):
        RequestValidator("")


def test_texts_of_errors_are_one_short_line() -> None:
    error = LeashError(Kind.ERROR, "a\nb\x1b[2J\u2028\ud800" + "x" * 5000)
    assert str(error).startswith("a b [2J x")
    assert len(str(error)) == 1000
    assert error_of(error) is error


def test_default_limits_let_large_masks_pass() -> None:
    limits = Limits()
    assert limits.attachment_bytes > 6 * 4 * 2527 * 2463  # a Pilatus 6M in 32 bits, six characters for each zero
    assert limits.pixels > 4371 * 4150
    assert limits.window == 900
