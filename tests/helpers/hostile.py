"""Hostile messages: what every entry point is run against, well-formed but insane ones among them."""

from __future__ import annotations

import copy
import hashlib
import hmac
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import h5py
import numpy as np
import tifffile

from saxs_bluesky.leash import Kind
from tests.helpers.calibrations import small_document
from tests.helpers.leash_validation import NOW, SECRET

VALUE, VALIDATION, AUTHENTICATION = Kind.VALUE, Kind.VALIDATION, Kind.AUTHENTICATION
UNKNOWN, OS, ERROR = Kind.NOT_IMPLEMENTED, Kind.OS, Kind.ERROR

CALIBRATION = small_document(Slices=[{"CutPosition": 5, "MaskRef": 0}], Directory=["user", "2014"])
CALIBRATION["Masks"][0]["MaskFile"] = "mask.npy"
MERGE: dict[str, Any] = {
    "TimeOffset": 0.0,
    "LogDataTables": [
        {"TimeEpoch": "Mac", "Name": "Peak", "Files": [{"RemotePath": ["user", "peak.log"]}]},
        {"TimeEpoch": "Unix", "Name": "Data", "Files": [{"LocalPath": "/home/user/data.log"}]},
    ],
    "OutputFormats": {"csv": True, "hdf": False},
    "OutputFileBaseName": "merged",
}


class Hostile(NamedTuple):
    """A message, and the kind of error that it gets; None where it is strange but good."""

    parts: list[bytes]
    kind: Kind | None


def sign(request: dict[str, Any], secret: str = SECRET) -> dict[str, Any]:
    """Sign a request as a deployed client does."""
    text = json.dumps({**request, "sign": ""}, sort_keys=True)
    return {**request, "sign": hashlib.sha512(text.encode() + secret.encode()).hexdigest()}


def sign2(request: dict[str, Any], files: list[bytes], secret: str = SECRET, **other: Any) -> dict[str, Any]:
    """Sign a request in protocol 2."""
    digests = [hashlib.sha256(part).hexdigest() for part in files]
    whole = {**request, "protocol": 2, "nonce": "0123456789abcdef" * 2, "attachments": digests, **other, "sign": ""}
    text = b"saxs-bluesky leash 2 request\0" + json.dumps(whole, sort_keys=True).encode()
    return {**whole, "sign": hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()}


def request(command: Any, argument: Any, **other: Any) -> dict[str, Any]:
    return {"command": command, "argument": argument, "time": NOW - 1, **other}


def signed(command: Any, argument: Any, files: tuple[bytes, ...] = (), **other: Any) -> list[bytes]:
    """Parts of a signed message."""
    return [json.dumps(sign(request(command, argument, **other))).encode(), *files]


def attachment(content: bytes, filename: str = "mask.npy") -> bytes:
    return json.dumps({"filename": filename, "data": content.decode("latin-1")}).encode()


def npy(shape: tuple[int, ...] = (60, 80), dtype: str = "|u1", content: bytes | None = None) -> bytes:
    head = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    body = np.zeros(shape, dtype).tobytes() if content is None else content
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + body


MASK = attachment(npy())
LOG = json.dumps({"filename": "data.log", "data": "Time\tIoni\n3474000000\t1.0\n"}).encode()


def new(path: list[Any], value: Any, attachments: tuple[bytes, ...] = (MASK,)) -> list[bytes]:
    """A ``new`` whose calibration has a value changed; None for gone."""
    return signed("new", {"calibration": changed(CALIBRATION, path, value), "data": {}}, attachments)


def merge(path: list[Any], value: Any, attachments: tuple[bytes, ...] = (LOG,)) -> list[bytes]:
    return signed("mergedata", {"mergeconf": changed(MERGE, path, value)}, attachments)


class Gone:
    """Marks a value that is to be taken out."""


def changed(document: dict[str, Any], path: list[Any], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(document)
    inner: Any = document
    for part in path[:-1]:
        inner = inner[part]
    if path and value is Gone:
        del inner[path[-1]]
    elif path:
        inner[path[-1]] = value
    return document


def hostile_messages() -> dict[str, Hostile]:
    """All of them by name."""
    table: dict[str, Hostile] = {}
    for part in (_texts, _signatures, _times, _envelopes, _commands, _paths, _calibrations, _masks, _merges, _second):
        for what, parts, kind in part():
            name = f"{part.__name__[1:]}: {what}"
            table[name if name not in table else f"{name} ({len(table)})"] = Hostile(parts, kind)
    return table


Rows = Iterator[tuple[str, list[bytes], Kind | None]]


def _texts() -> Rows:
    good = signed("stat", {})[0]
    inner = good[1:]
    yield "no parts", [], VALUE
    yield "parts before the request", [b"", good], VALUE
    for name, text in {
        "empty": b"",
        "blank": b"  \n",
        "NUL": b"\0",
        "a million NUL": b"\0" * 20_000,
        "too long": b" " * 20_001 + good,
        "no JSON": b"stat",
        "open bracket": b"{",
        "half": good[: len(good) // 2],
        "one byte short": good[:-1],
        "twice": good + good,
        "comma behind": good + b",",
        "comment": b"/* */" + good,
        "single quotes": good.replace(b'"', b"'"),
        "byte order mark": b"\xef\xbb\xbf" + good,
        "UTF-16": good.decode().encode("utf-16"),
        "UTF-16 without mark": good.decode().encode("utf-16-le"),
        "UTF-32": good.decode().encode("utf-32"),
        "Latin-1": b'{"a": "\xe9", ' + inner,
        "overlong slash": b'{"a": "\xc0\xaf", ' + inner,
        "surrogate in UTF-8": b'{"a": "\xed\xa0\x80", ' + inner,
        "beyond Unicode": b'{"a": "\xf4\x90\x80\x80", ' + inner,
        "cut short within a character": b'{"a": "\xe2\x82',
        "lone surrogate": b'{"a": "\\ud800", ' + inner,
        "lone surrogate as key": b'{"\\udfff": 1, ' + inner,
        "surrogates the wrong way round": b'{"a": "\\udc00\\ud800", ' + inner,
        "line feed in a text": b'{"a": "\n", ' + inner,
        "bad escape": b'{"a": "\\x41", ' + inner,
        "cut escape": b'{"a": "\\u12',
        "list": b"[" + good + b"]",
        "text": json.dumps(good.decode()).encode(),
        "number": b"3",
        "NaN": b"NaN",
        "null": b"null",
        "true": b"true",
        "deep lists": b"[" * 10_000,
        "deep closed lists": b"[" * 9_000 + b"]" * 9_000,
        "deep objects": b'{"a":' * 3_000,
        "deep in a good one": b'{"a": ' + b"[" * 5_000 + b"]" * 5_000 + b", " + inner,
        "13 deep": b'{"a": ' + b"[" * 13 + b"]" * 13 + b", " + inner,
        "4301 digits": b'{"a": ' + b"9" * 4301 + b", " + inner,
        "301 digits": b'{"a": ' + b"9" * 301 + b", " + inner,
        "19000 digits": b"-" + b"9" * 19_000,
        "leading zero": b'{"a": 01, ' + inner,
        "hexadecimal": b'{"a": 0x10, ' + inner,
        "plus": b'{"a": +1, ' + inner,
        "bare dot": b'{"a": .5, ' + inner,
        "key twice": b'{"command": "close", ' + inner,
        "sign twice": b'{"sign": "", ' + inner,
        "time twice": b'{"time": 0, ' + inner,
        "key twice by an escape": b'{"\\u0063ommand": "close", ' + inner,
        "key twice inside": good.replace(b'"argument": {}', b'"argument": {"a": 1, "a": 2}'),
        "thousands of equal keys": b'{"a":0' + b',"a":0' * 3000 + b"}",
        "thousands of keys, the last twice": json.dumps({f"{i}": 0 for i in range(2000)}).encode()[:-1] + b',"7":0}',
        "thousands of values": b'{"a": [' + b"0," * 2000 + b"0], " + inner,
        "thousands of empty lists": b'{"a": [' + b"[]," * 2000 + b"0], " + inner,
        "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
        "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "ZMTP": b"\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL",
        "MessagePack": b"\x84\xa7command\xa4stat",
        "YAML": b"command: stat",
        "quotes without end": b'{"a": "' + b'\\"' * 9000,
    }.items():
        yield name, [text], VALUE
    yield "blanks around", [b" \r\n\t" + good + b"\n"], None
    yield "keys in another order", [json.dumps(dict(reversed(json.loads(good).items()))).encode()], None
    yield "escapes where none are needed", [good.replace(b"stat", b"\\u0073tat")], None
    yield "five attachments", [good, *[LOG] * 5], VALUE
    yield "an attachment too long", [good, b" " * 130_001], VALUE
    yield "too long together", [good, b" " * 130_000, b" " * 70_000], VALUE


def _signatures() -> Rows:
    plain = request("stat", {})
    good = sign(plain)
    right = good["sign"]
    wrong: dict[str, Any] = {
        "empty": "",
        "null": None,
        "false": False,
        "true": True,
        "zero": 0,
        "list": [],
        "itself in a list": [right],
        "object": {},
        "number": 1e300,
        "upper case": right.upper(),
        "one digit off": ("0" if right[0] != "0" else "1") + right[1:],
        "last digit off": right[:-1] + ("0" if right[-1] != "0" else "1"),
        "short by one": right[:-1],
        "half": right[:64],
        "blank behind": right + " ",
        "blank before": " " + right,
        "line feed behind": right + "\n",
        "NUL behind": right + "\0",
        "fullwidth digit": chr(0xFF10 + int(right[0], 16) % 10) + right[1:],
        "beyond Latin-1": "\u6e2c" * 128,
        "a long one": "0" * 15_000,
        "other secret": sign(plain, "x")["sign"],
        "empty secret": sign(plain, "")["sign"],
        "secret twice": sign(plain, SECRET * 2)["sign"],
        "no domain": sign2(plain, [])["sign"],
        "other request": sign(request("close", {}))["sign"],
        "plain SHA-512": hashlib.sha512(json.dumps({**plain, "sign": ""}, sort_keys=True).encode()).hexdigest(),
        "SHA-256": hashlib.sha256(
            json.dumps({**plain, "sign": ""}, sort_keys=True).encode() + SECRET.encode()
        ).hexdigest(),
        "secret in front": hashlib.sha512(
            SECRET.encode() + json.dumps({**plain, "sign": ""}, sort_keys=True).encode()
        ).hexdigest(),
        "without the empty sign": hashlib.sha512(
            json.dumps(plain, sort_keys=True).encode() + SECRET.encode()
        ).hexdigest(),
        "compact": hashlib.sha512(
            json.dumps({**plain, "sign": ""}, sort_keys=True, separators=(",", ":")).encode() + SECRET.encode()
        ).hexdigest(),
        "the secret": SECRET,
        "format directive": "%s%n{0}",
    }
    for name, value in wrong.items():
        yield name, [json.dumps({**plain, "sign": value}).encode()], AUTHENTICATION
    yield "absent", [json.dumps(plain).encode()], AUTHENTICATION
    yield "empty object", [b"{}"], AUTHENTICATION
    yield "other key for it", [json.dumps({**plain, "Sign": right}).encode()], AUTHENTICATION
    for name, other in {
        "command changed": {"command": "close"},
        "argument changed": {"argument": {"a": 1}},
        "time changed": {"time": NOW - 2},
        "time as text": {"time": str(NOW - 1)},
        "time written as an integer": {"time": int(NOW)},
        "key added": {"more": 1},
        "protocol 1 added": {"protocol": 1},
        "protocol 2 added": {"protocol": 2},
    }.items():
        yield name, [json.dumps({**good, **other}).encode()], AUTHENTICATION


def _times() -> Rows:
    for name, value, kind in [
        ("just now", NOW, None),
        ("an integer", int(NOW), None),
        ("oldest", NOW - 900, None),
        ("newest", NOW + 900, None),
        ("too old", NOW - 900.5, AUTHENTICATION),
        ("too new", NOW + 900.5, AUTHENTICATION),
        ("a day old", NOW - 86400, AUTHENTICATION),
        ("zero", 0, AUTHENTICATION),
        ("negative", -NOW, AUTHENTICATION),
        ("in milliseconds", NOW * 1000, AUTHENTICATION),
        ("Mac epoch", NOW + 2082844800, AUTHENTICATION),
        ("NaN", float("nan"), AUTHENTICATION),
        ("infinite", float("inf"), AUTHENTICATION),
        ("minus infinite", float("-inf"), AUTHENTICATION),
        ("largest float", 1.7e308, AUTHENTICATION),
        ("300 digits", 10**299, AUTHENTICATION),
        ("smallest float", 5e-324, AUTHENTICATION),
        ("true", True, AUTHENTICATION),
        ("null", None, AUTHENTICATION),
        ("text", str(NOW), AUTHENTICATION),
        ("list", [NOW], AUTHENTICATION),
        ("object", {"$numberDouble": NOW}, AUTHENTICATION),
    ]:
        yield name, signed("stat", {}, time=value), kind
    absent = request("stat", {})
    del absent["time"]
    yield "absent", [json.dumps(sign(absent)).encode()], AUTHENTICATION
    text = json.dumps(sign(request("stat", {}, time=float("inf")))).encode()
    yield "infinite by overflow", [text.replace(b"Infinity", b"1e999")], AUTHENTICATION


def _envelopes() -> Rows:
    for name, other in {
        "unknown key": {"more": 1},
        "key of JavaScript": {"__proto__": {}},
        "key of Python": {"__class__": "x"},
        "empty key": {"": 0},
        "key of control characters": {"\x1b[2J\n": 0},
        "protocol 1 said": {"protocol": 1},
        "nonce without protocol 2": {"nonce": 1},
        "attachments without protocol 2": {"attachments": "x"},
    }.items():
        yield name, signed("stat", **{"argument": {}, **other}), None
    for name, other in {
        "argument a list": {"argument": []},
        "argument a text": {"argument": "stat"},
        "argument null": {"argument": None},
        "argument a number": {"argument": 0},
        "argument true": {"argument": True},
    }.items():
        yield name, signed("stat", **{"argument": {}, **other}), VALIDATION
    for missing, kind in (("command", VALIDATION), ("argument", None)):
        short = request("stat", {})
        del short[missing]
        yield f"{missing} absent", [json.dumps(sign(short)).encode()], kind
    for name, value in {
        "3": 3, "0": 0, "-1": -1, "text": "2", "null": None, "list": [2], "true": True, "NaN": float("nan"), "2.5": 2.5,
    }.items():  # fmt: skip
        yield f"protocol {name}", signed("stat", {}, protocol=value), VALUE
    for name, part in {
        "empty": b"",
        "NUL": b"\0",
        "cut short": LOG[:-1],
        "not UTF-8": b'{"filename": "a", "data": "\xff"}',
        "deep": b"[" * 20_000,
        "key twice": b'{"data": "b", ' + LOG[1:],
        "surrogate": b'{"filename": "a", "data": "\\ud800"}',
        "beyond Latin-1": b'{"filename": "a", "data": "\\u0100"}',
        "many values": json.dumps({"filename": "a", "data": ["x"] * 50}).encode(),
    }.items():
        yield f"attachment {name}", new([], None, (part,)), VALUE
    for name, document in {
        "a list": [],
        "a text": "x",
        "null": None,
        "empty object": {},
        "without data": {"filename": "a"},
        "without name": {"data": "a"},
        "data null": {"filename": "a", "data": None},
        "data a list": {"filename": "a", "data": ["x"]},
        "data a number": {"filename": "a", "data": 5},
        "name null": {"filename": None, "data": "a"},
        "name a list": {"filename": ["a"], "data": "a"},
        "name very long": {"filename": "a" * 5000, "data": "a"},
        "unknown key": {"filename": "a", "data": "a", "mode": "0777"},
    }.items():
        yield f"attachment {name}", new([], None, (json.dumps(document).encode(),)), VALIDATION
    yield "attachment to a command without", signed("stat", {}, (LOG,)), VALUE
    yield "attachment named by a path", new([], None, (attachment(npy(), "../../etc/passwd"),)), None
    yield "attachment named with NUL", new([], None, (attachment(npy(), "a\0b"),)), None


def _commands() -> Rows:
    for alias in ("close queue", "abort queue", "send plot", "plotdata", "getmergestat", "stat", "get", "readdir"):
        yield f"{alias!r}", signed(alias, {}), None
    for name in (
        "", " ", "STAT", "Stat", "stat ", " stat", "stat\n", "stat\0", "close  queue", "shutdown", "__init__",
        "admit", "new\u200b", "\uff53tat", "ﬆat", "'; drop table", "../stat", "x" * 10_000, "*", "\u202etats",
    ):  # fmt: skip
        yield f"{name[:20]!r}", signed(name, {}), UNKNOWN
    for value in (None, True, 0, 1.5, [], ["stat"], {}, {"stat": 1}):
        yield f"{value!r}", signed(value, {}), VALIDATION
    for command in ("close", "abort", "get", "plot", "readdir", "stat", "fileslist", "getmergedata", "mergestat"):
        yield f"{command} with an argument", signed(command, {"force": True}), None
    for command in ("new", "new queue", "listdir", "mergedata"):
        yield f"{command} without argument", signed(command, {}), ERROR if command == "mergedata" else VALIDATION


def _paths() -> Rows:
    def directory(value: Any) -> list[bytes]:
        return signed("listdir", {"directory": value})

    for parts in (
        [], ["."], [""], ["", ""], ["user"], [".", "user"], ["user", ""], ["user", ".", "."], ["..."], ["~"], ["$HOME"],
        ["user\u0301"], ["us\u00e9r"], ["-rf"], [" "], ["\u2025"], ["\uff0e\uff0e"], ["%2e%2e"], ["CON"], [".hidden"],
    ):  # fmt: skip
        yield f"{parts!a}", directory(parts), None
    for parts in (
        [".."], ["..", ".."], ["user", ".."], ["user", "..", "..", "etc"], [".", ".."], ["..", "user1"], ["", "etc"],
        ["/"], ["/etc"], ["user/.."], ["user/../.."], ["../etc"], ["a/b"], ["user", "/etc/passwd"], ["//etc"],
        ["\\"], ["..\\.."], ["C:\\"], ["\\\\host\\share"], ["\0"], ["user\0"], ["a\nb"], ["a\rb"], ["\x1b[2J"],
        ["\x7f"], ["\x85"], ["\u2028"], ["\u2029"], ["a" * 256], ["\u6e2c" * 86], ["a"] * 65, ["a" * 250] * 17,
        ["", "", "etc"], ["", "home", "user"],
    ):  # fmt: skip
        yield f"{repr(parts)[:40]!a}", directory(parts), VALUE
    for value in (None, "user", "/etc", 0, True, {}, {"0": "user"}, [None], [0], [["user"]], [True], [{}], ["a", 1]):
        yield f"{value!r}", directory(value), VALIDATION
    yield "unknown key", signed("listdir", {"directory": [], "recursive": True}), None
    yield "path in place of directory", signed("listdir", {"path": []}), VALIDATION


def _calibrations() -> Rows:
    yield "unchanged", new([], None), None
    yield "alias", signed("new queue", {"calibration": CALIBRATION, "data": {}}, (MASK,)), None
    yield "without data", signed("new", {"calibration": CALIBRATION}, (MASK,)), None
    yield "other spelling", new(["Geometry", "ImageSize"], [60, 80]), VALIDATION
    yield "data not empty", signed("new", {"calibration": CALIBRATION, "data": {"x": 1}}, (MASK,)), None
    for name, value in {"null": None, "list": [], "text": "cal.json", "empty": {}, "number": 1}.items():
        yield f"is {name}", signed("new", {"calibration": value, "data": {}}, (MASK,)), VALIDATION
    entry = CALIBRATION["Masks"][0]
    for path, value, kind in [
        (["Wavelength"], Gone, VALIDATION),
        (["Wavelength"], float("nan"), VALIDATION),
        (["Wavelength"], float("inf"), VALIDATION),
        (["Wavelength"], -1.54, VALIDATION),
        (["Wavelength"], 1e300, VALIDATION),
        (["Wavelength"], "1.54", VALIDATION),
        (["Unknown"], 1, None),
        (["Geometry", "Unknown"], [{"deep": {}}], None),
        (["Masks", 0, "Unknown"], {"Phi-mode": 5}, None),
        (["Title"], 5, VALIDATION),
        (["Title"], "x" * 10_000, None),
        (["Geometry"], Gone, VALIDATION),
        (["Geometry"], [], VALIDATION),
        (["Geometry", "DedectorDistanceMM"], 0, VALIDATION),
        (["Geometry", "DedectorDistanceMM"], float("nan"), VALIDATION),
        (["Geometry", "BeamCenter"], [1], VALIDATION),
        (["Geometry", "BeamCenter"], [1e308, 1e308], VALIDATION),
        (["Geometry", "PixelSizeMicroM"], [0], VALIDATION),
        (["Geometry", "PixelSizeMicroM"], [], VALIDATION),
        (["Geometry", "Tilt"], {"TiltRotDeg": 0, "TiltAngleDeg": 90}, VALIDATION),
        (["Geometry", "Imagesize"], [0, 80], VALIDATION),
        (["Geometry", "Imagesize"], [-60, 80], VALIDATION),
        (["Geometry", "Imagesize"], [60.5, 80], VALIDATION),
        (["Geometry", "Imagesize"], [100_000, 100_000], VALIDATION),
        (["Geometry", "Imagesize"], [65_536, 65_536], VALUE),
        (["Geometry", "Imagesize"], [101, 100], VALUE),
        (["Geometry", "Imagesize"], [61, 80], VALUE),
        (["Geometry", "Imagesize"], [80, 60], VALUE),
        (["Masks"], None, VALIDATION),
        (["Masks"], {}, VALIDATION),
        (["Masks"], "x", VALIDATION),
        (["Masks"], [None], VALIDATION),
        (["Masks"], [entry] * 4, VALUE),
        (["Masks"], [entry] * 2, VALUE),
        (["Masks"], [], VALUE),
        (["Masks"], [{}], None),
        (["Masks", 0, "MaskFile"], 5, VALIDATION),
        (["Masks", 0, "MaskFile"], "../../etc/passwd", None),
        (["Masks", 0, "MaskFile"], "a\0b", None),
        (["Masks", 0, "MaskFile"], "a" * 5000, None),
        (["Masks", 0, "Oversampling"], 0, VALIDATION),
        (["Masks", 0, "Oversampling"], 9, VALUE),
        (["Masks", 0, "Oversampling"], 33, VALIDATION),
        (["Masks", 0, "Oversampling"], 10**200, VALIDATION),
        (["Masks", 0, "Oversampling"], 1.5, VALIDATION),
        (["Masks"], [{**entry, "Oversampling": 8}] * 3, VALUE),
        (["Masks", 0, "qStart"], 30.0, VALIDATION),
        (["Masks", 0, "qStop"], float("nan"), VALIDATION),
        (["Masks", 0, "qStop"], 0, None),
        (["Masks", 0, "qStop"], -1, VALIDATION),
        (["Masks", 0, "PixelPerRadialElement"], 0, VALIDATION),
        (["Masks", 0, "PixelPerRadialElement"], 1e-300, VALIDATION),
        (["Slices"], [{"CutPosition": 1}] * 4, VALUE),
        (["Slices"], {}, VALIDATION),
        (["Slices", 0, "CutPosition"], 61, VALIDATION),
        (["Slices", 0, "CutPosition"], 10**299, VALIDATION),
        (["Slices", 0, "CutMargin"], -1, VALIDATION),
        (["Slices", 0, "MaskRef"], 1, VALIDATION),
        (["Slices", 0, "MaskRef"], -2, VALIDATION),
        (["Slices", 0, "Direction"], "z", VALIDATION),
        (["Threads"], 9, VALUE),
        (["Threads"], 0, None),
        (["Threads"], -1, VALIDATION),
        (["Threads"], 10**100, VALIDATION),
        (["Directory"], ["..", "etc"], VALUE),
        (["Directory"], ["", "etc"], VALUE),
        (["Directory"], ["user/.."], VALUE),
        (["Directory"], ["a\0"], VALUE),
        (["Directory"], "user", VALIDATION),
        (["Directory"], [5], VALIDATION),
        (["Directory"], [], None),
        (["PolarizationCorrection"], {"Fraction": 2}, VALIDATION),
        (["PolarizationCorrection"], {"Fraction": float("nan")}, VALIDATION),
    ]:
        yield f"{path} {repr(value)[:30]}", new(path, value), kind
    yield (
        "hundreds of unknown keys",
        signed("new", {"calibration": {**CALIBRATION, **{f"Unknown{i}": 0 for i in range(800)}}}, (MASK,)),
        None,
    )


def _masks() -> Rows:
    large = (100_000, 100_000)
    sound: dict[str, bytes] = {
        "npy": npy(),
        "npy of booleans": npy(dtype="|b1"),
        "npy of floats": npy(dtype="<f4"),
        "fit2d": fit2d(60, 80, bytes(60 * 12)),
        "tiff": tiff((60, 80)),
        "tiff deflated": tiff((60, 80), compression="zlib"),
        "edf": edf(60, 80, bytes(4800)),
        "hdf5": hdf5(lambda file: file.create_dataset("mask", data=np.zeros((60, 80), "i1"))),
        "hdf5 deflated": hdf5(lambda file: file.create_dataset("m", data=np.zeros((60, 80), "i1"), compression=4)),
    }
    for name, content in sound.items():
        yield name, new([], None, (attachment(content),)), None
    for name, content in {
        "no content, and a name": b"",
        "one byte": b"\0",
        "text": b"this is no mask",
        "gzip": b"\x1f\x8b\x08\0" + bytes(50),
        "zip": b"PK\3\4" + bytes(50),
        "PNG": png(100_000, 100_000),
        "PNG of the right size": png(60, 80),
        "JPEG": b"\xff\xd8\xff\xe0" + bytes(50),
        "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "npy that is large": npy(large, content=b""),
        "npy that is very large": npy((2**40, 2**40), content=b""),
        "npy that is negative": npy((-1, 80), content=b""),
        "npy that is cut short": npy(content=bytes(4799)),
        "npy of objects": npy(dtype="|O", content=b"\x80\x04."),
        "npy of texts": npy(dtype="<U1000", content=bytes(80)),
        "npy of records": npy(content=b"").replace(b"'|u1'", b"[('a', '<i8', (9999, 9999))]"),
        "npy in one dimension": npy((4800,)),
        "npy in three dimensions": npy((60, 80, 1)),
        "npy of no version": b"\x93NUMPY\x09\0" + npy()[8:],
        "npy of code": npy().replace(b"{'descr'", b"__import__('os')"),
        "npy transposed": npy((80, 60)),
        "npy empty": npy((0, 80)),
        "fit2d that is large": fit2d(100_000, 100_000, b""),
        "fit2d that is negative": fit2d(-60, -80, bytes(60 * 12)),
        "fit2d cut short": fit2d(60, 80, bytes(60 * 12 - 1)),
        "fit2d head only": fit2d(60, 80, b"")[:20],
        "tiff that is large": claiming(tiff((60, 80)), 100_000, 100_000),
        "tiff cut short": tiff((60, 80))[:300],
        "tiff head only": b"II*\0",
        "tiff whose directory is itself": b"II*\0\x08\0\0\0" + b"\x01\0" + bytes(12) + b"\x08\0\0\0",
        "tiff in colours": tiff((60, 80, 3)),
        "tiff deflated that is large": tiff((3000, 3000), compression="zlib"),
        "edf that is large": edf(100_000, 100_000, b""),
        "edf cut short": edf(60, 80, bytes(4799)),
        "edf without end": b"{" * 20_000,
        "edf without numbers": b"{ Dim_1 = x; Dim_2 = y; DataType = UnsignedByte; }\n",
        "edf without anything": b"{}\n",
        "edf that reads another file": edf(60, 80, bytes(4800), b"EDF_BinaryFileName = /etc/passwd;"),
        "edf compressed": edf(60, 80, zlib.compress(bytes(4800)), b"Compression = GzipCompression;"),
        "hdf5 head only": b"\x89HDF\r\n\x1a\n",
        "hdf5 that is large": hdf5(lambda file: file.create_dataset("mask", shape=large, dtype="i8", chunks=(9, 9))),
        "hdf5 without a dataset": hdf5(lambda file: file.create_group("entry")),
        "hdf5 of two datasets": hdf5(two_datasets),
        "hdf5 of texts": hdf5(lambda file: file.create_dataset("m", data=np.full((60, 80), b"x"))),
        "hdf5 that reads another file": hdf5(
            lambda file: file.create_dataset("m", shape=(60, 80), dtype="u1", external=[("/etc/passwd", 0, 4800)])
        ),
        "hdf5 that links to another file": hdf5(
            lambda file: file.__setitem__("m", h5py.ExternalLink("/etc/passwd", "/m"))
        ),
        "hdf5 that is virtual": hdf5(virtual),
        "hdf5 in huge chunks": hdf5(
            lambda file: file.create_dataset(
                "m", shape=(60, 80), maxshape=(None, None), dtype="u1", chunks=(2**15, 2**15), compression=9
            )
        ),
    }.items():  # fmt: skip
        assert len(content) < 25_000, name
        yield name, new([], None, (attachment(content),)), VALUE
    linked = hdf5(lambda file: file.__setitem__("m", h5py.ExternalLink("/etc/passwd", "/m")))
    named = "mask.h5::/m"
    yield "hdf5 link by name", new(["Masks", 0, "MaskFile"], named, (attachment(linked),)), VALUE
    yield "hdf5 set by name", new(["Masks", 0, "MaskFile"], named, (attachment(hdf5(two_datasets)),)), None
    yield "hdf5 way out by name", new(["Masks", 0, "MaskFile"], "m::/../m", (attachment(sound["hdf5"]),)), VALUE
    yield "none attached", new([], None, ()), VALUE
    yield "two for one", new([], None, (MASK, MASK)), VALUE
    yield "one for an entry without", new(["Masks", 0, "MaskFile"], "", (MASK,)), None
    yield "none for an entry without", new(["Masks", 0, "MaskFile"], "", ()), None
    yield "an empty one for an entry without", new(["Masks", 0, "MaskFile"], "", (attachment(b""),)), None


def _merges() -> Rows:
    """Deployed windows take any error but this kind for a merge that has begun."""
    yield "unchanged", merge([], None), None
    yield "other spelling", merge(["OutputFileName"], "merged"), None
    yield "two names", merge(["OutputFileName"], "other"), ERROR
    file = ["LogDataTables", 0, "Files", 0]
    for path, value, kind in [
        (["LogDataTables"], Gone, ERROR),
        (["LogDataTables"], {}, ERROR),
        (["LogDataTables"], [None], ERROR),
        (["LogDataTables", 0, "TimeEpoch"], "mac", ERROR),
        (["LogDataTables", 0, "TimeOffset"], float("nan"), ERROR),
        (["LogDataTables", 0, "Unknown"], 1, None),
        (["LogDataTables", 0, "Files"], Gone, ERROR),
        (["LogDataTables", 0, "FirstImageCorrelation"], 1, ERROR),
        (["LogDataTables", 0, "ZeroImageCorrelation"], True, None),
        (["LogDataTables", 1, "ZeroImageCorrelation"], True, ERROR),
        (["LogDataTables", 1, "FirstImageCorrelation"], True, ERROR),
        (["LogDataTables", 1, "Name"], "Peak", ERROR),
        (["LogDataTables", 1, "Name"], "../Data", ERROR),
        (["LogDataTables", 0, "TimeZone"], "../UTC", ERROR),
        (["LogDataTables", 0, "Tolerance"], 0, ERROR),
        (["LogDataTables", 0, "Tolerance"], None, None),
        (["ImageTimeZone"], "Europe/Nowhere", ERROR),
        (["ZeroImageName"], "", ERROR),
        ([*file, "RemotePath"], [], ERROR),
        ([*file, "RemotePath"], Gone, ERROR),
        ([*file, "RemotePath"], ["."], ERROR),
        ([*file, "RemotePath"], "user/peak.log", ERROR),
        ([*file, "RemotePath"], ["..", "..", "etc", "passwd"], ERROR),
        ([*file, "RemotePath"], ["", "etc", "passwd"], ERROR),
        ([*file, "RemotePath"], ["user/../.."], ERROR),
        ([*file, "RemotePath"], ["a\0"], ERROR),
        ([*file], {"Path": "user/peak.log"}, None),
        ([*file], {"Path": "/etc/passwd"}, ERROR),
        ([*file], {"Path": "../peak.log"}, ERROR),
        ([*file], {"Path": 5}, ERROR),
        ([*file, "LocalPath"], "/other.log", ERROR),
        ([*file, "LocalPath"], 5, ERROR),
        ([*file, "LocalPath"], "", None),
        (["TimeOffset"], float("inf"), ERROR),
        (["TimeOffset"], "0", ERROR),
        (["OutputFormats"], {"xls": True}, None),
        (["OutputFormats"], {"exel": "yes"}, ERROR),
        (["OutputFormats"], [], ERROR),
        (["OutputFileBaseName"], "..", ERROR),
        (["OutputFileBaseName"], "../merged", ERROR),
        (["OutputFileBaseName"], "/tmp/merged", ERROR),
        (["OutputFileBaseName"], "", ERROR),
        (["OutputFileBaseName"], ".", ERROR),
        (["OutputFileBaseName"], "a\0b", ERROR),
        (["OutputFileBaseName"], "a" * 300, ERROR),
        (["OutputFileBaseName"], ["merged"], ERROR),
        (["OutputFileBaseName"], Gone, None),
        (["OutputFileBaseName"], ".//results//logs//", None),
        (["HDFOptions"], {"IncludeCHI": True}, None),
        (["HDFOptions"], {"IncludeCHI": 1}, ERROR),
        (["Unknown"], 1, None),
    ]:
        yield f"{path} {repr(value)[:30]}", merge(path, value), kind
    both = [{**MERGE["LogDataTables"][0], "FirstImageCorrelation": True, "ZeroImageCorrelation": True}]
    yield "first and zero image", merge(["LogDataTables"], both, ()), ERROR
    yield "none attached", merge([], None, ()), None
    yield "two attached", merge([], None, (LOG, LOG)), ERROR
    yield "not an object", signed("mergedata", {"mergeconf": []}, (LOG,)), ERROR


def _second() -> Rows:
    def parts(files: tuple[bytes, ...] = (), command: str = "stat", **other: Any) -> list[bytes]:
        whole = sign2(request(command, other.pop("argument", {})), list(files), **other)
        return [json.dumps(whole).encode(), *files]

    yield "good", parts(), None
    yield "good with attachments", parts((MASK,), "new", argument={"calibration": CALIBRATION}), None
    yield "written as a float", parts(protocol=2.0), None
    for name, other in {
        "nonce absent": {"nonce": None},
        "nonce empty": {"nonce": ""},
        "nonce short": {"nonce": "0" * 31},
        "nonce long": {"nonce": "0" * 65},
        "nonce upper case": {"nonce": "A" * 32},
        "nonce no digits": {"nonce": "g" * 32},
        "nonce with a line feed": {"nonce": "0" * 32 + "\n"},
        "nonce of other digits": {"nonce": "\u0660" * 32},
        "nonce a number": {"nonce": 5},
        "nonce a list": {"nonce": ["0" * 32]},
        "attachments null": {"attachments": None},
        "attachments a text": {"attachments": ""},
        "attachments an object": {"attachments": {}},
        "attachments one too many": {"attachments": ["0" * 64]},
        "time old": {"time": NOW - 901},
        "time new": {"time": NOW + 901},
        "time NaN": {"time": float("nan")},
        "time null": {"time": None},
    }.items():
        yield name, parts(**other), AUTHENTICATION
    for name, tampered in {
        "other attachment": [parts((LOG,))[0], MASK],
        "attachment gone": [parts((LOG,))[0]],
        "attachment twice": [parts((LOG,))[0], LOG, LOG],
        "attachments swapped": [parts((LOG, MASK))[0], MASK, LOG],
        "attachment spoilt": [parts((LOG,))[0], LOG.replace(b"1.0", b"2.0")],
        "signed as an answer": [_with_domain(b"saxs-bluesky leash 2 reply\0")],
        "signed without a domain": [_with_domain(b"")],
        "signed as of old": signed("stat", {}, protocol=2, nonce="0" * 32, attachments=[]),
        "other secret": [json.dumps(sign2(request("stat", {}), [], "x")).encode()],
        "sign absent": [json.dumps({k: v for k, v in sign2(request("stat", {}), []).items() if k != "sign"}).encode()],
        "protocol taken out": [
            json.dumps({k: v for k, v in sign2(request("stat", {}), []).items() if k != "protocol"}).encode()
        ],
    }.items():
        yield name, tampered, AUTHENTICATION
    yield "unknown key", parts(more=1), VALIDATION
    yield "unknown key in the argument", parts(argument={"more": 1}), VALIDATION
    yield (
        "unknown key in the calibration",
        parts((MASK,), "new", argument={"calibration": {**CALIBRATION, "Unknown": 1}}),
        VALIDATION,
    )
    yield "merge that is none", parts(command="mergedata", argument={"mergeconf": {}}), VALIDATION
    yield "unknown command", parts(command="shutdown"), UNKNOWN
    yield "way out", parts(command="listdir", argument={"directory": [".."]}), VALUE


def _with_domain(domain: bytes) -> bytes:
    whole = {**sign2(request("stat", {}), []), "sign": ""}
    text = domain + json.dumps(whole, sort_keys=True).encode()
    return json.dumps({**whole, "sign": hmac.new(SECRET.encode(), text, "sha256").hexdigest()}).encode()


def fit2d(rows: int, columns: int, content: bytes) -> bytes:
    head = b"M\0\0\0A\0\0\0S\0\0\0K\0\0\0" + struct.pack("<ii", columns, rows)
    return head.ljust(1024, b"\0") + content


def tiff(shape: tuple[int, ...], **options: Any) -> bytes:
    file = io.BytesIO()
    colours = {"photometric": "rgb"} if len(shape) == 3 else {"photometric": "minisblack"}
    tifffile.imwrite(file, np.zeros(shape, "u1"), metadata=None, **colours, **options)
    return file.getvalue()


def claiming(content: bytes, rows: int, columns: int) -> bytes:
    """The same TIFF with another size in its directory."""
    start = struct.unpack_from("<I", content, 4)[0]
    changed = bytearray(content)
    for i in range(struct.unpack_from("<H", content, start)[0]):
        place = start + 2 + 12 * i
        code = struct.unpack_from("<H", content, place)[0]
        if code in (256, 257):
            struct.pack_into("<HHII", changed, place, code, 4, 1, columns if code == 256 else rows)
    return bytes(changed)


def edf(rows: int, columns: int, content: bytes, more: bytes = b"") -> bytes:
    sizes = f"{{\nByteOrder = LowByteFirst ;\nDim_1 = {columns} ;\nDim_2 = {rows} ;\nDataType = UnsignedByte ;\n"
    return sizes.encode() + more + b"\n}\n" + content


def png(rows: int, columns: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def hdf5(fill: Callable[[h5py.File], object]) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as inside:
        fill(inside)
    return file.getvalue()


def two_datasets(file: h5py.File) -> None:
    file["m"] = np.zeros((60, 80), "i1")
    file["n"] = np.zeros((60, 80), "i1")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(60, 80), dtype="u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "m", shape=(60, 80))
    file.create_virtual_dataset("m", layout)
