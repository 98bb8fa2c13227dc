"""Commands of the SAXSdog network: what each wants and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from saxs_bluesky.leash import COMMANDS, Command


@dataclass(frozen=True)
class WireCommand:
    """One command of the protocol.

    Parameters
    ----------
    name
        As it travels.
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
    aliases: tuple[str, ...]
    argument: str
    attachments: str
    result: str
    otherwise: tuple[str, ...]
    data: tuple[str, ...]


def wire_commands() -> tuple[WireCommand, ...]:
    """All commands, in the order in which a queue is opened, looked at and closed."""
    return tuple(_wire_command(command) for command in COMMANDS)


def _wire_command(command: Command) -> WireCommand:
    spec = COMMANDS[command]
    return WireCommand(
        command.value,
        tuple(spec.aliases),
        spec.argument,
        spec.attached.value,
        spec.result,
        tuple(spec.otherwise),
        tuple(sorted(spec.data)),
    )
