# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of a log leave no file open behind them, the key store's neither."""

import os
from pathlib import Path

from rights_kit import make_server


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_reading_a_log_leaves_no_file_open(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    server.call(recorded=False)

    def read() -> None:
        assert server.events("call.received")[0].personal
        assert server.report().holds
        assert server.ivr("call", "list").exit_code == 0

    read()
    before = _open_files()
    for _ in range(5):
        read()
    assert _open_files() == before
