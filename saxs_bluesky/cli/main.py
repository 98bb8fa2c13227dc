"""``saxs-bluesky``: a simulated beamline to try everything on, and work on the journals of catalogs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from saxs_bluesky.cli._command import Exit, make_parser, print_status, run
from saxs_bluesky.cli._demo import demo
from saxs_bluesky.cli._journal import add_journal
from saxs_bluesky.cli._options import positive
from saxs_bluesky.errors import OutputError, system_reason
from saxs_bluesky.reduction import Calibration
from saxs_bluesky.simulation import (
    DETECTOR_SHAPES,
    Sample,
    SilverBehenate,
    SimulatedLoggers,
    SimulatedPilatus,
    Spheres,
    simulated_calibration,
    write_mask,
    write_simulated_frame,
)

SAMPLES: dict[str, Callable[[], Sample]] = {"behenate": SilverBehenate, "spheres": Spheres}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(build_parser(), lambda options: int(options.command(options)), arguments)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's arguments; the reference is generated from it."""
    parser = make_parser(
        "saxs-bluesky", "A simulated beamline to try everything on, and work on the journals of catalogs."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    simulate = commands.add_parser("simulate", help="write simulated Pilatus frames with their calibration and mask")
    simulate.set_defaults(command=_simulate)
    simulate.add_argument(
        "--detector", choices=sorted(DETECTOR_SHAPES), default="1M", help="model of the detector; default: 1M"
    )
    simulate.add_argument(
        "--sample", choices=sorted(SAMPLES), default="behenate", help="sample in the beam; default: behenate"
    )
    simulate.add_argument(
        "--logs",
        action="store_true",
        help="write logs of the detector, the shutter and a data logger too, whose clock is 37.25 s ahead: "
        "what saxsdmerge merges",
    )

    profile = commands.add_parser("init-profile", help="copy the IPython start-up files to where you can edit them")
    profile.set_defaults(command=_init_profile)
    profile.add_argument("directory", type=Path, help="folder for the profile; made where it is missing")

    show = commands.add_parser(
        "demo", help="watch a simulated scan become curves in a catalog, with a picture at the end"
    )
    show.set_defaults(command=demo)

    add_journal(commands)
    for command, frames in ((simulate, 10), (show, 15)):
        command.add_argument("directory", type=Path, help="folder to write into; made where it is missing")
        command.add_argument(
            "--frames", type=positive, default=frames, metavar="N", help=f"number of frames; default: {frames}"
        )
        command.add_argument("--exposure", type=float, default=1.0, metavar="S", help="exposure time; default: 1 s")
        command.add_argument("--seed", type=int, default=1, metavar="N", help="of the noise; default: 1")
    return parser


def _init_profile(options: argparse.Namespace) -> int:
    from saxs_bluesky.session import copy_profile

    for path in copy_profile(options.directory):
        print_status(str(path))
    print_status(f"Start it with: ipython --profile-dir={options.directory}")
    return Exit.DONE


def _simulate(options: argparse.Namespace) -> int:
    calibration = _write_beamline(options)
    took = timedelta(seconds=(options.exposure + 8) * options.frames)
    loggers = SimulatedLoggers(datetime.now(UTC).replace(microsecond=0) - took, options.exposure, seed=options.seed)
    ends = loggers.ends(options.frames) if options.logs else [None] * options.frames
    images = []
    for image in _write_frames(options, calibration, ends):
        print_status(f"{image}")
        images.append(image)
    if options.logs:
        _write_logs(options.directory, loggers, images, ends)
    print_status(f"calibration: {options.directory / 'cal.json'}")
    return Exit.DONE


def _write_beamline(options: argparse.Namespace) -> Calibration:
    directory: Path = options.directory
    document = simulated_calibration(options.detector, mask_file="mask.tif")
    path = directory / "cal.json"
    try:
        (directory / "images").mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        calibration = Calibration.from_file(path)
        write_mask(directory / "mask.tif", SimulatedPilatus(calibration.geometry).mask)
    except OSError as error:
        raise OutputError(f"{directory}: the simulation cannot be written ({error.strerror})") from error
    return calibration


def _write_logs(
    directory: Path, loggers: SimulatedLoggers, images: Sequence[Path], ends: Sequence[datetime | None]
) -> None:
    try:
        (directory / "logs").mkdir(exist_ok=True)
        for path in loggers.write(directory / "logs", images, [end for end in ends if end is not None]):
            print_status(f"{path}")
    except OSError as error:
        raise OutputError(f"{directory}: the logs cannot be written ({system_reason(error)})") from error


def _write_frames(
    options: argparse.Namespace, calibration: Calibration, ends: Sequence[datetime | None]
) -> Iterator[Path]:
    detector = SimulatedPilatus(calibration.geometry)
    rate = detector.rate(SAMPLES[options.sample]())
    rng = np.random.default_rng(options.seed)
    for number, end in enumerate(ends):
        image = options.directory / "images" / f"{options.sample}_{number:05d}.tif"
        write_simulated_frame(image, detector, rate, options.exposure, rng, end)
        yield image
