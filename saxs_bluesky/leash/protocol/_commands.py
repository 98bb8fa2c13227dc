"""The commands of the SAXSdog network: one table for server, client and command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any

from saxs_bluesky.schemas import load_schema


class Command(StrEnum):
    """Commands; the values are their names in requests."""

    CLOSE = "close"
    """Take no more images, finish those that wait."""
    ABORT = "abort"
    """Take no more images, leave those that wait."""
    NEW = "new"
    """Open a queue in place of the one there is."""
    GET = "get"
    """Return calibration and masks of the queue."""
    PLOT = "plot"
    """Return the latest curves, and the integral parameters of all images."""
    READDIR = "readdir"
    """Reduce all images in the queue's folder again."""
    STAT = "stat"
    """Return how many images wait and how many are done."""
    LISTDIR = "listdir"
    """Return what a folder on the server holds."""
    FILESLIST = "fileslist"
    """Return the paths of the files that the queue has written."""
    MERGEDATA = "mergedata"
    """Join the curves with the logs of the beamline; not part of this version."""
    GETMERGEDATA = "getmergedata"
    """Return the result of the join; not part of this version."""
    MERGESTAT = "mergestat"
    """Return the messages of the join; empty in this version."""


class Attached(Enum):
    """Attachments that a command needs."""

    NONE = "none"
    MASKS = "one for each mask of the calibration"
    LOGS = "one for each file with a LocalPath"


@dataclass(frozen=True)
class CommandSpec:
    """Argument, attachments and answer of a command.

    Parameters
    ----------
    command
        The command.
    result
        ``result`` of the answer if all went well.
    data
        Keys that ``data`` of that answer may have.
    argument
        Name of the argument's schema in ``$defs`` of the schema of requests.
    attached
        Attachments that the command needs.
    aliases
        Other names of the command.
    otherwise
        Further values of ``result`` that are no errors: there is no queue, or no curve yet.
    """

    command: Command
    result: str
    data: frozenset[str]
    argument: str = "nothing"
    attached: Attached = Attached.NONE
    aliases: tuple[str, ...] = ()
    otherwise: tuple[str, ...] = ()

    @property
    def argument_schema(self) -> dict[str, Any]:
        """JSON schema of the argument."""
        schema: dict[str, Any] = load_schema("leash-request")["$defs"][self.argument]
        return schema


_SPECS = (
    CommandSpec(
        Command.NEW, "new queue", frozenset({"cal"}), argument="new", attached=Attached.MASKS, aliases=("new queue",)
    ),
    CommandSpec(Command.CLOSE, "queue closed", frozenset({"stat"}), aliases=("close queue",), otherwise=("no queue",)),
    CommandSpec(Command.ABORT, "queue aborted", frozenset({"stat"}), aliases=("abort queue",), otherwise=("no queue",)),
    CommandSpec(Command.READDIR, "queue restarted with all files", frozenset({"stat"}), otherwise=("no queue",)),
    CommandSpec(Command.STAT, "stat", frozenset({"stat"})),
    CommandSpec(Command.GET, "cal", frozenset({"cal", "attachments"}), otherwise=("no queue",)),
    CommandSpec(
        Command.PLOT,
        "plot",
        frozenset({"filename", "graphs", "stat", "history", "IntegralParameters"}),
        aliases=("plotdata", "send plot"),
        otherwise=("Empty", "no queue"),
    ),
    CommandSpec(Command.LISTDIR, "listdir", frozenset({"dircontent", "directory"}), argument="listdir"),
    CommandSpec(Command.FILESLIST, "resultfileslists", frozenset({"fileslist"}), otherwise=("no queue",)),
    CommandSpec(Command.MERGEDATA, "merge started", frozenset(), argument="mergedata", attached=Attached.LOGS),
    CommandSpec(Command.MERGESTAT, "stat", frozenset({"mergeinfo"}), aliases=("getmergestat",)),
    CommandSpec(Command.GETMERGEDATA, "mergedata", frozenset({"syncplot", "fileslist"})),
)

COMMANDS: Mapping[Command, CommandSpec] = MappingProxyType({spec.command: spec for spec in _SPECS})
"""Argument, attachments and answer of each command."""

_BY_NAME = {name: spec.command for spec in _SPECS for name in (spec.command.value, *spec.aliases)}


def command_of(name: str) -> Command | None:
    """Command of a name or alias; None if there is none."""
    return _BY_NAME.get(name)
