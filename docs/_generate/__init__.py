"""Generators of the reference: commands, schemas, documents, messages and classes, from the source itself.

The modules without an underscore need no Sphinx: the tests compare what they find with the pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of the directives."""
    from docs._generate._directives import (
        CommandDirective,
        DocumentDirective,
        FaceDirective,
        SchemaDirective,
        WireDirective,
    )
    from docs._generate._docstrings import prepare_docstring

    app.add_directive("command", CommandDirective)
    app.add_directive("schema", SchemaDirective)
    app.add_directive("document-keys", DocumentDirective)
    app.add_directive("wire-commands", WireDirective)
    app.add_directive("face", FaceDirective)
    app.connect("autodoc-process-docstring", prepare_docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
