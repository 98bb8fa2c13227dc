"""``saxsnetconf``: write the file that names the servers of the SAXSdog network and holds their secrets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from saxs_bluesky.cli._command import Exit, make_parser, print_error, print_result, print_status, run
from saxs_bluesky.errors import SaxsError
from saxs_bluesky.leash import (
    FEEDER_PORT,
    NETWORK_FILE,
    SERVER_PORT,
    Network,
    make_keys,
    new_entry,
    read_network,
    write_network,
)
from saxs_bluesky.support.addresses import tcp_address

_HOST = "127.0.0.1"
_NONE = "none"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(build_parser(), _saxsnetconf, arguments)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's arguments; the reference is generated from it."""
    parser = make_parser(
        "saxsnetconf",
        "Add a server to the network file, with a random secret, or change the server that has the same address,\n"
        "which keeps its secret and its number. Asks for values that no option gives. Server, feeder and clients\n"
        "need the same secret: copy the file, which only you can read, to their computers.",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "examples:\n"
        "  saxsnetconf                                       ask for all values\n"
        "  saxsnetconf -n -y                                 write a new file with a server on this computer\n"
        "  saxsnetconf --server saxs1:9723 --name SAXS1 -y   add a server\n"
        "  saxsnetconf --client-keys keys/anna               make keys for a client of a server that encrypts\n"
        "\n"
        "exit codes:\n"
        "  0  written\n"
        "  2  wrong usage, or the file cannot be written; it is not changed"
    )
    option = parser.add_argument
    option("-n", "--new", action="store_true", help="replace the file with a new one, with a new secret")
    option("--server", metavar="URL", help=f"address of the server; default: tcp://{_HOST}:{SERVER_PORT}")
    option(
        "--feeder", metavar="URL", help=f"address of the feeder, {_NONE} for none; default: tcp://{_HOST}:{FEEDER_PORT}"
    )
    option("--name", metavar="TEXT", help="name of the server, for people; default: none")
    option("--network", type=Path, default=NETWORK_FILE, metavar="FILE", help=f"network file; default: {NETWORK_FILE}")
    option(
        "--client-keys",
        type=Path,
        metavar="NAME",
        help="write only the keys NAME.key and NAME.key_secret, for saxsleash --curve",
    )
    option("-y", "--yes", action="store_true", help="do not ask, use the defaults")
    option("--show-secret", action="store_true", help="print the server's secret")
    return parser


def _saxsnetconf(options: argparse.Namespace) -> int:
    if options.client_keys is not None:
        public, secret = make_keys(options.client_keys.absolute().parent, options.client_keys.name)
        print_status(f"{public}: copy it to the server, into the clients folder of its keys")
        print_status(f"{secret}: for the client alone; keep it secret")
        return Exit.DONE
    path = options.network.expanduser()
    there = read_network(path) if path.exists() and not options.new else Network((), exposed=False, where=str(path))
    server = _value(options.server, options, "Server", f"tcp://{_HOST}:{SERVER_PORT}", tcp_address)
    old = next((entry for entry in there.entries if _address(entry.server) == server), None)
    feeder = _value(
        options.feeder, options, "Feeder", old.feeder or _NONE if old else f"tcp://{_HOST}:{FEEDER_PORT}", _feeder
    )
    name = _value(options.name, options, "Name", old.name or _NONE if old else _NONE, _name)
    entry = replace(old or new_entry(), server=server, feeder=feeder, name=name)
    entries = [entry if each is old else each for each in there.entries] + ([] if old else [entry])
    write_network(entries, path)
    if there.exposed:
        print_error(
            f"saxsnetconf: {path}: other users could read or change this file, which holds secrets; now only you can. "
            "saxsnetconf -n makes a new secret"
        )
    what = "is in the file already and keeps its secret" if old else "added, with a new secret"
    print_status(f"{path}: server {entries.index(entry)} ({server}) {what}")
    if options.show_secret:
        print_result(entry.secret)
    return Exit.DONE


def _value(given: str | None, options: argparse.Namespace, what: str, default: str, check: Callable[[str], str]) -> str:
    """Value of an option, or the user's answer."""
    if given is not None:
        return check(given)
    if options.yes:
        return check(default)
    if not sys.stdin.isatty():
        raise SaxsError(f"--{what.lower()}: wanted it, or -y for the default {default}, found no terminal to ask on")
    while True:
        try:
            return check(input(f"{what} [{default}]: ").strip() or default)
        except SaxsError as error:
            print_error(f"saxsnetconf: {error}")
        except UnicodeDecodeError:
            print_error("saxsnetconf: wanted text, found other bytes")
        except EOFError:
            raise SaxsError("wanted an answer, found the end of input: nothing is written") from None


def _address(text: str) -> str:
    """An address of the file in today's form, if it is valid."""
    try:
        return tcp_address(text)
    except SaxsError:
        return text


def _feeder(text: str) -> str:
    return "" if text in ("", _NONE) else tcp_address(text)


def _name(text: str) -> str:
    if not text.isprintable():
        raise SaxsError(f"wanted a name without control characters, found {text!r}")
    return "" if text == _NONE else text


if __name__ == "__main__":
    sys.exit(main())
