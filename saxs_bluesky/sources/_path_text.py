"""Paths as text of documents and lists."""

from __future__ import annotations

import re

# Bytes that are not UTF-8, and characters that end lines or act on a terminal.
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def is_text(path: str) -> bool:
    """True if documents and lists can hold a path: UTF-8 without control characters."""
    return path.isprintable() or not _NO_TEXT.search(path)
