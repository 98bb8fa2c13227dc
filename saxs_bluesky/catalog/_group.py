"""A catalog's folder that a group of users may write to."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from saxs_bluesky.errors import CatalogError

# acl(5): owner and group may do everything, others read; as in linux/posix_acl_xattr.h.
_VERSION, _NOBODY = 2, 0xFFFFFFFF
_OWNER, _GROUP, _OTHERS = 0x01, 0x04, 0x20
_ACL = struct.pack("<I", _VERSION) + b"".join(
    struct.pack("<HHI", who, what, _NOBODY) for who, what in ((_OWNER, 7), (_GROUP, 7), (_OTHERS, 5))
)
_FOLDER_BITS, _FILE_BITS = 0o2070, 0o060  # with the group of the folder above for what is made in it


def share_with_group(folder: Path) -> None:
    """Let the folder's group read and write all that is in it, and all that will be.

    New files get their rights from the folder's default access list, whoever makes them and whatever umask they have.

    Raises
    ------
    CatalogError
        The rights of something cannot be changed, or the file system has no access lists.
    """
    for path in _all(folder):
        bits = _FOLDER_BITS if path.is_dir() else _FILE_BITS
        try:
            mode = path.stat().st_mode
            if mode & bits != bits:
                path.chmod((mode | bits) & 0o7777)
            if path.is_dir() and not _has_list(path):
                os.setxattr(path, "system.posix_acl_default", _ACL)
        except FileNotFoundError:
            continue  # a file of a database that is in use
        except OSError as error:
            raise CatalogError(
                f"{path}: the group cannot be let in ({error.strerror}). Its owner can do so, on a file system with "
                "access lists (acl); elsewhere open the catalog without group=True and set umask 002"
            ) from error


def _all(folder: Path) -> Iterator[Path]:
    """What may need other rights; folders after what is in them.

    So once the arrays' folder has its list, all in it was given its rights, or gets them when it is made.
    """
    if _has_list(folder / "arrays"):
        yield from (path for path in folder.iterdir() if not path.is_dir())
    else:
        for parent, folders, files in os.walk(folder, topdown=False):
            for name in (*folders, *files):
                yield Path(parent, name)
    yield folder


def _has_list(path: Path) -> bool:
    try:
        return os.getxattr(path, "system.posix_acl_default") == _ACL
    except OSError:
        return False
