"""``saxsdogserver``: reduce images for clients on the network."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from saxs_bluesky.cli._command import Exit, complain, make_parser, positive, run, task_timeout
from saxs_bluesky.cli._daemon import Background, go_to_background
from saxs_bluesky.cli._output import flush
from saxs_bluesky.errors import SaxsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(build_parser(), _saxsdogserver, arguments)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's arguments; the reference is generated from it."""
    parser = make_parser(
        "saxsdogserver",
        "Integrate images to curves for clients on the network: saxsleash, leash, and those of SAXSdog. A client "
        "opens a queue with a calibration and names a folder below BASEDIR; its images become curves, those that are "
        "there and those that come. Secrets and ports are those of ~/.saxsdognetwork, which saxsnetconf makes: there "
        "is one server for each entry of this computer, and all of them work below BASEDIR. SIGINT and SIGTERM let it "
        "finish what is in hand. Started again, also after a crash, it goes on with the queue that was open. "
        "Exit code 0: stopped; 2: wrong usage.",
    )
    parser.add_argument("basedir", type=Path, help="base directory: clients see and reduce nothing outside of it")
    option = parser.add_argument
    option("-p", "--port", type=_port, metavar="N", help="in place of the one in the network file")
    option("-N", "--serverno", type=int, metavar="N", help="serve this entry of the network file alone, from 0")
    option(
        "-t",
        "--threads",
        type=positive,
        metavar="N",
        help="processes that reduce images; default: one less than there are cores",
    )
    option(
        "-f",
        "--feeder",
        metavar="URL",
        help="go on with images that a feeder announces: tcp://HOST:PORT; default: without -w, the Feeder of the "
        "network file",
    )
    option("-w", "--watch", action="store_true", help="go on with images that are found in the queue's folder")
    option(
        "-R",
        "--relpath",
        "--reldpath",
        default="../work",
        metavar="RELPATH",
        help="folder of the curves, relative to that of each image; default: ../work",
    )
    option("-o", "--out", type=Path, metavar="OUTDIR", help="one folder for all curves, named after the whole path")
    option("-d", "--daemon", action="store_true", help="go to the background; log and number are in the state folder")
    option("--catalog", metavar="WHERE", help="record the runs in a catalog: a folder, or the URI of a Tiled server")
    option(
        "--bind",
        default="127.0.0.1",
        metavar="HOST",
        help="interface, * for all; default: only this computer's clients",
    )
    option(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="where the queue and what is done are remembered; default: in the user's folder for state",
    )
    option("--network", type=Path, metavar="FILE", help="network file; default: ~/.saxsdognetwork")
    option(
        "--no-legacy",
        action="store_true",
        help="refuse the requests of SAXSdog's own clients, whose signature leaves masks and logs out",
    )
    option(
        "--curve",
        type=Path,
        metavar="FOLDER",
        help="encrypt: keys of the server (made where there are none) and, in FOLDER/clients, of those it lets in",
    )
    task_timeout(parser)
    option("--poll-only", action="store_true", help="find images by listing folders alone, as on network filesystems")
    return parser


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError(f"wanted a port from 1 to 65535, found {text}")
    return number


def _saxsdogserver(options: argparse.Namespace) -> int:
    if not options.basedir.is_dir():
        raise SaxsError(f"{options.basedir}: wanted a base directory, found no folder")
    if not options.daemon:
        return _serve(options, lambda: None)
    background, failure = go_to_background(state_folder(options), "saxsdogserver")
    if background is None:
        if failure:
            complain(failure)
        return Exit.WRONG_USAGE if failure else Exit.DONE
    # This process was forked by another, whose end of it must not be lived through twice.
    os._exit(_in_background(options, background))


def _in_background(options: argparse.Namespace, background: Background) -> int:
    code: int = Exit.WRONG_USAGE
    try:
        code = _serve(options, background.ready)
    except SaxsError as error:
        background.failed(f"saxsdogserver: {error}")
        complain(f"saxsdogserver: {error}")
    except BaseException as error:  # noqa: BLE001 - there is nobody else to tell
        background.failed(f"saxsdogserver: {type(error).__name__}: {error}")
        complain(f"saxsdogserver: ended by {type(error).__name__}: {error}")
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
