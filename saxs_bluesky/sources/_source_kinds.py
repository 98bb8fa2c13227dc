"""Sources by their kinds: a folder, a folder that is watched, a feeder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from saxs_bluesky.sources._feeder_listener import FeederListener
from saxs_bluesky.sources._finders import Finder, FolderListing, FolderWatch
from saxs_bluesky.sources._raw_run_composer import describe_session
from saxs_bluesky.sources._readiness import Readiness
from saxs_bluesky.sources._settings import SourceSettings
from saxs_bluesky.sources._source import FileSource
from saxs_bluesky.support.former_names import former_argument


class DirectorySource(FileSource):
    """The images in a folder and its subfolders, in the order of their names.

    Parameters
    ----------
    directory
        The folder.
    recursive
        Take the images in subfolders too.
    follow_links
        Follow symbolic links that lead out of the folder.
    metadata
        For the start document, beside what this source says itself.
    readiness, skip
        As for `FileSource`.
    """

    @former_argument("below", "recursive")
    def __init__(
        self,
        directory: str | Path,
        *,
        recursive: bool = True,
        follow_links: bool = False,
        metadata: Mapping[str, Any] | None = None,
        readiness: Readiness | None = None,
        skip: Callable[..., bool] | None = None,
    ) -> None:
        settings = SourceSettings(Path(directory), recursive=recursive, follow_links=follow_links)
        described = describe_session(settings.kind, directory) | dict(metadata or {})
        super().__init__([FolderListing(settings)], described, readiness=readiness, skip=skip)


class WatchSource(FileSource):
    """The images in a folder and its subfolders, and those that come, until it is stopped.

    Parameters
    ----------
    directory
        The folder.
    recursive
        Take the images in subfolders too.
    existing
        Take the images that are in the folder at the start.
    use_inotify
        Use file system events to find new files; without them, and on network file systems, folders are listed.
    poll
        Time between two listings where there are no file system events, in seconds.
    follow_links
        Follow symbolic links that lead out of the folder.
    metadata
        For the start document, beside what this source says itself.
    readiness, skip
        As for `FileSource`.
    """

    @former_argument("hints", "use_inotify")
    @former_argument("below", "recursive")
    def __init__(
        self,
        directory: str | Path,
        *,
        recursive: bool = True,
        existing: bool = True,
        use_inotify: bool = True,
        poll: float = 0.1,
        follow_links: bool = False,
        metadata: Mapping[str, Any] | None = None,
        readiness: Readiness | None = None,
        skip: Callable[..., bool] | None = None,
    ) -> None:
        settings = SourceSettings(
            Path(directory),
            watch=True,
            recursive=recursive,
            existing=existing,
            use_inotify=use_inotify,
            poll=poll,
            follow_links=follow_links,
        )
        described = describe_session(settings.kind, directory) | dict(metadata or {})
        super().__init__([FolderWatch(settings)], described, readiness=readiness, skip=skip)


class FeederSource(FileSource):
    """The images that a feeder announces, until it is stopped.

    Parameters
    ----------
    address
        Of the feeder, ``host:port``, or of several.
    directory
        The folder whose images count, those in folders below it included.
    base
        What relative paths are relative to; default: the folder itself.
    follow_links
        Whether to take files that symbolic links lead to out of the folder.
    metadata
        For the start document, beside what this source says itself.
    readiness, skip
        As for `FileSource`.

    Raises
    ------
    SaxsError
        An address is none.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        directory: str | Path,
        *,
        base: str | Path | None = None,
        follow_links: bool = False,
        metadata: Mapping[str, Any] | None = None,
        readiness: Readiness | None = None,
        skip: Callable[..., bool] | None = None,
    ) -> None:
        settings = SourceSettings(
            Path(directory),
            feeder=(address,) if isinstance(address, str) else tuple(address),
            base=None if base is None else Path(base),
            follow_links=follow_links,
        )
        self.listener = FeederListener(settings)
        described = describe_session(settings.kind, directory) | {"feeder": ", ".join(self.listener.addresses)}
        super().__init__([self.listener], described | dict(metadata or {}), readiness=readiness, skip=skip)


def file_source(
    settings: SourceSettings, title: str, metadata: Mapping[str, Any], skip: Callable[..., bool] | None
) -> FileSource:
    """Make a source as settings say.

    Parameters
    ----------
    settings
        Where images come from.
    title
        Of the calibration, for the start document.
    metadata
        For the start document.
    skip
        As for `FileSource`.

    Returns
    -------
    The source.
    """
    finders: list[Finder] = []
    if settings.watch:
        finders.append(FolderWatch(settings))
    elif settings.existing:
        finders.append(FolderListing(settings))
    if settings.feeder:
        finders.append(FeederListener(settings))
    described = describe_session(settings.kind, settings.directory, title) | dict(metadata)
    return FileSource(finders, described, readiness=Readiness(deadline=settings.deadline), skip=skip)
