# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers with recordings and an archive, and what must hold of them whatever happened."""

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from ivr.audit.files import check_files
from ivr.node.archive import open_archive
from ivr.node.archive_audit import ReadArchive
from ivr.vault.segments import parse_segment_name
from rights_kit import MadeCall, Server, make_server
from store_kit import BUCKET, credentials_file


def s3_settings(endpoint: str, prefix: str = "assent", credentials: str = "keys/archive.ini") -> str:
    """The group of server.yaml."""
    return (
        f'storage: {{archive: {{url: "s3://{BUCKET}/{prefix}", endpoint: "{endpoint}", plain_http: true, '
        f"credentials: {credentials}, region: us-east-1}}}}\n"
    )


def s3_node(folder: Path, endpoint: str, prefix: str = "assent") -> Server:
    """A server that moves its recordings into the bucket."""
    folder.mkdir(parents=True, exist_ok=True)
    server = make_server(folder, s3_settings(endpoint, prefix))
    credentials_file(server.folder / "keys/archive.ini")
    return server


def folder_node(folder: Path, shared: Path) -> Server:
    """A server that moves its recordings into a folder."""
    shared.mkdir(exist_ok=True)
    server = make_server(folder, f'storage: {{archive: {{url: "{shared.as_uri()}"}}}}\n')
    assert server.ivr("archive", "check", "--create").exit_code == 0
    return server


def settled(server: Server, seconds: float = 3600) -> None:
    """As if that time had passed since the segments were written."""
    then = time.time() - seconds
    for path in local(server):
        os.utime(path, (then, then))


def local(server: Server) -> list[Path]:
    """The segments on this machine's disk."""
    folder = server.settings.storage.recordings
    return sorted(path for path in folder.rglob("*") if parse_segment_name(path.name))


def move(server: Server) -> None:
    """One round that must succeed."""
    done = server.ivr("archive", "run", "--once")
    assert done.exit_code == 0, done.output


def hashes(server: Server) -> dict[str, str]:
    """Each segment on the disk: `<recording>/<name>` → SHA-256."""
    return {f"{p.parent.name}/{p.name}": hashlib.sha256(p.read_bytes()).hexdigest() for p in local(server)}


def archived(server: Server) -> dict[str, str]:
    """The same of the archive, as it is there now."""
    archive = open_archive(server.settings)
    return {
        f"{one.recording}/{file.name}": file.sha256
        for one in archive.listing()
        if one.recording
        for file in archive.files(one.key)
    }


def status(server: Server) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(server.ivr("archive", "status", "--json").stdout)
    return value


def findings(server: Server) -> list[str]:
    """What the auditor finds, with everything in the archive read."""
    report = server.report()
    archive = ReadArchive(open_archive(server.settings))
    found = [*report.findings, *check_files(server.settings.storage.recordings, report.recordings, archive)]
    return [str(one) for one in found]


def exported(server: Server, call: MadeCall, output: Path) -> bytes:
    """The recording as the officer gets it."""
    with server.serving():
        done = server.by_officer("recording", "export", call.recording, "--output", str(output), "--force")
    assert done.exit_code == 0, done.output
    return output.read_bytes()
