"""Paths that clients name: none leads out of the base directory."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from saxs_bluesky.leash import LeashError, checked_parts, confined, is_within, listing


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "base"
    (base / "user1" / "deep").mkdir(parents=True)
    (base / "user10").mkdir()
    (base / "user1" / "frame.tif").write_text("x")
    (base / "user1" / ".hidden").write_text("x")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("x")
    (tmp_path / "base2").mkdir()
    return base


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ([], ""), (["."], ""), ([""], ""), (["user1"], "user1"), ([".", "user1", ""], "user1"),
        (("user1", "deep"), "user1/deep"), (["not", "there", "yet"], "not/there/yet"), (["..."], "..."), (["~"], "~"),
        (["..a"], "..a"), (["user1."], "user1."), (["%2e%2e"], "%2e%2e"), (["\u2025"], "\u2025"),
        (["\uff0e\uff0e"], "\uff0e\uff0e"), (["\u2215etc"], "\u2215etc"), (["\u2044etc"], "\u2044etc"),
    ],
)  # fmt: skip
def test_names_lead_down(base: Path, parts: list[str], wanted: str) -> None:
    assert confined(base, parts) == base / wanted


@pytest.mark.parametrize(
    "parts",
    [
        [".."], ["..", "base"], ["user1", ".."], ["user1", "..", "user10"], ["..", "base2"], ["", "etc"],
        ["", "", "etc"],
        ["/"], ["/etc"], ["user1/../.."], ["user1/deep"], ["a\\b"], ["..\\.."], ["C:\\"], ["\0"], ["user1\0"], ["a\nb"],
        ["\x1b[2J"], ["\x7f"], ["\x9b"], ["\u2028"], ["\ud800"], ["a" * 256], ["\u6e2c" * 86], ["a"] * 65,
        ["a" * 255] * 16, None, "user1", b"user1", 5, {"user1": 0}, [None], [5], [b"user1"], [["user1"]],
        [Path("user1")],
    ],
)  # fmt: skip
def test_anything_else_is_refused(base: Path, parts: Any) -> None:
    for look in (confined, listing):
        with pytest.raises(LeashError) as caught:
            look(base, parts)
        assert str(base) not in str(caught.value)
    with pytest.raises(LeashError):
        checked_parts(parts)


@pytest.mark.parametrize("target", ["..", "../secret", "../secret/key", "/", "/etc/passwd", "../base2", "../not/there"])
@pytest.mark.parametrize("further", [[], ["key"], ["not", "there"]])
def test_link_that_leads_out_is_refused(base: Path, target: str, further: list[str]) -> None:
    (base / "link").symlink_to(target)
    (base / "user1" / "again").symlink_to("../link")
    for parts in (["link", *further], ["user1", "again", *further]):
        with pytest.raises(LeashError, match="found a link out of it") as caught:
            confined(base, parts)
        assert caught.value.kind == "OSError"
        assert str(base) not in str(caught.value)


def test_link_that_stays_inside_is_followed(base: Path) -> None:
    (base / "link").symlink_to("user1")
    (base / "whole").symlink_to(base / "user1" / "deep")
    (base / "user1" / "up").symlink_to("..")
    (base / "roundabout").symlink_to("../base/user10")
    assert confined(base, ["link", "frame.tif"]) == base / "user1" / "frame.tif"
    assert confined(base, ["whole"]) == base / "user1" / "deep"
    assert confined(base, ["user1", "up", "user10"]) == base / "user10"
    assert confined(base, ["roundabout"]) == base / "user10"


def test_link_in_a_circle_does_no_harm(base: Path) -> None:
    (base / "a").symlink_to("b")
    (base / "b").symlink_to("a")
    assert confined(base, ["a"]).is_relative_to(base)
    with pytest.raises(LeashError, match="wanted a folder"):
        listing(base, ["a"])
    assert [entry["path"] for entry in listing(base, [])][:2] == ["user1", "user10"]


def test_base_may_be_a_link(base: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to("base")
    assert confined(tmp_path / "data", ["user1"]) == base / "user1"


def test_base_may_be_the_root() -> None:
    assert confined("/", ["usr"]).is_relative_to("/")


def test_names_are_taken_as_they_are_written(base: Path) -> None:
    composed = unicodedata.normalize("NFC", "Mu\u0308ller")
    decomposed = unicodedata.normalize("NFD", composed)
    (base / composed).mkdir()
    assert confined(base, [composed]).is_dir()
    assert confined(base, [decomposed]).name == decomposed
    assert not is_within(base / composed, base / decomposed / "frame.tif")


def test_one_name_that_begins_like_another_is_another(base: Path) -> None:
    assert is_within(base / "user1", base / "user1" / "frame.tif")
    assert is_within(base / "user1", base / "user1")
    assert not is_within(base / "user1", base / "user10")
    assert not is_within(base / "user1", base / "user10" / "frame.tif")
    assert not is_within(base / "user1", base / "user1" / ".." / "user10")
    assert not is_within(base, base.parent / "base2")
    assert not is_within(base, "a\0b")
    (base / "user10" / "link").symlink_to("../user1")
    assert is_within(base / "user1", base / "user10" / "link" / "frame.tif")


def test_listing_has_folders_first_and_hidden_files(base: Path) -> None:
    assert listing(base, ["user1"]) == [
        {"isdir": True, "path": "deep"},
        {"isdir": False, "path": ".hidden"},
        {"isdir": False, "path": "frame.tif"},
    ]


def test_listing_leaves_out_links_that_lead_out(base: Path) -> None:
    (base / "out").symlink_to("../secret")
    (base / "etc").symlink_to("/etc")
    (base / "gone").symlink_to("nowhere")
    (base / "inside").symlink_to("user1")
    assert listing(base, []) == [
        {"isdir": True, "path": "inside"},
        {"isdir": True, "path": "user1"},
        {"isdir": True, "path": "user10"},
        {"isdir": False, "path": "gone"},
    ]


def test_listing_leaves_out_names_that_are_no_text(base: Path) -> None:
    try:
        (Path(os.fsdecode(os.fsencode(base) + b"/user1/\xff.tif"))).write_text("x")
    except OSError:
        pytest.skip("this file system has no such names")
    assert "frame.tif" in [entry["path"] for entry in listing(base, ["user1"])]
    assert len(listing(base, ["user1"])) == 3


def test_listing_of_very_many_says_how_many_more(base: Path) -> None:
    for i in range(20):
        (base / "user10" / f"{i:02}").write_text("")
    (base / "user10" / "z").mkdir()
    found = listing(base, ["user10"], 5)
    assert [entry["path"] for entry in found] == ["z", "00", "01", "02", "03", "... and 16 more"]
    assert len(listing(base, ["user10"], 21)) == 21


@pytest.mark.parametrize("parts", [["nowhere"], ["user1", "frame.tif"]])
def test_listing_of_no_folder_is_an_error(base: Path, parts: list[str]) -> None:
    with pytest.raises(LeashError, match=f"^{'/'.join(parts)}: wanted a folder, found") as caught:
        listing(base, parts)
    assert caught.value.kind == "OSError"
    assert str(base) not in str(caught.value)
