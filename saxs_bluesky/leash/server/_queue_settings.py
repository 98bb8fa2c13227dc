"""What all queues of a server have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saxs_bluesky.file_pipeline import SourceSettings
from saxs_bluesky.frame_job import OutputNames


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """What all queues of a server have in common.

    Parameters
    ----------
    source
        How images are found; each queue has a directory of its own, below this one, the server's base directory.
    names
        Where curves are written.
    metadata
        Entries for the start documents.
    """

    source: SourceSettings
    names: OutputNames
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def base(self) -> Path:
        """The server's base directory."""
        return self.source.directory
