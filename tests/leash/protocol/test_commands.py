"""Names, results and data of commands are those that deployed programs know."""

from __future__ import annotations

import pytest

from saxs_bluesky.leash import COMMANDS, Attached, Command, command_of
from saxs_bluesky.schemas import load_schema

QUEUE_STATE = {"stat"}
# Command: argument, result, data.
DEPLOYED: dict[str, tuple[set[str], str, set[str]]] = {
    "new": ({"calibration", "data"}, "new queue", {"cal"}),
    "close": (set(), "queue closed", QUEUE_STATE),
    "abort": (set(), "queue aborted", QUEUE_STATE),
    "readdir": (set(), "queue restarted with all files", QUEUE_STATE),
    "stat": (set(), "stat", QUEUE_STATE),
    "get": (set(), "cal", {"cal", "attachments"}),
    "plot": (set(), "plot", {"filename", "graphs", "stat", "history", "IntegralParameters"}),
    "listdir": ({"directory"}, "listdir", {"dircontent", "directory"}),
    "fileslist": (set(), "resultfileslists", {"fileslist"}),
    "mergedata": ({"mergeconf"}, "merge started", set()),
    "mergestat": (set(), "stat", {"mergeinfo"}),
    "getmergedata": (set(), "mergedata", {"syncplot", "fileslist"}),
}


def test_there_are_no_others() -> None:
    assert {command.value for command in COMMANDS} == {*Command} == {*DEPLOYED}


@pytest.mark.parametrize("name", DEPLOYED)
def test_command_is_as_deployed(name: str) -> None:
    argument, result, data = DEPLOYED[name]
    spec = COMMANDS[Command(name)]
    assert (spec.result, spec.data) == (result, data)
    assert set(spec.argument_schema["properties"]) == argument
    assert spec.data <= set(load_schema("leash-response")["properties"]["data"]["properties"])


def test_attachments() -> None:
    wanted = {spec.command: spec.attached for spec in COMMANDS.values() if spec.attached is not Attached.NONE}
    assert wanted == {Command.NEW: Attached.MASKS, Command.MERGEDATA: Attached.LOGS}


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("close queue", "close"), ("abort queue", "abort"), ("new queue", "new"), ("send plot", "plot"),
        ("plotdata", "plot"), ("getmergestat", "mergestat"), *((name, name) for name in DEPLOYED),
    ],
)  # fmt: skip
def test_aliases(alias: str, name: str) -> None:
    assert command_of(alias) == name


@pytest.mark.parametrize("name", ["", "Close", "close ", "shutdown", "queue"])
def test_anything_else_is_no_command(name: str) -> None:
    assert command_of(name) is None


def test_plot_and_get_may_have_nothing_to_tell() -> None:
    assert COMMANDS[Command.PLOT].otherwise == ("Empty", "no queue")
    assert COMMANDS[Command.GET].otherwise == ("no queue",)
