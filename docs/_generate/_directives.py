"""Directives of the reference: each puts what a generator found into the page where it stands."""

from __future__ import annotations

from collections.abc import Sequence

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from docs._generate._nodes import block, code, identifier, paragraph, section, table, text
from docs._generate.commands import CommandPage, Option, command_page
from docs._generate.documents import RUNS, document_keys, parts
from docs._generate.faces import PublicName, module_docstring, public_names
from docs._generate.schema_fields import Field, schema_fields
from docs._generate.wire import wire_commands

PARTS = {
    "start": ("Start document", "Keys of the start document, beside the user's own metadata."),
    "provenance": ("Provenance", "Keys of `provenance` in the start document."),
    "configuration": ("Configuration", "Data keys in the descriptor's configuration: the same for all events."),
    "event": ("Events", "Data keys of the events."),
    "stop": ("Stop document", "Keys of the stop document."),
}


class CommandDirective(SphinxDirective):
    """``command``: usage and options of a command and its subcommands."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the nodes."""
        page = command_page(self.arguments[0])
        made = _command(page)
        for subcommand in list(page.walk())[1:]:
            name = subcommand.name
            made.append(section(f"`{name}`", identifier(name), *_command(subcommand)))
        return made


def _command(page: CommandPage) -> list[nodes.Node]:
    lines = page.description.strip()
    made: list[nodes.Node] = [paragraph(text(_sentence(lines)))] if lines else []
    made.append(block(page.usage, "console"))
    groups = dict.fromkeys(option.group for option in page.options)
    for group in groups:
        if group:
            made.append(paragraph([nodes.strong("", f"Options of {group}")]))
        made.append(_options([option for option in page.options if option.group == group]))
    if page.epilog:
        made.append(block(page.epilog.strip(), "text"))
    return made


def _sentence(words: str) -> str:
    words = " ".join(words.split())
    return f"{words[0].upper()}{words[1:]}" + ("" if words.endswith((".", ":")) else ".")


def _options(options: Sequence[Option]) -> nodes.table:
    rows = [[code(option.names), text(option.help)] for option in options]
    return table(["option", "meaning"], rows, [30, 70])


class SchemaDirective(SphinxDirective):
    """``schema NAME [DEFINITION]``: the fields of a schema."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the nodes."""
        fields = schema_fields(*self.arguments)
        if not fields:
            return [paragraph(text("Nothing: an empty object."))]
        return [_fields(fields)]


def _fields(fields: Sequence[Field]) -> nodes.table:
    rows = [
        [
            code(field.path),
            text(f"{field.type}, required" if field.required else field.type),
            text(field.unit),
            code(field.default),
            text(field.allowed),
            text(field.description),
        ]
        for field in fields
    ]
    return table(["field", "type", "unit", "default", "allowed", "meaning"], rows, [20, 13, 8, 12, 12, 35])


class DocumentDirective(SphinxDirective):
    """``document-keys RUN``: keys of the documents of a run, part by part."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Make the nodes."""
        (run,) = self.arguments
        if run not in RUNS:
            raise self.error(f"wanted one of {', '.join(RUNS)}, found {run}")
        return [self._part(run, part) for part in parts(run)]

    @staticmethod
    def _part(run: str, part: str) -> nodes.section:
        title, says = PARTS[part]
        rows = [
            [code(key.name), text(key.type), text(key.unit), code(key.dims), code(key.source), text(key.description)]
            for key in document_keys(run, part)
        ]
        made = table(["key", "type", "unit", "dims", "source", "meaning"], rows, [18, 8, 12, 12, 15, 35])
        return section(title, identifier(run, part), paragraph(text(says)), made)


class WireDirective(SphinxDirective):
    """``wire-commands``: the commands of the SAXSdog network."""

    def run(self) -> list[nodes.Node]:
        """Make the nodes."""
        commands = wire_commands()
        requests = [
            [
                code(command.name),
                _codes(command.aliases),
                text(command.meaning),
                text("" if command.argument == "nothing" else f"`{command.argument}`"),
                text("" if command.attachments == "none" else command.attachments),
            ]
            for command in commands
        ]
        answers = [
            [code(command.name), code(command.result), _codes(command.otherwise), _codes(command.data)]
            for command in commands
        ]
        return [
            table(["command", "other names", "meaning", "argument", "attachments"], requests, [15, 17, 36, 12, 20]),
            paragraph(text("What `result` and `data` of the answer hold:")),
            table(["command", "result", "where there is nothing to tell", "keys of data"], answers, [15, 30, 20, 35]),
        ]


def _codes(words: Sequence[str]) -> list[nodes.Node]:
    return text(", ".join(f"`{word}`" for word in words))


class FaceDirective(SphinxDirective):
    """``face MODULE``: what a module exports, from its docstrings."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the nodes."""
        (face,) = self.arguments
        lines = [f".. py:module:: {face}", "", module_docstring(face), "", *_summary(face)]
        for name in public_names(face):
            if name.owner == face:
                lines += _face_entry(name)
        return self.parse_text_to_nodes("\n".join(("````{eval-rst}", *lines, "````")))


def _summary(face: str) -> list[str]:
    lines = [".. list-table::", "   :widths: 30 70", "   :class: reference-table", ""]
    for name in public_names(face):
        role = {"function": "func", "data": "data", "class": "class", "exception": "exc"}[name.kind]
        lines += [f"   * - :py:{role}:`~{name.owner}.{name.name}`", f"     - {name.summary}"]
    return [*lines, ""]


def _face_entry(name: PublicName) -> list[str]:
    if name.kind == "data":
        lines = [f".. py:data:: {name.name}"]
        if len(name.value) < 80:
            lines.append(f"   :value: {name.value}")
        if name.home != name.face:
            lines.append(f"   :canonical: {name.home}.{name.name}")
        return [*lines, "", *(f"   {line}" for line in name.docstring.splitlines()), ""]
    lines = [f".. auto{name.kind}:: {name.face}.{name.name}"]
    if name.kind == "class":
        lines += ["   :members:"]
    if name.kind == "exception":
        lines += ["   :show-inheritance:"]
    return [*lines, ""]
