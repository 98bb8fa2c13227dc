"""``saxsleash``: send a command to a server of the SAXSdog network, and print the answer."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from saxs_bluesky.cli._command import Exit, make_parser, print_error, print_result, run
from saxs_bluesky.cli._options import add_scales, add_shared, seconds
from saxs_bluesky.errors import SaxsError
from saxs_bluesky.leash import (
    NETWORK_FILE,
    CallError,
    Command,
    EncryptionKeys,
    LeashClient,
    NetworkEntry,
    Response,
    command_of,
    read_network,
)

_log = logging.getLogger(__name__)

_PRINTED = "plotdata"
_COMMANDS = """\
commands:
  new CALIBRATION [[MASK] DIRECTORY]
                      open a queue in place of the present one. MASK replaces the mask of all entries of Masks,
                      DIRECTORY (user/2014) the folder of the images below the server's base directory; without
                      them, those in CALIBRATION are used
  close               take no more images, and finish those that wait
  abort               take no more images, and drop those that wait
  readdir             reduce all images in the queue's folder again
  stat                show the state of the queue
  get                 show calibration and masks of the queue
  plot                show the latest curves in a window until it is closed or Ctrl-C; with -o, draw them into a file
  plotdata            print the data of plot
  listdir [PATH]      list a folder on the server
  fileslist           list the files that the queue has written
  mergedata MERGECONF merge the curves with the log files of the beamline
  mergestat           show new messages of the merge; also called getmergestat
  getmergedata        show the result of the merge

exit codes:
  0    done, also if the answer is that there is no queue
  1    the server answered an error, or did not answer
  2    wrong usage, a file that cannot be read, no display
  130  interrupted
"""
_MOST_ARGUMENTS = {Command.NEW: 3, Command.LISTDIR: 1, Command.MERGEDATA: 1}
_LEAST_ARGUMENTS = {Command.NEW: 1, Command.MERGEDATA: 1}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = build_parser()
    # Options may be mixed with the arguments of a command.
    parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
    return run(parser, lambda options: _saxsleash(parser, options), arguments)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's arguments; the reference is generated from it."""
    parser = make_parser(
        "saxsleash",
        "Send a command to a server of the SAXSdog network, and print its answer as JSON. Servers and secrets are in\n"
        f"the network file, {NETWORK_FILE}, which saxsnetconf makes.",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "%(prog)s [options] command [arguments]"
    parser.epilog = _COMMANDS
    parser.add_argument("words", nargs="+", metavar="command [arguments]", help="see below")
    option = parser.add_argument
    option("-S", "--server", metavar="URL", help="address of the server, instead of the one in the network file")
    option(
        "-N",
        "--serverno",
        type=int,
        default=0,
        metavar="N",
        help="number of the server in the network file; default: 0, the first",
    )
    option("--network", type=Path, default=NETWORK_FILE, metavar="FILE", help=f"network file; default: {NETWORK_FILE}")
    option("--timeout", type=seconds, default=100.0, metavar="S", help="seconds to wait for the answer; default: 100")
    option("--table", action="store_true", help="print a table instead of JSON; with plot, the integral parameters")
    option(
        "--protocol",
        type=int,
        choices=(1, 2),
        default=1,
        help="2 also signs masks and answers, but deployed servers know only 1; default: 1",
    )
    option(
        "--curve",
        nargs=2,
        type=Path,
        metavar=("SERVER.key", "OWN.key_secret"),
        help="encrypt the connection (CURVE) with these keys",
    )
    plot = parser.add_argument_group("plot")
    plot.add_argument("-o", "--out", type=Path, metavar="FILE", help="draw into this file; .png, .svg, .pdf and others")
    add_shared(plot, "skip", "clip")
    add_scales(plot)
    parser.set_defaults(xaxisistype="linear", yaxisistype="linear")
    return parser


def _saxsleash(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    name, command, arguments = _command(parser, options.words)
    draws = command is Command.PLOT and name != _PRINTED and not options.table
    if options.out and not draws:
        parser.error("-o/--out: wanted with plot and without --table")
    try:
        if draws:
            return _plot(options)
        with _client(options) as client:
            response = _ask(client, command, arguments)
            folder = _folder(client, command, response) if command is Command.NEW or options.table else ""
    except CallError as error:
        if options.debug:
            raise
        if not options.table and not draws:
            _print_failure(error)
        print_error(f"{parser.prog}: {error}")
        return Exit.SOME_FAILED
    if options.table:
        for line in _table(response, folder):
            print_result(_printable(line))
    else:
        _print_json(response)
    return Exit.DONE


def _command(parser: argparse.ArgumentParser, words: Sequence[str]) -> tuple[str, Command, list[str]]:
    """Name, command and arguments; a name may have two words, such as ``close queue``."""
    for length in (2, 1):
        name = " ".join(words[:length])
        command = command_of(name)
        if command is not None:
            break
    else:
        wanted = ", ".join(_named(known) for known in (*Command, _PRINTED))
        parser.error(f"wanted a command ({wanted}), found {words[0]}")
    arguments = list(words[length:]) if len(words) >= length else []
    least, most = _LEAST_ARGUMENTS.get(command, 0), _MOST_ARGUMENTS.get(command, 0)
    if not least <= len(arguments) <= most:
        wanted = f"{least} to {most}" if least < most else str(most)
        parser.error(f"arguments of {name}: wanted {wanted}, found {len(arguments)}")
    return name, command, arguments


def _named(command: str) -> str:
    """Name of a command in deployed programs."""
    return "mergestat or getmergestat" if command == Command.MERGESTAT else command


def _client(options: argparse.Namespace) -> LeashClient:
    network = read_network(options.network)
    entry: NetworkEntry = network.choose(options.serverno)
    if network.exposed:
        print_error(
            f"saxsleash: {network.where}: other users can read or change this file, which holds secrets; "
            "run chmod 600 on it"
        )
    if options.server:
        entry = replace(entry, server=options.server)
    encryption = EncryptionKeys(*options.curve) if options.curve else None
    return LeashClient(entry, timeout=options.timeout, protocol=options.protocol, encryption=encryption)


def _ask(client: LeashClient, command: Command, arguments: list[str]) -> Response:
    match command:
        case Command.NEW:
            return _new(client, *arguments)
        case Command.LISTDIR:
            return client.listdir(*arguments)
        case Command.MERGEDATA:
            return client.mergedata(*arguments)
        case _:
            return client.request(command)


def _folder(client: LeashClient, command: Command, response: Response) -> str:
    """Folder of the queue for ``stat --table``; after ``new``, a warning if there is no such folder yet.

    An error here does not fail the command.
    """
    try:
        if command is Command.STAT and response.data.get("stat"):
            return _directory(client.get())
        if command is Command.NEW:
            path = _directory(response)
            if path and not _is_there(client, path):
                print_error(f"saxsleash: no such folder yet: {_printable(path)} (the queue waits for it)")
    except SaxsError as error:
        _log.debug("the folder of the queue is not known: %s", error)
    return ""


def _directory(response: Response) -> str:
    """Folder of the calibration in an answer, below the server's base directory; empty without one."""
    parts = response.data.get("cal", {}).get("Directory")
    if not (isinstance(parts, list) and all(isinstance(part, str) for part in parts)):
        return ""
    return "/".join(part for part in parts if part not in ("", ".")) or "."


def _is_there(client: LeashClient, path: str) -> bool:
    """True if there is a folder, by the lists of those above it: all servers answer these alike."""
    parts = [] if path == "." else path.split("/")
    for depth, name in enumerate(parts):
        content = client.listdir(parts[:depth]).data.get("dircontent", [])
        is_whole = not any(entry["path"].startswith("... and ") for entry in content[-1:])
        if is_whole and not any(entry["isdir"] and entry["path"] == name for entry in content):
            return False
    return True


def _new(client: LeashClient, calibration: str, *others: str) -> Response:
    *mask, directory = others or (None,)
    if directory is not None and Path(directory).is_file():
        raise SaxsError(
            f"{directory}: wanted a folder on the server, found a file here; a mask stands before the folder: "
            "new CALIBRATION MASK DIRECTORY"
        )
    return client.new(calibration, mask[0] if mask else None, directory)


def _plot(options: argparse.Namespace) -> int:
    # Only here, since it takes a second.
    from saxs_bluesky.cli._leash_plot import PlotWindow, Style, new_figure
    from saxs_bluesky.cli._service import stop_signals
    from saxs_bluesky.plotting import save_figure

    style = Style(options.skip, options.clip, options.xaxisistype, options.yaxisistype)
    with _client(options) as client:
        if options.out:
            response = client.plot()
            if not response.data.get("graphs"):
                raise CallError(response.result, f"{client.address}: wanted curves to draw, found {response.result}")
            print_result(f"{save_figure(new_figure(response.data, style), options.out)}: written")
            return Exit.DONE
        window = PlotWindow(style)
        try:
            with stop_signals("saxsleash") as stop:
                window.follow(client, lambda: stop.asked)
        finally:
            window.close()
    return Exit.DONE


def _print_json(response: Response) -> None:
    print_result(json.dumps({"result": response.result, "data": response.data}, indent=2))


def _print_failure(error: CallError) -> None:
    """Print for scripts the server's answer, or that there was none in time."""
    if error.response is not None:
        _print_json(error.response)
    elif error.result == "Timeout":
        _print_json(Response(error.result, {"Error": str(error)}))


def _table(response: Response, folder: str = "") -> Iterator[str]:
    data = response.data
    if "dircontent" in data:
        yield from (f"{entry['path']}{'/' if entry['isdir'] else ''}" for entry in data["dircontent"])
    elif "IntegralParameters" in data:
        yield from _columns(_integrals(data["IntegralParameters"]))
    elif "fileslist" in data:
        yield from _columns((kind, path) for kind, paths in data["fileslist"].items() for path in paths)
    elif data.get("stat"):
        rows = [(name, _time(value) if "time" in name else value) for name, value in data["stat"].items()]
        yield from _columns([*rows, ("folder", folder)] if folder else rows)
    elif "mergeinfo" in data:
        yield from data["mergeinfo"].splitlines()
    elif response.result == "cal":
        yield from json.dumps(data["cal"], indent=2).splitlines()
    else:
        yield "no queue" if response.result == "stat" else response.result


def _integrals(parameters: Mapping[str, Mapping[str, Any]]) -> Iterator[Sequence[Any]]:
    names = ("time", "file", "I0", "I1", "I2")
    yield ("curve", *names)
    for curve, columns in parameters.items():
        lists = [columns[name] if isinstance(columns.get(name), list) else [] for name in names]
        for time, *others in zip(*lists, strict=False):
            yield curve, _time(time), *others


def _columns(rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    texts = [[f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _time(value: Any) -> str:
    """A time in seconds since 1970, as local time for people."""
    try:
        return datetime.fromtimestamp(value, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (TypeError, ValueError, OverflowError, OSError):
        return str(value)


def _printable(line: str) -> str:
    """A line without what acts on a terminal, or what that cannot show."""
    text = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


if __name__ == "__main__":
    sys.exit(main())
