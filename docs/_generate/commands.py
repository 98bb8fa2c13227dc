"""Commands and their options, from the parsers that the commands themselves use."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Option:
    """An option or argument of a command.

    Parameters
    ----------
    names
        Its spellings, with what stands behind them: ``-c FILE, --calibration FILE``.
    help
        What it does; empty where nobody wrote it down.
    group
        Heading that it stands under; empty for the common ones.
    """

    names: str
    help: str
    group: str = ""


@dataclass(frozen=True)
class CommandPage:
    """What is to tell of a command or of one of its subcommands.

    Parameters
    ----------
    name
        As typed, such as ``saxs-bluesky simulate``.
    usage
        How it is called, in lines.
    description
        What the command does.
    options
        Arguments first, then options.
    epilog
        Text behind the options, already laid out; may be empty.
    subcommands
        Pages of the subcommands.
    """

    name: str
    usage: str
    description: str
    options: tuple[Option, ...]
    epilog: str
    subcommands: tuple[CommandPage, ...]

    def walk(self) -> Iterator[CommandPage]:
        """Yield the command and all subcommands."""
        yield self
        for subcommand in self.subcommands:
            yield from subcommand.walk()


def scripts() -> dict[str, str]:
    """Module of each command that the package installs."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        entries: dict[str, str] = tomllib.load(file)["project"]["scripts"]
    return {name: target.partition(":")[0] for name, target in entries.items()}


def command_page(name: str) -> CommandPage:
    """What is to tell of an installed command."""
    parser: argparse.ArgumentParser = import_module(scripts()[name]).build_parser()
    return _page(parser, parser.description or "")


def _page(parser: argparse.ArgumentParser, description: str) -> CommandPage:
    options: list[Option] = []
    subcommands: list[CommandPage] = []
    for group in parser._action_groups:  # noqa: SLF001 - argparse has no public way to its own content
        title = "" if group.title in {"positional arguments", "options"} else str(group.title)
        for action in group._group_actions:  # noqa: SLF001
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
                texts = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
                subcommands += [_page(each, texts.get(key, "")) for key, each in action.choices.items()]
            elif action.help != argparse.SUPPRESS:
                options.append(Option(_names(parser, action), _help(parser, action), title))
    usage = _usage(parser)
    return CommandPage(parser.prog, usage, description, tuple(options), parser.epilog or "", tuple(subcommands))


def _usage(parser: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(parser.prog, width=100)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, prefix="")  # noqa: SLF001
    return formatter.format_help().strip()


def _names(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = argparse.HelpFormatter(parser.prog)
    return formatter._format_action_invocation(action)  # noqa: SLF001


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    if not action.help:
        return ""
    formatter = argparse.HelpFormatter(parser.prog)
    return formatter._expand_help(action).replace(str(Path.home()), "~")  # noqa: SLF001
