"""Batches of images: order, failures of users' recipes, early stop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxs_bluesky.batch import ImageJob, find_images, run_all
from saxs_bluesky.reduction import Calibration, Curve, OutputNames, Reducer, read_chi, write_frame


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    (tmp_path / "data").mkdir()
    for number in range(12):
        write_frame(tmp_path / "data" / f"{number:02d}.tif", np.full((60, 80), number))
    return list(find_images(tmp_path / "data"))


class Picky:
    """A recipe that cannot do every image."""

    name = "Picky"
    axis = np.array([1.0, 2.0])

    def integrate(self, image: Any) -> Curve:
        return Curve(self.name, "recipe", self.axis, "x", "mm", 1 / np.array([image.max() - 3, 7]), np.zeros(2))


def make_job(document: dict[str, Any], *recipes: Any) -> ImageJob:
    return ImageJob(Reducer(Calibration.from_dict(document), recipes=recipes), OutputNames())


@pytest.mark.parametrize("threads", [1, 3])
def test_outcomes_come_in_the_order_of_the_images(images: list[Path], document: dict[str, Any], threads: int) -> None:
    outcomes = list(run_all(images, make_job(document), threads))
    assert [outcome.image for outcome in outcomes] == images
    for number, outcome in enumerate(outcomes):
        intensity = read_chi(outcome.written[0]).curve.intensity
        np.testing.assert_array_equal(intensity[~np.isnan(intensity)], number)


def test_failing_recipe_costs_its_image_only(images: list[Path], document: dict[str, Any]) -> None:
    with np.errstate(divide="raise"):
        outcomes = list(run_all(images, make_job(document, Picky()), 1))
    assert [o.image.name for o in outcomes if o.failure] == ["03.tif"]
    assert outcomes[3].failure == "unexpected FloatingPointError: divide by zero encountered in divide"
    assert [path.name for path in outcomes[4].written] == ["04.chi", "04_cPicky.chi"]


def test_images_are_taken_as_needed_and_not_all_at_once(images: list[Path], document: dict[str, Any]) -> None:
    taken = []

    def walk() -> Iterator[Path]:
        for image in images:
            taken.append(image)
            yield image

    outcomes = run_all(walk(), make_job(document), 2)
    next(outcomes)
    assert len(taken) < len(images)
    outcomes.close()  # what is in hand is finished, the rest left
    assert len(taken) < len(images)
