"""NumPy-style docstrings as fields of reStructuredText."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Any

from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import NumpyDocstring

_CONFIG: Any = Config(napoleon_google_docstring=False, napoleon_use_rtype=False, napoleon_use_ivar=True)
# Sections whose text is a description alone, since types stand in the signature. Napoleon would take it for a type.
_DESCRIBED = {"Returns": ":returns:", "Yields": ":yields:"}


def prepare_docstring(app: Any, what: Any, name: str, subject: object, options: Any, lines: list[str]) -> None:
    """Rewrite the lines of a docstring in place; what Sphinx calls for ``autodoc-process-docstring``."""
    rest, fields = _split(lines)
    made = NumpyDocstring(rest, _CONFIG, app, what, name, subject, options).lines()
    if fields:
        at = next((number for number, line in enumerate(made) if line.startswith(":raises")), None)
        made[at or len(made) : at or len(made)] = fields if at else ["", *fields, ""]
    lines[:] = made


def _split(lines: list[str]) -> tuple[list[str], list[str]]:
    """The lines without the sections of `_DESCRIBED`, and those as fields."""
    rest: list[str] = []
    fields: list[str] = []
    at = 0
    while at < len(lines):
        field = _DESCRIBED.get(lines[at].strip())
        if field is None or at + 1 == len(lines) or not re.fullmatch(r"-{3,}", lines[at + 1].strip()):
            rest.append(lines[at])
            at += 1
            continue
        body = list(takewhile(str.strip, lines[at + 2 :]))
        at += 2 + len(body)
        fields.append(f"{field} {' '.join(line.strip() for line in body)}")
    return rest, fields
