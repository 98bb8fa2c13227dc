"""Sentences on what a command has done and not done, for its status, its last line and its exit code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from saxs_bluesky.errors import printable

if TYPE_CHECKING:
    from saxs_bluesky.callbacks import CatalogWriter, CurveList, Reduction
    from saxs_bluesky.file_pipeline import Statistics


def counted(numbers: Mapping[str, int]) -> list[str]:
    """Sentences, or parts of one, each with its number in place of ``{}``, of which those with 0 are left out."""
    return [text.replace("{}", str(number), 1) for text, number in numbers.items() if number]


def progress_of(numbers: Statistics) -> str:
    """How far a reduction is, as a part of a status line."""
    return f"done {numbers.done}, queue {numbers.queue}, failed {numbers.failed}, {numbers.rate:.1f} frames/s"


def images_not_done(numbers: Statistics) -> list[str]:
    """Sentences on images; the command's summary has the first two numbers too."""
    return counted(
        {
            "{} images failed, each named above": numbers.failed,
            "files of {} images were not written (saxsdog -r writes them when there is room)": numbers.unwritten,
            "{} images have newer content that was not reduced (start again)": numbers.outdated,
        }
    )


def results_not_delivered(
    reduction: Reduction, writer: CatalogWriter | None, curves: CurveList | None = None
) -> list[str]:
    """Sentences on what became of the curves, each with its remedy."""
    status = reduction.status
    sentences = [f"the reduction ended before its time: {status.ended}"] if status.ended else []
    if curves is not None and curves.failed:
        where = printable(str(curves.path))
        sentences.append(f"{curves.failed} lines were not written to {where} (the curves are on disk all the same)")
    sentences += counted({"{} documents were not taken by a sink, named above": status.sink_errors})
    return sentences + not_catalogued(writer)


def not_catalogued(writer: CatalogWriter | None) -> list[str]:
    """Sentences on what the catalog does not have, each with its remedy."""
    if writer is None:
        return []
    counters, journal = writer.counters, printable(str(writer.journal))
    kept = f"are kept in {journal}/rejected (saxs-bluesky journal list {journal} tells why)"
    waiting = f"wait in {journal} (the next start with the same options delivers them)"
    return counted(
        {
            f"{{}} documents were refused by the catalog and {kept}": counters.rejected,
            f"{{}} values of events were left out and {kept}": counters.left_out,
            "{} documents for the catalog are lost, see above": counters.lost,
            f"{{}} documents are not in the catalog yet and {waiting}": counters.journaled,
        }
    )
