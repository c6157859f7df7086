# SPDX-License-Identifier: GPL-3.0-or-later
"""The units: hardened as promised, starting commands that exist, and keeping the worker from keys and database."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ivr.cli import COMMANDS, main
from ivr.node.initialise import initialise
from ivr.node.settings import Settings
from ivr.packaged import packaged

UNITS = Path(__file__).parents[2] / "systemd"
SERVICES = ("ivr-ledger.service", "ivr-pool.service", "ivr-retention.service", "ivr-archive.service")
SERVICES += ("ivr-watch.service", "ivr-anchor.service", "ivr-edge.service")
TIMERS = ("ivr-retention.timer", "ivr-watch.timer", "ivr-anchor.timer")
HOME = "/var/lib/ivr"


def settings_of(unit: str) -> dict[str, list[str]]:
    """Each setting of a unit with every value it is given, in order."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / unit).read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", "[")):
            found.setdefault(name, []).append(value)
    return found


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(ms|s|min|h)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"ms": 0.001, "s": 1, "min": 60, "h": 3600}[unit]


# -- hardening -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", SERVICES)
def test_exposure_is_under_two(unit: str, tmp_path: Path) -> None:
    # An instance, because `systemd-analyze` takes no template.
    file = tmp_path / unit.replace("@.", "@1.")
    shutil.copy(UNITS / unit, file)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=19", "--no-pager", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert level is not None, done.stderr
    assert float(level[1]) < 2.0
    assert done.returncode == 0


def test_systemd_finds_nothing_wrong_in_the_units(tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/assent/bin/ivr", str(Path(sys.executable).parent / "ivr"))
        (tmp_path / unit.name).write_text(text)
    names = [*SERVICES, *TIMERS, "ivr.target"]
    files = [str(tmp_path / name.replace("@.", "@1.")) for name in names]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *files],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", SERVICES)
def test_every_command_line_is_one_that_ivr_has(unit: str, tmp_path: Path) -> None:
    """Click itself parses what systemd would start, so a renamed option is found here."""
    found = settings_of(unit)
    lines = [line for key in ("ExecStart", "ExecStartPre", "ExecStop") for line in found.get(key, [])]
    for line in lines:
        program, *arguments = shlex.split(line.removeprefix("-").replace("%i", "1").replace(HOME, str(tmp_path)))
        assert program == "/opt/assent/bin/ivr"
        command: click.Command = main
        context = click.Context(main, info_name="ivr")
        while isinstance(command, click.Group):
            name = arguments.pop(0)
            child = command.get_command(context, name)
            assert child is not None, f"{unit}: `ivr {name}`"
            command, context = child, click.Context(child, parent=context, info_name=name)
        command.parse_args(context, arguments)
    assert shlex.split(found["ExecStart"][0])[1] in COMMANDS


@pytest.mark.parametrize("unit", SERVICES)
def test_every_command_line_names_the_servers_folder(unit: str) -> None:
    """systemd starts all in `/`, where no server is: without this a timer fails every night, and nobody is asked."""
    found = settings_of(unit)
    for key in ("ExecStartPre", "ExecStart", "ExecReload", "ExecStop"):
        for line in found.get(key, []):
            if line.removeprefix("-").startswith("/opt/assent/"):
                words = shlex.split(line)
                assert words[-2:] == ["--config", HOME] or f"--config {HOME} " in line, f"{unit}: {line}"


def test_no_audio_reaches_a_disk_by_way_of_the_system() -> None:
    worker = settings_of("ivr-pool.service")
    assert worker["MemorySwapMax"] == ["0"]
    for unit in SERVICES:
        assert settings_of(unit)["LimitCORE"] == ["0"]
        assert settings_of(unit)["UMask"] == ["0077"]


def test_running_calls_may_finish() -> None:
    drain = Settings.load(packaged("config")).limits.drain_timeout.ms / 1000
    assert seconds(settings_of("ivr-pool.service")["TimeoutStopSec"][0]) > drain + 20


@pytest.mark.parametrize("unit", ["ivr-ledger.service", "ivr-pool.service"])
def test_processes_that_serve_say_ready_and_are_watched(unit: str) -> None:
    found = settings_of(unit)
    assert found["Type"] == ["notify"]
    assert seconds(found["WatchdogSec"][0]) >= 10
    assert found["Restart"] == ["always"]


def test_the_worker_starts_with_rendered_prompts_and_outlives_its_ledger() -> None:
    worker = settings_of("ivr-pool.service")
    assert "prompts render" in worker["ExecStartPre"][0]
    assert "ivr-ledger.service" in worker["Wants"][0]
    assert "ivr-ledger.service" in worker["After"][0]
    assert "Requires" not in worker
    assert "BindsTo" not in worker


def test_workers_outlive_their_manager_and_are_renewed_by_a_reload() -> None:
    pool = settings_of("ivr-pool.service")
    # A manager that is killed leaves workers with calls behind, and the next one starts at once beside them.
    assert pool["KillMode"] == ["process"]
    assert pool["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


@pytest.mark.parametrize("unit", [unit for unit in SERVICES if "Restart" in settings_of(unit)])
def test_what_fails_for_long_is_started_again_for_ever(unit: str) -> None:
    """Else systemd gives up after five starts in ten seconds, and a server stays down after its database is back."""
    found = settings_of(unit)
    assert (found["Restart"], found["StartLimitIntervalSec"]) == (["always"], ["0"])


def test_workers_that_their_manager_left_have_a_folder_for_temporary_files() -> None:
    """A private /tmp goes with the unit's main process, and a recording could not begin without one."""
    pool = settings_of("ivr-pool.service")
    (temporary,) = [value.partition("=")[2] for value in pool["Environment"] if value.startswith("TMPDIR=")]
    assert temporary in pool["ReadWritePaths"][0].split()
    assert may("ivr-worker", 7, temporary)
    assert not may("ivr-edge", 1, temporary)


def test_the_archiver_does_not_insist_on_what_its_unit_set() -> None:
    """`nice` is among @resources, and even nice(0) is refused."""
    unit = UNITS / "ivr-archive.service"
    program = "import os; from ivr.node.archive import give_way; give_way(); print(os.getpriority(os.PRIO_PROCESS, 0))"
    confine = Path(__file__).parents[1] / "confine.py"
    done = subprocess.run(
        ["nice", "-n", settings_of(unit.name)["Nice"][0], sys.executable, confine, unit, sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.strip(), done.stderr) == (settings_of(unit.name)["Nice"][0], "")


# -- who may touch what ----------------------------------------------------------------------------------------------


def test_the_ledger_knows_its_workers_by_their_user_and_hears_no_group_that_a_unit_has() -> None:
    ledger, worker = settings_of("ivr-ledger.service"), settings_of("ivr-pool.service")
    assert ledger["User"] != worker["User"]
    assert ledger["Group"] == worker["Group"] == ["ivr"]  # of the socket
    words = shlex.split(ledger["ExecStart"][0])
    assert words[words.index("--user") + 1 :][:3] == [*worker["User"], "--group", "ivr-desk"]
    others = [unit for unit in SERVICES if settings_of(unit)["User"] not in (ledger["User"], worker["User"])]
    assert set(others) == {"ivr-edge.service", "ivr-archive.service"}
    for unit in SERVICES:
        found = settings_of(unit)
        assert "ivr-desk" not in [*found["Group"], *found.get("SupplementaryGroups", [])]
    declared = (UNITS / "ivr.sysusers").read_text()
    for user in (ledger["User"][0], worker["User"][0]):
        assert re.search(rf"^u {user} +-:ivr ", declared, re.MULTILINE)


def test_the_users_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", str(UNITS / "ivr.sysusers")], check=True, timeout=60)
    passwd = (tmp_path / "etc/passwd").read_text()
    groups = {line.split(":")[0]: line.split(":")[2] for line in (tmp_path / "etc/group").read_text().splitlines()}
    for user, group in (("ivr-ledger", "ivr"), ("ivr-worker", "ivr"), ("ivr-archive", "ivr"), ("ivr-edge", "ivr-edge")):
        assert re.search(rf"^{user}:[^:]*:\d+:{groups[group]}:", passwd, re.MULTILINE)
    assert "ivr-desk" in groups


def table() -> list[tuple[str, str, int, str, str]]:
    """The rows of ivr.tmpfiles: type, path, mode, user, group."""
    rows = []
    for line in (UNITS / "ivr.tmpfiles").read_text().splitlines():
        if line and not line.startswith("#"):
            kind, path, mode, user, group, _age = line.split()
            rows.append((kind, path, int(mode.lstrip("~"), 8), user, group))
    return rows


def may(user: str, want: int, path: str) -> bool:
    """What the table lets a user of group ivr do (4 read, 2 write, 1 pass) with a path, every folder above included."""
    rows = {row[1]: row for row in table()}
    for place in [path, *map(str, Path(path).parents)]:
        row = rows.get(place)
        if row is None:
            continue
        _, _, mode, owner, group = row
        groups = ("ivr", "ivr-ledger") if user == "ivr-ledger" else ("ivr",)
        bits = mode >> 6 if owner == user else mode >> 3 if group in groups else mode
        if not bits & (want if place == path else 1):
            return False
    return True


RIGHTS = [
    ("ivr-ledger", 4, f"{HOME}/keys/ledger.key", True),
    ("ivr-ledger", 4, f"{HOME}/keys/pseudonym.key", True),
    ("ivr-ledger", 2, f"{HOME}/data", True),
    ("ivr-ledger", 2, f"{HOME}/run", True),
    ("ivr-ledger", 6, f"{HOME}/data/recordings", True),
    ("ivr-ledger", 4, f"{HOME}/data/keystore", False),
    ("ivr-ledger", 6, f"{HOME}/data/subjects", True),
    ("ivr-worker", 4, f"{HOME}/data/subjects", False),
    ("ivr-worker", 2, f"{HOME}/keys/people.txt", False),
    ("ivr-ledger", 2, f"{HOME}/keys/people.txt", False),
    ("ivr-ledger", 4, f"{HOME}/keys/officer.age", False),
    ("ivr-ledger", 2, f"{HOME}/keys", False),
    ("ivr-worker", 4, f"{HOME}/keys/ledger.key", False),
    ("ivr-worker", 4, f"{HOME}/keys/pseudonym.key", False),
    ("ivr-worker", 4, f"{HOME}/keys/officer.age", False),
    ("ivr-worker", 4, f"{HOME}/keys/ledger.vkey", True),
    ("ivr-worker", 4, f"{HOME}/keys/recipients.txt", True),
    ("ivr-worker", 2, f"{HOME}/keys", False),
    ("ivr-worker", 2, f"{HOME}/server.yaml", False),
    ("ivr-worker", 2, f"{HOME}/flows", False),
    ("ivr-worker", 4, f"{HOME}/data/log.sqlite*", False),
    ("ivr-worker", 2, f"{HOME}/data", False),
    ("ivr-worker", 6, f"{HOME}/data/recordings", True),
    ("ivr-worker", 6, f"{HOME}/data/keystore", True),
    ("ivr-worker", 1, f"{HOME}/run", True),
    ("ivr-worker", 2, f"{HOME}/run", False),
    ("ivr-worker", 7, f"{HOME}/run/pool", True),
    ("ivr-edge", 1, f"{HOME}/run/pool", False),
    ("ivr-archive", 1, f"{HOME}/run/pool", False),
]


@pytest.mark.parametrize(("user", "want", "path", "allowed"), RIGHTS)
def test_the_table_of_modes_separates_ledger_and_worker(user: str, want: int, path: str, allowed: bool) -> None:
    assert path in {row[1] for row in table()}
    assert may(user, want, path) is allowed


def test_the_table_covers_everything_that_init_makes(tmp_path: Path) -> None:
    made = initialise(tmp_path / "ivr", "example.org/log")
    for path in made.folder.rglob("*"):
        name = f"{HOME}/{path.relative_to(made.folder)}"
        rows = [row for row in table() if Path(name).match(row[1]) or (row[0] == "Z" and name.startswith(row[1] + "/"))]
        assert rows, f"ivr.tmpfiles says nothing of {name}"


def test_every_path_of_a_unit_is_one_that_init_makes(tmp_path: Path) -> None:
    made = initialise(tmp_path / "ivr", "example.org/log")
    for unit in SERVICES:
        found = settings_of(unit)
        for value in [*found.get("ReadWritePaths", []), *found.get("InaccessiblePaths", [])]:
            for path in value.split():
                name = path.lstrip("-").replace(HOME, str(made.folder))
                # SQLite's own files come and go.
                # The archive's folder is there where an archive is set, and comes with ivr-archive.tmpfiles.
                if name in (f"{made.folder}/data/archive", f"{made.folder}/run/edge"):
                    assert path.startswith("-")
                    continue
                assert Path(name.removesuffix("-wal").removesuffix("-shm")).exists(), f"{unit}: {path}"


def test_the_worker_cannot_even_see_what_it_may_not_read() -> None:
    hidden = " ".join(settings_of("ivr-pool.service")["InaccessiblePaths"]).replace("-/", "/").split()
    for name in ("keys/ledger.key", "keys/pseudonym.key", "keys/officer.age", "data/log.sqlite", "data/subjects"):
        assert f"{HOME}/{name}" in hidden


def test_the_edge_is_a_user_of_its_own_that_sees_no_key_and_no_recording() -> None:
    found = settings_of("ivr-edge.service")
    assert found["User"] == ["ivr-edge"]
    assert (found["Group"], found["SupplementaryGroups"]) == (["ivr-edge"], ["ivr"])
    # Who may open its RPC socket can place calls: the pool, and neither the archiver nor the ledger.
    assert [unit for unit in SERVICES if "ivr-edge" in settings_of(unit).get("SupplementaryGroups", [])] == [
        "ivr-pool.service"
    ]
    assert re.search(r"^u ivr-edge +-:ivr-edge ", (UNITS / "ivr.sysusers").read_text(), re.MULTILINE)
    assert re.search(
        rf"^d {HOME}/run/edge +0750 ivr-edge +ivr-edge ", (UNITS / "ivr-edge.tmpfiles").read_text(), re.MULTILINE
    )
    assert found["ReadWritePaths"] == [f"-{HOME}/run/edge"]
    hidden = " ".join(found["InaccessiblePaths"]).replace("-/", "/").split()
    for name in ("keys/ledger.key", "keys/pseudonym.key", "keys/officer.age", "data"):
        assert f"{HOME}/{name}" in hidden
    # Readiness is said by a process beside Kamailio, which has no part of systemd.
    assert (found["Type"], found["NotifyAccess"]) == (["notify"], ["all"])
    assert found["Conflicts"] == ["kamailio.service"]


def test_the_archiver_has_the_stores_credentials_and_no_other_secret() -> None:
    found = settings_of("ivr-archive.service")
    assert found["User"] == ["ivr-archive"]
    assert re.search(r"^u ivr-archive +-:ivr ", (UNITS / "ivr.sysusers").read_text(), re.MULTILINE)
    assert found["CapabilityBoundingSet"] == [""]
    hidden = " ".join(found["InaccessiblePaths"]).replace("-/", "/").split()
    for name in ("keys/ledger.key", "keys/pseudonym.key", "keys/officer.age", "data/log.sqlite", "data/subjects"):
        assert f"{HOME}/{name}" in hidden
    assert f"{HOME}/data/keystore" in hidden
    rows = (UNITS / "ivr-archive.tmpfiles").read_text()
    assert re.search(rf"^z {HOME}/keys/archive.ini +0600 ivr-archive ", rows, re.MULTILINE)
    assert re.search(rf"^d {HOME}/data/archive +0770 ivr-archive ivr ", rows, re.MULTILINE)


@pytest.mark.parametrize("unit", ["ivr-watch.service", "ivr-anchor.service"])
def test_watch_and_anchoring_read_the_log_and_see_no_secret(unit: str) -> None:
    found = settings_of(unit)
    assert (found["User"], found["Type"]) == (["ivr-ledger"], ["oneshot"])
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == [""]
    hidden = " ".join(found["InaccessiblePaths"]).replace("-/", "/").split()
    for name in ("keys/ledger.key", "keys/pseudonym.key", "keys/officer.age", "data/subjects"):
        assert f"{HOME}/{name}" in hidden
    # Whoever talks to a network sees no audio, sealed or not; whoever looks at the audio talks to nobody.
    assert (f"{HOME}/data/recordings" in hidden) is ("PrivateNetwork" not in found)


def test_every_timer_starts_a_service_and_the_target_starts_those_that_all_need() -> None:
    for timer in TIMERS:
        assert (UNITS / timer.replace(".timer", ".service")).exists()
        assert settings_of(timer)["WantedBy"] == ["ivr.target"]
    wanted = settings_of("ivr.target")["Wants"][0].split()
    # Nobody outside is asked unless somebody is named in server.yaml.
    assert {name for name in wanted if name.endswith(".timer")} == {"ivr-retention.timer", "ivr-watch.timer"}


def test_the_table_of_modes_names_each_path_once() -> None:
    paths = [row[1] for row in table()]
    assert sorted(set(paths)) == sorted(paths)


def test_retention_reads_the_log_and_erases_what_the_worker_made_and_sees_no_secret() -> None:
    found = settings_of("ivr-retention.service")
    assert found["User"] == ["ivr-ledger"]
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == ["CAP_DAC_OVERRIDE"]
    hidden = " ".join(found["InaccessiblePaths"]).replace("-/", "/").split()
    for name in ("keys/ledger.key", "keys/pseudonym.key", "keys/officer.age", "data/subjects"):
        assert f"{HOME}/{name}" in hidden


if os.geteuid() == 0:  # the kernel's own word on it, where this may become another user
    LEDGER, WORKER, GROUP, LEDGER_GROUP, OTHER, DESK_GROUP = 60_001, 60_002, 60_003, 60_004, 60_005, 60_006

    @pytest.fixture
    def home() -> Iterator[Path]:
        """A server's folder with the owners and modes of ivr.tmpfiles, where other users can get at it."""
        base = Path(tempfile.mkdtemp(prefix="assent-modes-"))
        base.chmod(0o755)
        made = initialise(base / "ivr", "example.org/log").folder
        text = (UNITS / "ivr.tmpfiles").read_text().replace(HOME, str(made))
        # Numbers, so that the machine needs no new users.
        for name, number in (("root +ivr-ledger", f"0 {LEDGER_GROUP}"), ("ivr-ledger", LEDGER), ("ivr-worker", WORKER)):
            text = re.sub(rf"(?<= ){name}(?= )", str(number), text)
        rules = base / "ivr.conf"
        rules.write_text(re.sub(r"(?<= )ivr(?= )", str(GROUP), text))
        for _ in range(2):  # at every boot: what it made must be what it accepts
            subprocess.run(["systemd-tmpfiles", "--create", str(rules)], check=True, timeout=60)
        yield made
        shutil.rmtree(base)

    def as_user(uid: int, module: str, program: str, *arguments: str) -> "subprocess.Popen[str]":
        """Runs Python as this user of the shared group, with what it needs imported before it becomes that user."""
        groups = [LEDGER_GROUP] if uid == LEDGER else []
        become = f"import os; os.setgroups({groups}); os.setgid({GROUP}); os.setuid({uid}); os.umask(0o077)"
        lines = [f"import asyncio, sys, encodings.idna, {module}", become, program]
        return subprocess.Popen(
            [sys.executable, "-c", "\n".join(lines), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    APPEND = """
async def append():
    client = await ivr.ledger.client.LedgerClient.connect(sys.argv[1], "w", wait=20)
    print((await client.append("node.draining", call=None, data={"reason": "test"})).seq)
    await client.close()
asyncio.run(append())
"""
    TOUCH = """
for name in ("keys/ledger.key", "keys/pseudonym.key", "keys/officer.age", "data/log.sqlite"):
    try:
        open(sys.argv[1] + "/" + name).close()
    except PermissionError:
        continue
    print("can read", name)
for name in ("keys/x", "data/x", "run/x", "server.yaml", "flows/support.yaml"):
    try:
        open(sys.argv[1] + "/" + name, "a").close()
    except PermissionError:
        continue
    print("can write", name)
from pathlib import Path
home = Path(sys.argv[1])
store = ivr.vault.store.RecordingStore(home / "data/recordings", home / "data/keystore", home / "keys/recipients.txt")
store.create("01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058")
store.add("01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058", 0, 0, 10, b"sealed")
print("recorded")
"""
    LIST = """
from pathlib import Path
home = Path(sys.argv[1])
store = ivr.vault.store.RecordingStore(home / "data/recordings", home / "data/keystore", None)
part = store.folder("01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058")
(part / ".x.assent-part-1").touch()
print(store.remove_leftovers(part.parent.name, part.name), len(store.inventory(part.parent.name, part.name)))
try:
    list(store.keystore.iterdir())
except PermissionError:
    print("no keystore")
"""

    def said(process: "subprocess.Popen[str]") -> str:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out

    def failed(process: "subprocess.Popen[str]") -> str:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (1, "")
        return err

    def test_the_kernel_lets_the_worker_append_and_record_and_nothing_more(home: Path) -> None:
        allowed = f"Access(frozenset([{WORKER}]), frozenset([{DESK_GROUP}]))"
        serve = f"ivr.cli.ledger._access = lambda *_: ivr.cli.ledger.{allowed}"
        run = "ivr.cli.ledger.command(['--config', sys.argv[1]])"
        ledger = as_user(LEDGER, "ivr.cli.ledger, sqlalchemy.dialects.sqlite", f"{serve}\n{run}", str(home))
        try:
            assert int(said(as_user(WORKER, "ivr.ledger.client", APPEND, str(home / "run/ledger.sock")))) > 1
            # Of the same primary group, as the archiver is.
            once = APPEND.replace("wait=20", "wait=0.5")  # it is up
            assert "LedgerUnavailable" in failed(
                as_user(OTHER, "ivr.ledger.client", once, str(home / "run/ledger.sock"))
            )
            assert said(as_user(WORKER, "ivr.vault.store", TOUCH, str(home))) == "recorded\n"
            assert said(as_user(LEDGER, "ivr.vault.store", LIST, str(home))) == "['.x.assent-part-1'] 1\nno keystore\n"
            assert ledger.poll() is None
        finally:
            ledger.terminate()
            ledger.communicate(timeout=20)
