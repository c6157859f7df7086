# SPDX-License-Identifier: GPL-3.0-or-later
"""A store that checks signatures, and credentials that are wrong: a clear error, no secret shown, nothing lost."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from archive_kit import archived, hashes, local, move, s3_node, settled, status
from store_kit import BUCKET, S3Server, credentials_file, s3_server

SETUP = 4


@dataclass
class Guarded:
    """A server that asks for signatures, and the one user it knows."""

    server: S3Server
    key: str
    secret: str


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with s3_server(unsigned=SETUP) as server:
        iam = server.client("iam")
        iam.create_user(UserName="node")
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
        iam.put_user_policy(UserName="node", PolicyName="all", PolicyDocument=json.dumps(policy))
        made = iam.create_access_key(UserName="node")["AccessKey"]
        server.bucket()
        yield Guarded(server, made["AccessKeyId"], made["SecretAccessKey"])


def test_wrong_credentials_are_told_and_hidden(guarded: Guarded, tmp_path: Path) -> None:
    node = s3_node(tmp_path, guarded.server.url, "wrong")
    node.call(seconds=2)
    settled(node)
    before = hashes(node)
    file = node.folder / "keys/archive.ini"
    for key, secret in ((guarded.key, "not-the-secret"), ("nobody", guarded.secret)):
        credentials_file(file, key, secret)
        checked = node.ivr("archive", "check")
        assert checked.exit_code == 2
        assert "the store refuses" in checked.output
        assert "check the credentials" in checked.output
        run = node.ivr("archive", "run", "--once")
        assert run.exit_code == 1
        assert secret not in checked.output + run.output + json.dumps(status(node))
        assert status(node)["error_kind"] == "archive-refused"
        assert hashes(node) == before
    credentials_file(file, guarded.key, guarded.secret)
    assert node.ivr("archive", "check").exit_code == 0
    move(node)
    assert local(node) == []
    assert archived(node) == before


def test_no_such_bucket_is_told(guarded: Guarded, tmp_path: Path) -> None:
    node = s3_node(tmp_path, guarded.server.url, "bucket")
    credentials_file(node.folder / "keys/archive.ini", guarded.key, guarded.secret)
    config = node.folder / "server.yaml"
    config.write_text(config.read_text().replace(f"s3://{BUCKET}", "s3://elsewhere"))
    checked = node.ivr("archive", "check")
    assert checked.exit_code == 2
    assert "there is no such bucket" in checked.output


def test_credentials_that_others_may_read_are_refused(guarded: Guarded, tmp_path: Path) -> None:
    node = s3_node(tmp_path, guarded.server.url, "mode")
    credentials_file(node.folder / "keys/archive.ini", guarded.key, guarded.secret).chmod(0o640)
    refused = node.ivr("archive", "check")
    assert refused.exit_code == 2
    assert "others may read these credentials" in refused.output
    assert guarded.secret not in refused.output


def test_credentials_of_the_environment(guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = s3_node(tmp_path, guarded.server.url, "environment")
    config = node.folder / "server.yaml"
    config.write_text(config.read_text().replace("credentials: keys/archive.ini, ", ""))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    refused = node.ivr("archive", "check")
    assert refused.exit_code == 2
    assert "no credentials for the archive" in refused.output
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", guarded.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", guarded.secret)
    assert node.ivr("archive", "check").exit_code == 0
