"""Texts that do nothing to a terminal."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from saxs_bluesky.errors import one_line, printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain.tif", "plain.tif"),
        ("\u8a66\u6599\u3000A \u00b5m\u00a0\u2006.tif", "\u8a66\u6599\u3000A \u00b5m\u00a0\u2006.tif"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\nb\tc\r", r"a\x0ab\x09c\x0d"),
        ("\x9b2J", r"\x9b2J"),
        ("caf\udce9.tif", r"caf\udce9.tif"),
        ("\u202efit.exe", r"\u202efit.exe"),
        ("a\u2028b", r"a\u2028b"),
    ],
)
def test_what_acts_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_nothing_that_acts_is_left_of_any_character() -> None:
    for code in range(sys.maxunicode + 1):
        sign = chr(code)
        shown = printable(sign)
        acts = unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(sign) in (
            *("LRE", "RLE", "LRO", "RLO", "PDF"),
            *("LRI", "RLI", "FSI", "PDI"),
        )
        assert (shown == sign) is not acts or code in (0x61C, 0x200E, 0x200F)
        shown.encode()
        assert len(shown.splitlines()) == 1


def test_lines_stay_lines() -> None:
    assert printable_lines("one\ntwo\x1b[K\n") == "one\ntwo\\x1b[K\n"


def test_text_of_an_error_is_one_line() -> None:
    assert one_line(ValueError("bad\n  header\tat byte 3")) == "bad header at byte 3"
    assert one_line(ValueError("bad header"), 3) == "bad"
    assert one_line(KeyError()) == "KeyError"
