# SPDX-License-Identifier: GPL-3.0-or-later
"""Forks processes that change a database's tables and end before the n-th statement, as in a power cut.

`python -m database_victim`: one JSON array a line on stdin: [n, "upgrade" | "create" | "copy", place, target]. Out
comes the signal that ended the process, 0 for none, or its status.
"""

import json
import os
import signal
import sys
import traceback

from sqlalchemy import Engine, event

from ivr.ledger.copying import copy_log
from ivr.ledger.create import create_schema
from ivr.ledger.database import Postgres, database_of
from ivr.ledger.migrate import upgrade


def _die_before(n: int) -> None:
    left = [n]

    def changing(statement: str) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA")):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def executed(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        changing(statement)

    event.listen(Engine, "before_cursor_execute", executed)
    event.listen(Engine, "commit", lambda _connection: changing("COMMIT"))


def _work(n: int, what: str, place: str, *target: str) -> None:
    _die_before(n)
    at = database_of(place)
    if what == "upgrade":
        upgrade(at)
    elif what == "create" and isinstance(at, Postgres):
        create_schema(at, {"origin": "example.org/x", "kid": "x"})
    elif not isinstance(at, Postgres):
        copy_log(at, Postgres.parse(target[0]))


def main() -> None:
    # libpq and its TLS library are loaded once, before the first fork.
    __import__("psycopg")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                _work(*json.loads(line))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status), flush=True)


if __name__ == "__main__":
    main()
