# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the secrets in its environment a process hands on, and to whom: to those that cannot work without."""

import os
import re

_SECRET = re.compile(r"(AWS_|PG[A-Z]).*")
"""Of the archive's store (boto), and of PostgreSQL (libpq)."""

_NEEDS = {
    "archive": re.compile(r"AWS_.*"),
    "ledger": re.compile(r"PG[A-Z].*"),
    # Its manager has the log looked at for alarms; its nursery and workers do without.
    "pool": re.compile(r"PG[A-Z].*"),
}


def environment_of(process: str) -> dict[str, str]:
    """This process's environment without the secrets that `process` (archive, ledger, pool, …) does not need."""
    needs = _NEEDS.get(process)
    return {
        name: value
        for name, value in os.environ.items()
        if not _SECRET.fullmatch(name) or (needs is not None and needs.fullmatch(name))
    }


def forget_secrets() -> None:
    """For a process whose own children need none. What /proc says of it is what it was started with."""
    for name in [name for name in os.environ if _SECRET.fullmatch(name)]:
        del os.environ[name]
