# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr log verify`: the whole log, or an exported folder of it, with the public key alone; or the logs of all nodes."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from ivr.cli.all_nodes import all_nodes_option
from ivr.cli.exits import Exit
from ivr.cli.log import config_option, db_option, json_option, told
from ivr.cli.log_checked import Outside, check, facts, opened, words
from ivr.cli.log_verify_nodes import verify_nodes

_Folder = click.Path(exists=True, file_okay=False, path_type=Path)
_File = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@config_option
@db_option
@click.option("--tiles", type=_Folder, help="A folder made by `ivr log export`, in place of a database.")
@click.option("--vkey", metavar="KEY", help="Verifier key, or a file with it; needed with --db and --tiles.")
@click.option(
    "--checkpoint", "kept", type=_File, multiple=True, help="A checkpoint kept outside, which the log must extend."
)
@click.option("--anchors", type=_Folder, help="Folder of time stamps and cosignatures (default: the server's).")
@click.option("--tsa-roots", "roots", type=_File, multiple=True, help="Root certificates of time stamps (PEM).")
@click.option("--witness", "witnesses", multiple=True, metavar="KEY", help="Verifier key of a witness.")
@click.option("--recordings", type=_Folder, help="Folder of recordings to compare (default: the server's).")
@click.option("--no-archive", is_flag=True, help="Do not read recordings in the archive: take the catalog's word.")
@all_nodes_option
@json_option
def verify(
    folder: Path,
    db: Path | None,
    tiles: Path | None,
    vkey: str | None,
    kept: Sequence[Path],
    anchors: Path | None,
    roots: Sequence[Path],
    witnesses: Sequence[str],
    recordings: Path | None,
    no_archive: bool,
    all_nodes: bool,
    as_json: bool,
) -> None:
    """Is every event signed, in its place, chained, and in the tree that the checkpoints name? Do the files match?

    Each thing that does not hold is one line that names its call, event and place. Exit code 0: all holds, 1: something
    does not, 2: could not run. With --all-nodes also: have no two logs their name, a key or a call in common? A log
    that cannot be reached is named, and the exit code is 3 when all else holds.
    """
    outside = Outside(kept, anchors, roots, witnesses, not no_archive)
    if all_nodes:
        if db or tiles or vkey or anchors or recordings:
            raise click.UsageError(
                "with --all-nodes, each node's server.yaml says where its log is, and `nodes` its key"
            )
        verify_nodes(folder, outside, as_json)
        return
    with told():
        source, key, files = opened(folder, db, tiles, vkey, recordings)
        checked = check(outside, source, key, files, None if db or tiles else folder)
    click.echo(json.dumps(facts(checked)) if as_json else "\n".join(words(checked)))
    if checked.found:
        raise click.exceptions.Exit(Exit.CHECK_FAILED)
