# SPDX-License-Identifier: GPL-3.0-or-later
"""The `ivr` command: thin click commands over library calls. stdout is data, stderr is talk."""

from importlib import import_module

import click

from ivr import __version__

# Loaded on first use: `ivr log verify` must start without pjsua2, and on a machine that has none.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("ivr.cli.init", "Create keys, log, database and example configuration."),
    "serve": ("ivr.cli.serve", "Run the server: ledger, edge and workers."),
    "ledger": ("ivr.cli.ledger", "Run the ledger alone (systemd)."),
    "edge": ("ivr.cli.edge", "Configure, check, run and look at the SIP proxy before the workers."),
    "pool": ("ivr.cli.pool", "Run the workers alone (systemd)."),
    "worker": ("ivr.cli.worker", "Run one worker alone, without a pool."),
    "top": ("ivr.cli.top", "Show a running server: calls, recordings, workers, latencies, alarms."),
    "drain": ("ivr.cli.drain", "Let a worker or the node take no new calls."),
    "undrain": ("ivr.cli.undrain", "Let it take new calls again."),
    "restart": ("ivr.cli.restart", "Replace the workers one after the other, with what is on disk now."),
    "flow": ("ivr.cli.flow", "Check, show and simulate call flows."),
    "prompts": ("ivr.cli.prompts", "Render, list, check and try prompts."),
    "log": ("ivr.cli.log_commands", "Show, verify, replay, prove and export the log."),
    "call": ("ivr.cli.call", "List calls and read one as a timeline."),
    "recording": ("ivr.cli.recording", "List, show and export recordings."),
    "archive": ("ivr.cli.archive", "Move recordings to a shared store; show what waits."),
    "keys": ("ivr.cli.keys", "Show the keys that sign and those that seal; rotate the signing key."),
    "retention": ("ivr.cli.retention", "Plan and apply retention."),
    "subject": ("ivr.cli.subject", "Find, take in, answer and close people's requests."),
    "hold": ("ivr.cli.hold", "Place, lift and list legal holds."),
    "erase": ("ivr.cli.erase", "Erase a recording, a call or a person for good."),
    "db": ("ivr.cli.db", "Show, upgrade and move the log's database."),
    "access": ("ivr.cli.access", "Show and change who may do what."),
}


class _Lazy(click.Group):
    """A group whose commands are imported when they are used; each module names its own `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="ivr")
def main() -> None:
    """Assent: records a call only when it may, and can prove it.

    Exit codes: 0 done and all well, 1 a check failed, 2 could not run (usage, configuration, environment), 3 not on
    every node (--all-nodes).
    """
