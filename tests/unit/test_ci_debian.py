# SPDX-License-Identifier: GPL-3.0-or-later
"""What setting up does to a machine: services that came with a package are stopped, others are left alone; and what it
says where it may do nothing."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci/debian"
NEEDED = "cc espeak-ng ffmpeg sipp age flac strace ip systemd-analyze ps openssl go promtool python3"
PLACES = ("/usr/sbin/kamailio", "/usr/include/", "/usr/lib/", "/usr/share/", "/run/systemd/system", "/etc/init.d")


@dataclass(frozen=True)
class Done:
    status: int
    said: str
    did: list[str]  # what was run that changes a machine


def set_up(
    root: Path, missing: set[str], *, systemd: bool = True, fails: Sequence[str] = (), user: int = 0, sudo: bool = True
) -> Done:
    """Runs the script on a machine made of stubs, below `root`, that lacks these packages' commands."""
    commands, did = root / "bin", root / "did"
    commands.mkdir()
    for name in {*NEEDED.split(), "apt-get", "systemctl", *(["sudo"] if sudo else [])} - missing:
        end = "exit 1\n" if name in fails else 'exec "$@"\n' if name == "sudo" else ""
        (commands / name).write_text(f'#!/bin/sh\necho "${{0##*/}} $*" >> {did}\n{end}')
        (commands / name).chmod(0o755)
    (commands / "id").write_text(f'#!/bin/sh\n[ "$1" = -u ] && echo {user} || echo anna\n')
    (commands / "id").chmod(0o755)
    for name in ("sh", "ls", "env"):
        (commands / name).symlink_to(str(shutil.which(name)))
    there = {
        "kamailio": "usr/sbin/kamailio",
        "kamailio-tls-modules": "usr/lib/any/kamailio/modules/tls.so",
        "postgresql": "usr/lib/postgresql/15/bin/initdb",
        "libc6-dev": "usr/include/time.h",
        "tlog": "usr/share/gocode/src/golang.org/x/mod/sumdb/tlog/x",
    }
    for package, file in there.items():
        if package not in missing:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text("#!/bin/sh\n")
            (root / file).chmod(0o755)
    if systemd:
        (root / "run/systemd/system").mkdir(parents=True)
    for service in ("kamailio", "prometheus", "postgresql"):
        file = root / "etc/init.d" / service
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'#!/bin/sh\necho "init.d/{service} $*" >> {did}\n')
        file.chmod(0o755)
    text = SCRIPT.read_text()
    for place in PLACES:
        assert place in text
        text = text.replace(place, f"{root}{place}")
    script = root / "debian"
    script.write_text(text)
    done = subprocess.run(
        [str(shutil.which("sh")), str(script), "python3"],
        env={"PATH": str(commands)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = did.read_text().splitlines() if did.exists() else []
    changes = [line for line in lines if line.startswith(("systemctl", "init.d", "apt-get install"))]
    return Done(done.returncode, done.stderr, changes)


@pytest.mark.parametrize(
    ("missing", "stopped"),
    [
        ({"promtool"}, ["prometheus"]),
        ({"postgresql"}, ["postgresql"]),
        ({"kamailio", "kamailio-tls-modules", "promtool"}, ["prometheus", "kamailio"]),
        ({"kamailio-tls-modules"}, []),  # of a proxy that somebody uses
        ({"ffmpeg"}, []),
        ({"libc6-dev"}, []),
    ],
)
def test_what_came_with_a_package_is_stopped_and_nothing_else(
    missing: set[str], stopped: list[str], tmp_path: Path
) -> None:
    done = set_up(tmp_path, missing)
    assert done.status == 0
    assert done.did[0].startswith("apt-get install")
    assert done.did[1:] == [f"systemctl disable --now {service}.service" for service in stopped]


def test_without_systemd_the_init_script_stops_it(tmp_path: Path) -> None:
    assert set_up(tmp_path, {"promtool"}, systemd=False).did[1:] == ["init.d/prometheus stop"]


def test_a_service_that_cannot_be_stopped_does_not_end_the_setup(tmp_path: Path) -> None:
    done = set_up(tmp_path, {"promtool", "postgresql"}, fails=["systemctl"])
    assert (done.status, len(done.did)) == (0, 3)
    assert "postgresql, which came with its package, may still run" in done.said


def test_a_machine_that_has_all_is_left_as_it_is(tmp_path: Path) -> None:
    assert set_up(tmp_path, set(), user=1000, sudo=False) == Done(0, "", [])


BY_HAND = """\
    apt-get update
    apt-get install --no-install-recommends ffmpeg prometheus
    systemctl disable --now prometheus
setup: and then make again.
"""


def test_who_is_not_root_and_has_no_sudo_is_told_what_to_run(tmp_path: Path) -> None:
    done = set_up(tmp_path, {"ffmpeg", "promtool"}, user=1000, sudo=False)
    assert (done.status, done.did) == (1, [])
    assert "anna may not install them" in done.said
    assert done.said.endswith(BY_HAND)


@pytest.mark.parametrize("refuses", ["sudo", "apt-get"])
def test_so_is_who_has_a_sudo_or_an_apt_get_that_refuses(refuses: str, tmp_path: Path) -> None:
    done = set_up(tmp_path, {"ffmpeg", "promtool"}, user=1000, fails=[refuses])
    assert (done.status, done.did) == (1, [])
    assert done.said.endswith(BY_HAND)


def test_where_there_is_no_systemd_nobody_is_told_to_use_it(tmp_path: Path) -> None:
    assert "systemctl" not in set_up(tmp_path, {"promtool"}, systemd=False, user=1000, sudo=False).said


def test_with_sudo_the_packages_are_installed(tmp_path: Path) -> None:
    done = set_up(tmp_path, {"ffmpeg"}, user=1000)
    assert (done.status, len(done.did)) == (0, 1)
    assert "sudo env DEBIAN_FRONTEND=noninteractive apt-get install" in (tmp_path / "did").read_text()


def test_where_there_is_no_apt_get_the_packages_are_named(tmp_path: Path) -> None:
    done = set_up(tmp_path, {"ffmpeg", "age", "apt-get"})
    assert (done.status, done.said) == (
        1,
        "setup: this is no Debian; please install what these packages hold: ffmpeg age\n",
    )


def test_a_python_that_is_of_no_use_is_named_before_anything_is_installed(tmp_path: Path) -> None:
    done = set_up(tmp_path, {"ffmpeg"}, fails=["python3"])
    assert (done.status, done.did) == (1, [])
    assert "Python 3.11 or 3.12 is needed" in done.said
