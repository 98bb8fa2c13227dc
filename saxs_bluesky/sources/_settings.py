"""Settings of a source: built once, read by all that look for files."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path


@dataclass(frozen=True)
class SourceSettings:
    """Where images come from, and how they are found.

    Parameters
    ----------
    directory
        Folder of the images. Documents tell it to people on other computers: make it absolute.
    watch
        Watch the folder for new and overwritten images.
    feeder
        Addresses of feeders that announce images, ``host:port``.
    base
        What relative paths in announcements are relative to; None: ``directory``.
    existing
        Take the images that are in the folder at the start.
    recursive
        Take the images in subfolders too.
    use_inotify
        Use file system events to find new files; without them, and on network file systems, folders are listed.
    poll
        Time between two listings of a watched folder where there are no file system events, in seconds.
    follow_links
        Follow symbolic links that lead out of the folder.
    list_all_first
        List all images before the first is handed out, rather than some hundred at a time.
    deadline
        An image that is not whole and has not changed for so long has failed, in seconds.
    """

    directory: Path
    _: KW_ONLY
    watch: bool = False
    feeder: tuple[str, ...] = ()
    base: Path | None = None
    existing: bool = True
    recursive: bool = True
    use_inotify: bool = True
    poll: float = 0.1
    follow_links: bool = False
    list_all_first: bool = True
    deadline: float = 10.0

    @property
    def kind(self) -> str:
        """What the source is called in the start document: ``folder``, ``watch`` or ``feeder``."""
        return "feeder" if self.feeder else "watch" if self.watch else "folder"

    @property
    def goes_on(self) -> bool:
        """True if images may come until the source is stopped."""
        return self.kind != "folder"
