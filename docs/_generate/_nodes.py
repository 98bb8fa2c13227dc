"""Tables, texts and sections as nodes of docutils, so that nothing needs to be escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from docutils import nodes


def text(words: str) -> list[nodes.Node]:
    """A text in which backticks mark what is typed."""
    parts = re.split(r"`([^`]+)`", words)
    return [nodes.literal("", part) if at % 2 else nodes.Text(part) for at, part in enumerate(parts) if part]


def code(words: str) -> list[nodes.Node]:
    """What is typed; nothing where it is empty."""
    return [nodes.literal("", words)] if words else []


def paragraph(content: Iterable[nodes.Node]) -> nodes.paragraph:
    """A paragraph."""
    return nodes.paragraph("", "", *content)


def block(words: str, language: str = "text") -> nodes.literal_block:
    """Lines as they are."""
    lines = nodes.literal_block(words, words)
    lines["language"] = language
    return lines


def section(title: str, identifier: str, *content: nodes.Node) -> nodes.section:
    """A section with an anchor."""
    made = nodes.section("", nodes.title("", "", *text(title)), *content, ids=[identifier])
    made["names"] = [identifier]
    return made


def table(header: Sequence[str], rows: Iterable[Sequence[list[nodes.Node]]], widths: Sequence[int]) -> nodes.table:
    """A table; columns in which nothing stands are left out."""
    filled = list(rows)
    used = [column for column in range(len(header)) if any(row[column] for row in filled)]
    group = nodes.tgroup("", cols=len(used))
    group += [nodes.colspec("", colwidth=widths[column]) for column in used]
    group += nodes.thead("", _row([[nodes.Text(header[column])] for column in used]))
    group += nodes.tbody("", *(_row([row[column] for column in used]) for row in filled))
    return nodes.table("", group, classes=["reference-table"], align="left")


def _row(cells: Iterable[list[nodes.Node]]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", paragraph(cell) if cell else nodes.paragraph()) for cell in cells))


def identifier(*words: str) -> str:
    """An anchor made of words."""
    return str(nodes.make_id("-".join(words)))
