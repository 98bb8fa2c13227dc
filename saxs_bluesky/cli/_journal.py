"""``saxs-bluesky journal``: list, retry and export runs that wait for a catalog or were set aside."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saxs_bluesky.cli._command import Exit, print_error, print_status
from saxs_bluesky.cli._options import seconds
from saxs_bluesky.errors import OutputError, printable

if TYPE_CHECKING:
    from saxs_bluesky.callbacks.catalog_writer import Kept

_PATIENCE = 600.0  # seconds


def add_journal(commands: Any) -> None:
    """Add the command to those of ``saxs-bluesky``."""
    journal = commands.add_parser(
        "journal",
        help="list, retry or export runs that wait for a catalog or were set aside",
        description="Work on the folder of a journal, in which documents wait for a catalog; its folder rejected holds "
        "what the catalog did not take. Exit code 0: done; 1: something waits or is set aside still; 2: wrong usage.",
    )
    parts = journal.add_subparsers(required=True, metavar="command")
    listing = parts.add_parser("list", help="show what waits and what is set aside, with the reasons")
    listing.set_defaults(command=_list)
    again = parts.add_parser("retry", help="put everything into a catalog again, also where it has a part of a run")
    again.set_defaults(command=_retry)
    again.add_argument("--catalog", required=True, metavar="WHERE", help="a folder, or the URI of a Tiled server")
    again.add_argument(
        "--timeout",
        type=seconds,
        default=_PATIENCE,
        metavar="S",
        help=f"for how long to wait for the catalog; default: {_PATIENCE:.0f} s",
    )
    export = parts.add_parser("export", help='write the documents as lines of JSON: {"name": ..., "doc": ...}')
    export.set_defaults(command=_export)
    export.add_argument("--to", type=Path, metavar="FOLDER", help="a file for each run; default: standard output")
    for part in (listing, again, export):
        part.add_argument("folder", type=Path, metavar="FOLDER", help="the journal's folder")


def _list(options: argparse.Namespace) -> int:
    from saxs_bluesky.callbacks.catalog_writer import kept_in

    found = kept_in(options.folder)
    for kept in found:
        print_status(_described(kept))
        for reason in kept.reasons:
            print_status(f"    {printable(reason)}")
    if not found:
        print_status("nothing waits, and nothing is set aside")
    return Exit.SOME_FAILED if found else Exit.DONE


def _described(kept: Kept) -> str:
    from saxs_bluesky.callbacks.catalog_writer import when

    number = sum(kept.documents.values())
    names = ", ".join(f"{count} {name}" for name, count in kept.documents.items())
    parts = ["waits" if kept.waits else "set aside", f"run {kept.uid}" if kept.uid else "no run"]
    parts += [f"scan_id {kept.scan_id}"] if kept.scan_id else []
    parts += [when(kept.time)] if kept.time is not None else []
    parts += [f"{number} documents ({names})" if number else "no documents"]
    parts += [f"{kept.damaged} damaged lines"] if kept.damaged else []
    parts += ["not stopped"] if kept.is_run and not kept.stopped else []
    return printable(f"{', '.join(parts)}: {kept.path}")


def _retry(options: argparse.Namespace) -> int:
    from saxs_bluesky.callbacks.catalog_writer import kept_in, retry
    from saxs_bluesky.catalog import close_catalog, open_catalog

    kept_in(options.folder)  # a folder that is none is told before seconds have gone
    catalog = open_catalog(options.catalog)
    try:
        writer = retry(options.folder, catalog, options.timeout)
    finally:
        if "://" not in options.catalog:
            close_catalog(options.catalog)
    counters = writer.counters
    print_status(f"{counters.written} documents are in the catalog")
    left = kept_in(options.folder)
    for kept in left:
        print_error(f"saxs-bluesky: {_described(kept)}")
        for reason in kept.reasons[-1:]:
            print_error(f"    {printable(reason)}")
    return Exit.SOME_FAILED if left else Exit.DONE


def _export(options: argparse.Namespace) -> int:
    from saxs_bluesky.callbacks.catalog_writer import documents_in, exported, kept_in

    for kept in kept_in(options.folder):
        if not kept.documents or kept.documents["value"]:
            continue
        lines = (exported(name, doc) for name, doc in documents_in(kept))
        if options.to is None:
            for line in lines:
                print_status(line)
            continue
        target = options.to / kept.path.name
        try:
            options.to.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
        except OSError as error:
            raise OutputError(f"{target}: wanted a new file, found {error.strerror}") from error
        print_status(printable(str(target)))
    return Exit.DONE
