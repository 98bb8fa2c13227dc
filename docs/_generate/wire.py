"""Commands of the SAXSdog network: what each wants and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from docs._generate.faces import member_docstrings, public_names
from saxs_bluesky.leash import COMMANDS, Command


@dataclass(frozen=True)
class WireCommand:
    """One command of the protocol.

    Parameters
    ----------
    name
        As it travels.
    meaning
        What it does; empty where nobody wrote it down.
    aliases
        Other names that are understood.
    argument
        Which of the ``$defs`` of the schema of requests its argument fits.
    attachments
        Which attachments belong to the request.
    result
        ``result`` of the answer when all went well.
    otherwise
        Results that are no error: there is nothing to tell.
    data
        Keys of ``data`` in the answer.
    """

    name: str
    meaning: str
    aliases: tuple[str, ...]
    argument: str
    attachments: str
    result: str
    otherwise: tuple[str, ...]
    data: tuple[str, ...]


def wire_commands() -> tuple[WireCommand, ...]:
    """All commands, in the order in which a queue is opened, looked at and closed."""
    (members,) = (member_docstrings(name) for name in public_names("saxs_bluesky.leash") if name.name == "Command")
    return tuple(_wire_command(command, members[command.name]) for command in COMMANDS)


def _wire_command(command: Command, meaning: str) -> WireCommand:
    spec = COMMANDS[command]
    return WireCommand(
        command.value,
        meaning,
        tuple(spec.aliases),
        spec.argument,
        spec.attached.value,
        spec.result,
        tuple(spec.otherwise),
        tuple(sorted(spec.data)),
    )
