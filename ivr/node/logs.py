# SPDX-License-Identifier: GPL-3.0-or-later
"""What the processes write to stderr. Personal data is not among it: calls are named by their id."""

import json
import logging
import sys
import time

from ivr.node.settings import LogFormat, LogLevel


class _Json(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_logs(process: str, level: LogLevel, form: LogFormat) -> None:
    """One handler on stderr; `process` is the name this process has in its lines."""
    handler = logging.StreamHandler(sys.stderr)
    if form is LogFormat.JSON:
        handler.setFormatter(_Json(process))
    else:
        handler.setFormatter(logging.Formatter(f"%(asctime)s {process} %(levelname)s %(message)s"))
    logging.basicConfig(level=level.value.upper(), handlers=[handler], force=True)
