"""What the keys of the documents mean; the reference of the documentation is made of it."""

from __future__ import annotations

from collections.abc import Mapping

_EVERY_START = {
    "uid": "Identifier of the run.",
    "time": "When the run began, in seconds since 1970.",
}
_EVERY_STOP = {
    "uid": "Identifier of this document.",
    "time": "When the run ended, in seconds since 1970.",
    "run_start": "`uid` of the run's start document.",
    "num_events": "Number of events, by stream.",
}
_OF_FILES = {
    "directory": "Folder of the images, as an absolute path.",
    "calibration_title": "`Title` of the calibration.",
    "login_id": "User and computer that the program ran on.",
}

_EVERY_ANALYSIS = {
    "scan_id": "Always 0, so that `catalog[scan_id]` finds the raw run.",
    "original_run_uid": "`uid` of the raw run.",
    "original_scan_id": "`scan_id` of the raw run, where it has one.",
}
_OF_FILE_EVENTS = {
    "file_size": "Size of the file.",
    "file_stamp": "A number that distinguishes this content of the file from any other content.",
    "exposure_time": "Exposure time; NaN where the header does not give it.",
    "exposure_period": "Time from one exposure to the next; NaN where the header does not give it.",
    "wavelength": "Wavelength of the X-rays; NaN where the header does not give it.",
    "file_time": "When the file was last written, in seconds since 1970.",
    "detector_model": "Model of the detector; empty where the header does not give it.",
    "image_failure": "Why the file is not a readable image; empty where it is one.",
}
_OF_FRAMES = {
    "<curve>_I0": "Sum of I dq between `qStart` and `qStop`, of radial curves; NaN where there is no data.",
    "<curve>_I1": "Sum of I q dq in the same range.",
    "<curve>_I2": "Sum of I q² dq in the same range (the invariant).",
    "<curve>_correlation_length": "I1 / I2.",
    "<curve>_coverage": "Share of the bins between `qStart` and `qStop` that hold data, 0 to 1.",
    "<curve>_file": "Path of the curve's file; empty where none was written.",
    "image_path": "Path of the frame's file; empty where the image came in a document.",
    "image_page": "Which image of the file it is, counted from 0.",
    "image_pages": "How many images the file has.",
    "frame_index": "Number of the frame in its stream, counted from 0.",
    "image_time": "When the frame was taken, in seconds since 1970.",
    "failure": "Why the frame has no curves; empty where it has.",
    "file_failure": "Why a curve's file is missing; empty where none is.",
}

KEY_DESCRIPTIONS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "raw run": {
        "start": _EVERY_START
        | _OF_FILES
        | {
            "plan_name": "Where the files come from: `folder`, `watch` or `feeder`.",
            "detectors": "Names of the detectors: here one name that stands for all image files.",
        },
        "event": {
            "image_path": "Path of the image file. The source of this data key says that the file is a frame.",
            "image_page": "Which image of the file it is, counted from 0.",
            "image_pages": "How many images the file has.",
            "file_size": "Size of the file.",
            "file_stamp": "A number that distinguishes this content of the file from any other content.",
            "exposure_time": "Exposure time; NaN where the header does not give it.",
            "exposure_period": "Time from one exposure to the next; NaN where the header does not give it.",
            "wavelength": "Wavelength of the X-rays; NaN where the header does not give it.",
            "image_time": "When the image was taken, in seconds since 1970, by the detector's clock in this computer's "
            "time zone; where the header gives no time, `file_time`.",
            "file_time": "When the file was last written, in seconds since 1970.",
            "detector_model": "Model of the detector; empty where the header does not give it.",
            "image_failure": "Why the file is not a readable image; empty where it is one.",
        },
        "stop": _EVERY_STOP
        | {
            "exit_status": "`success`, or `abort` where the program ended before the run was complete.",
            "reason": "Why the run was aborted; empty otherwise.",
        },
    },
    "reduced run": {
        "start": _EVERY_START
        | {key: f"{text} Copied from the raw run." for key, text in _OF_FILES.items()}
        | _EVERY_ANALYSIS
        | {
            "plan_type": "Always `reduction`.",
            "plan_name": "Always `reduction`.",
            "hints": "What Bluesky's callbacks plot the curves' integral parameters against: the scanned axes of the "
            "raw run, or time.",
            "analysis_stage": "Always `reduction`.",
            "detector": "Name of the detector whose frames were reduced.",
            "provenance": "What the curves were made with.",
        },
        "provenance": {
            "software": "Name of the program.",
            "version": "Its version.",
            "calibration": "The calibration, complete.",
            "calibration_sha256": "SHA-256 of the calibration.",
            "mask_sha256": "SHA-256 of each mask as it was applied.",
            "integrators": "Names of the curves, in order.",
        },
        "configuration": {
            "<curve>_<axis>": "Axis of a curve, the same for all events: `R0_q`, `P1_phi`, `S2_q_h`.",
        },
        "event": {
            "<curve>_intensity": "Intensity of the curve; NaN in bins without pixels, and if the frame failed.",
            "<curve>_sigma": "Poisson error of the intensity.",
            "<curve>_deviation": "Standard deviation of the pixels in each bin; only with `deviation=True`.",
        }
        | _OF_FRAMES,
        "stop": _EVERY_STOP
        | {
            "exit_status": "That of the raw run; `fail` where every frame failed; `abort` where frames were left out "
            "or the raw run has no stop document.",
            "reason": "How many frames failed or were left out; empty where none was.",
        },
    },
    "merged run": {
        "start": _EVERY_START
        | {key: f"{text} Copied from the raw run." for key, text in _OF_FILES.items()}
        | _EVERY_ANALYSIS
        | {
            "plan_type": "Always `merge`.",
            "plan_name": "Always `merge`.",
            "original_stream": "The stream of the raw run that has the images.",
            "hints": "What Bluesky's callbacks plot against: the scanned axes of the raw run, or time.",
            "analysis_stage": "Always `merge`.",
            "detector": "Name of the detector of the images.",
            "sources": "`uid` of the raw run and of the reduced runs, and a list of the loggers: each one's name, "
            "key, stream and run or files, tolerance in s, and whether its values hold until the next one (steps).",
            "methods": "How values at images are found, by the key of the logger.",
            "offsets": "Clock of the logger minus that of the images, in s, by the key of the logger.",
            "configuration": "What the merge was told, where it was told by a file.",
            "provenance": "What the run was made with.",
        },
        "provenance": {"software": "Name of the program.", "version": "Its version."},
        "event": {
            **_OF_FRAMES,
            **_OF_FILE_EVENTS,
            "<quantity>": "The logged quantity during the exposure; NaN, or empty, where there is none.",
        },
        "stop": _EVERY_STOP
        | {
            "exit_status": "That of the run that it was made of; `abort` where the merge ended before it.",
            "reason": "How many values are missing, and why the run ended; empty where all is well.",
            "merge": "Images without log, log entries without image and rows beyond the tolerance: how many, and the "
            "first 100 by name; and remarks.",
        },
    },
}
"""Description of each key: by run, by part of its documents (start, event, ...), and by key.

``<curve>`` stands for the name of a curve, such as ``R0``, ``<axis>`` for that of its axis, and ``<quantity>`` for that
of a logged quantity.
"""
