"""What a document is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Document: TypeAlias = Mapping[str, Any]
"""The content of a document, as one that only reads it sees it; descriptors' data keys are such mappings too."""

NamedDocument: TypeAlias = tuple[str, dict[str, Any]]
"""A document as it is emitted: its name, such as ``event``, and its content."""
