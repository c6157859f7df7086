# SPDX-License-Identifier: GPL-3.0-or-later
"""What setting up the tests does to a machine: services that came with a package are stopped, others are left alone."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci/debian"
NEEDED = "cc espeak-ng ffmpeg sipp age flac strace ip systemd-analyze openssl go promtool python3"
PLACES = ("/usr/sbin/kamailio", "/usr/include/", "/usr/lib/", "/usr/share/", "/run/systemd/system", "/etc/init.d")


def set_up(root: Path, missing: set[str], *, systemd: bool = True, fails: bool = False) -> tuple[int, list[str]]:
    """Runs the script on a machine made of stubs, below `root`, that lacks these; its status and what was run."""
    commands, did = root / "bin", root / "did"
    commands.mkdir()
    recorder = f'#!/bin/sh\necho "${{0##*/}} $*" >> {did}\n'
    for name in {*NEEDED.split(), "apt-get", "systemctl"} - missing:
        (commands / name).write_text(recorder + ("exit 1\n" if fails and name == "systemctl" else ""))
        (commands / name).chmod(0o755)
    (commands / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (commands / "sudo").chmod(0o755)
    for name in ("sh", "ls", "id", "env"):
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
    return done.returncode, [line for line in lines if line.startswith(("systemctl", "init.d", "apt-get install"))]


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
    status, did = set_up(tmp_path, missing)
    assert status == 0
    assert did[0].startswith("apt-get install")
    assert did[1:] == [f"systemctl disable --now {service}.service" for service in stopped]


def test_without_systemd_the_init_script_stops_it(tmp_path: Path) -> None:
    assert set_up(tmp_path, {"promtool"}, systemd=False)[1][1:] == ["init.d/prometheus stop"]


def test_a_service_that_cannot_be_stopped_does_not_end_the_setup(tmp_path: Path) -> None:
    status, did = set_up(tmp_path, {"promtool", "postgresql"}, fails=True)
    assert (status, len(did)) == (0, 3)


def test_a_machine_that_has_all_is_left_as_it_is(tmp_path: Path) -> None:
    assert set_up(tmp_path, set()) == (0, [])
