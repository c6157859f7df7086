# SPDX-License-Identifier: GPL-3.0-or-later
"""Both engines: a server of PostgreSQL for each process of the tests, a log of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from database_kit import Base
from postgres_kit import Cluster, running_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Base:
    """A new log in one engine after the other."""
    if request.param == "sqlite":
        return Base.make(tmp_path, tmp_path / "log.sqlite")
    return Base.make(tmp_path, request.getfixturevalue("cluster").fresh())


@pytest.fixture
def postgres(cluster: Cluster, tmp_path: Path) -> Base:
    """A new log in PostgreSQL."""
    return Base.make(tmp_path, cluster.fresh())
