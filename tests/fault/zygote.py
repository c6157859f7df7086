# SPDX-License-Identifier: GPL-3.0-or-later
"""Forks victims that have everything imported already: a fault point costs a fork, not the start of a Python.

stdin: one JSON job a line, {"workload","home","line","phase","until"}. stdout: the child's pid, then its status.
"""

import gc
import json
import logging
import os
import sys
import traceback

from fault.workloads import WORKLOADS, Stage


def main() -> None:
    """Serve jobs until stdin ends. One at a time."""
    logging.disable()  # a line on stderr would be a write that is no part of the workload
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_victim(job))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _victim(job: dict[str, str]) -> int:
    try:
        stage = Stage(job["line"], job["phase"], job["until"])
        WORKLOADS[job["workload"]](job["home"], stage)
    except BaseException:
        traceback.print_exc()
        return 70
    return 0


if __name__ == "__main__":
    main()
