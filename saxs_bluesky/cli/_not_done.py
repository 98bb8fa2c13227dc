"""Sentences on what a command has not done, for its last line and its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saxs_bluesky.errors import printable

if TYPE_CHECKING:
    from saxs_bluesky.callbacks import CatalogWriter, CurveList, Reduction
    from saxs_bluesky.file_pipeline import Statistics


def images_not_done(numbers: Statistics) -> list[str]:
    """Sentences on images; the command's summary has the first two numbers too."""
    told = {
        "{} images failed, each named above": numbers.failed,
        "files of {} images were not written (saxsdog -r writes them when there is room)": numbers.unwritten,
        "{} images have newer content that was not reduced (start again)": numbers.outdated,
    }
    return [sentence.format(number) for sentence, number in told.items() if number]


def results_not_delivered(
    reduction: Reduction, writer: CatalogWriter | None, curves: CurveList | None = None
) -> list[str]:
    """Sentences on what became of the curves, each with its remedy."""
    status = reduction.status
    sentences = [f"the reduction ended before its time: {status.ended}"] if status.ended else []
    if curves is not None and curves.failed:
        where = printable(str(curves.path))
        sentences.append(f"{curves.failed} lines were not written to {where} (the curves are on disk all the same)")
    if status.sink_errors:
        sentences.append(f"{status.sink_errors} documents were not taken by a sink, named above")
    return sentences + not_catalogued(writer)


def not_catalogued(writer: CatalogWriter | None) -> list[str]:
    """Sentences on what the catalog does not have, each with its remedy."""
    if writer is None:
        return []
    sentences = []
    counters, journal = writer.counters, printable(str(writer.journal))
    remedy = f"saxs-bluesky journal list {journal} tells why"
    if counters.rejected:
        where = f"{journal}/rejected"
        sentences.append(
            f"{counters.rejected} documents were refused by the catalog and are kept in {where} ({remedy})"
        )
    if counters.left_out:
        where = f"{journal}/rejected"
        sentences.append(f"{counters.left_out} values of events were left out and are kept in {where} ({remedy})")
    if counters.lost:
        sentences.append(f"{counters.lost} documents for the catalog are lost, see above")
    if counters.journaled:
        text = "documents are not in the catalog yet and wait in"
        sentences.append(f"{counters.journaled} {text} {journal} (the next start with the same options delivers them)")
    return sentences
