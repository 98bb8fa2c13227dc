"""Runs plans with the real `Pilatus` against an IOC, and writes their documents to standard output.

Each line is a JSON array of a document's name and the document. A script and not a function: ophyd and
its EPICS library read the environment when they are imported.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from bluesky import RunEngine
from bluesky.plan_stubs import mv
from bluesky.plans import count
from caproto.threading.pyepics_compat import PV

from saxs_bluesky.devices import Pilatus


def write(name: str, document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps([name, document]) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prefix")
    parser.add_argument("directory", help="where the IOC writes")
    parser.add_argument("--frames", type=int, default=1, help="of a trigger")
    parser.add_argument("--triggers", type=int, nargs="*", default=[3], help="of each run")
    parser.add_argument("--external", action="store_true", help="wait for a trigger that never comes")
    arguments = parser.parse_args()

    pilatus = Pilatus(arguments.prefix, name="pilatus", write_path_template=arguments.directory)
    pilatus.wait_for_connection(timeout=10)
    if arguments.external:
        pilatus.stage_sigs["cam.trigger_mode"] = "Ext. Trigger"
        pilatus.patience = 0.5
    run_engine = RunEngine({}, call_returns_result=False)
    run_engine(mv(pilatus.exposure_time, 0.02, pilatus.num_images, arguments.frames))
    for number in arguments.triggers:
        run_engine(count([pilatus], number), write)
    # Now, and not when the interpreter has ended the threads: what the IOC sends then is an error.
    PV.default_context().disconnect()


if __name__ == "__main__":
    main()
