"""``saxsdogserver``: reduce images for clients on the network."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from saxs_bluesky.cli._command import Exit, make_parser, print_error, run
from saxs_bluesky.cli._daemon import Background, go_to_background
from saxs_bluesky.cli._options import add_shared, in_range
from saxs_bluesky.cli._output import flush
from saxs_bluesky.errors import SaxsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(build_parser(), _saxsdogserver, arguments)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's arguments; the reference is generated from it."""
    parser = make_parser(
        "saxsdogserver",
        "Integrate images to curves for clients on the network: saxsleash, leash, and the clients of SAXSdog. A client "
        "opens a queue with a calibration and names a folder below BASEDIR; the server reduces the images in it, and "
        "those that come. Ports and secrets are in the network file, ~/.saxsdognetwork, which saxsnetconf writes: each "
        "entry of this computer is served. SIGINT or SIGTERM: finish the images at work, then end. Started again, also "
        "after a crash, it continues with the queue that was open. "
        "Exit code 0: stopped; 1: a server ended by itself, or the catalog lacks documents; 2: wrong usage.",
    )
    parser.add_argument("basedir", type=Path, help="base directory: clients see and reduce only what is below it")
    option = parser.add_argument
    option("-p", "--port", type=_port, metavar="N", help="port to listen at; default: the one in the network file")
    option("-N", "--serverno", type=int, metavar="N", help="serve only this entry of the network file, from 0")
    add_shared(parser, "threads", note="; default: one less than there are cores")
    add_shared(parser, "feeder", note=": tcp://HOST:PORT; default: the Feeder of the network file, unless -w is given")
    add_shared(parser, "watch", "relpath", "out")
    option("-d", "--daemon", action="store_true", help="run in the background; its log and pid file: see --state")
    add_shared(parser, "catalog", "bind")
    option(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="folder that keeps the queue and what is done, over a restart; default: in the user's folder for state",
    )
    add_shared(parser, "network")
    option(
        "--no-legacy",
        action="store_true",
        help="refuse requests of SAXSdog's own clients: their signature does not cover masks and log files",
    )
    option(
        "--curve",
        type=Path,
        metavar="FOLDER",
        help="encrypt with CURVE: folder of the server's keys (made if missing); FOLDER/clients holds those of clients",
    )
    add_shared(parser, "task_timeout", "poll_only")
    return parser


def _port(text: str) -> int:
    number = int(text)
    return in_range(number, text, "a port from 1 to 65535", fits=0 < number < 65536)


def _saxsdogserver(options: argparse.Namespace) -> int:
    if not options.basedir.is_dir():
        raise SaxsError(f"{options.basedir}: no such base directory")
    if not options.daemon:
        return _serve(options, lambda: None)
    background, failure = go_to_background(state_folder(options), "saxsdogserver")
    if background is None:
        if failure:
            print_error(failure)
        return Exit.WRONG_USAGE if failure else Exit.DONE
    # This process was forked by another, whose end of it must not be lived through twice.
    os._exit(_in_background(options, background))


def _in_background(options: argparse.Namespace, background: Background) -> int:
    code: int = Exit.WRONG_USAGE
    try:
        code = _serve(options, background.ready)
    except SaxsError as error:
        background.failed(f"saxsdogserver: {error}")
        print_error(f"saxsdogserver: {error}")
    except BaseException as error:  # noqa: BLE001 - there is nobody else to tell
        background.failed(f"saxsdogserver: {type(error).__name__}: {error}")
        print_error(f"saxsdogserver: ended by {type(error).__name__}: {error}")
    finally:
        background.end()
        flush()
    return code


def _serve(options: argparse.Namespace, ready: Callable[[], None]) -> int:
    # Loaded late: slow, and with threads of their own, which do not live through a fork.
    from saxs_bluesky.cli._server_session import serve

    return serve(options, state_folder(options), ready)


def state_folder(options: argparse.Namespace) -> Path:
    """Folder for what survives a restart: one for each base directory."""
    import hashlib

    import platformdirs

    if options.state is not None:
        return Path(options.state).absolute()
    base = Path(os.path.realpath(options.basedir))
    digest = hashlib.sha256(str(base).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return platformdirs.user_state_path("saxs-bluesky") / "saxsdogserver" / f"{base.name}-{digest}"


if __name__ == "__main__":
    sys.exit(main())
