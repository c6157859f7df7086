# SPDX-License-Identifier: GPL-3.0-or-later
"""server.yaml: defaults, paths, and what it refuses."""

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from ivr.flow.place import FileError
from ivr.node.settings import Settings
from ivr.packaged import packaged


def load(folder: Path, text: str) -> Settings:
    (folder / "server.yaml").write_text(text)
    return Settings.load(folder)


def test_every_path_is_read_from_the_folder_of_the_file(tmp_path: Path) -> None:
    for text in ("", "ledger:\nstorage: {}\n", "storage: {recordings: data/recordings}\n"):
        settings = load(tmp_path, text)
        assert settings.folder == tmp_path
        assert settings.ledger.socket == tmp_path / "run/ledger.sock"
        assert settings.storage.recordings == tmp_path / "data/recordings"
        assert settings.storage.database == tmp_path / "data/log.sqlite"
        assert settings.keys.ledger == tmp_path / "keys/ledger.key"
        assert settings.prompts.cache == tmp_path / "cache/prompts"
        assert settings.flows == tmp_path / "flows"
    assert load(tmp_path, "storage: {recordings: /srv/rec}").storage.recordings == Path("/srv/rec")


def test_a_relative_folder_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server.yaml").write_text("")
    assert Settings.load(Path()).keys.ledger == tmp_path / "keys/ledger.key"


def test_the_shipped_file_names_every_setting_with_its_default(tmp_path: Path) -> None:
    text = (packaged("config") / "server.yaml").read_text()
    assert load(tmp_path, text) == load(tmp_path, "")
    shown = yaml.safe_load(
        text.replace("# public_address: 192.0.2.10", "public_address: 192.0.2.10")
        .replace("# folder", "folder")
        .replace("# archive:", "archive:")
    )
    assert keys_of(Settings) == {
        (group, name) for group, names in shown.items() for name in (names if isinstance(names, dict) else [""])
    }


def keys_of(model: type[BaseModel]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for name, field in model.model_fields.items():
        inner = field.annotation
        is_group = isinstance(inner, type) and issubclass(inner, BaseModel)
        found |= {(name, key) for key in inner.model_fields} if is_group else {(name, "")}  # type: ignore[union-attr]
    return found


def test_every_setting_says_what_it_means() -> None:
    silent = [key for key in walk(Settings, "settings") if key]
    assert silent == []


def walk(model: type[BaseModel], at: str) -> list[str]:
    silent = []
    for name, field in model.model_fields.items():
        if not field.description:
            silent.append(f"{at}.{name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            silent += walk(field.annotation, f"{at}.{name}")
    return silent


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("sip:\n  prot: 5060", "2:3", "unknown key `prot`; expected address, port, .* .did you mean 'port'"),
        ("sips: {}", "1:1", "unknown key `sips`; expected sip, .* .did you mean 'sip'"),
        ("sip: {port: 99999}", "1:13", "less than or equal to 65535"),
        ("sip: {port: sixty}", "1:13", "`port` cannot be 'sixty'; expected a whole number"),
        ("sip: {address: '::1'}", "1:16", "is IPv6, which the SIP stack was built without"),
        ("sip: {address: localhost}", "1:16", "is not an IP address"),
        ("sip: {codecs: [PCMA, G711]}", "1:22", "'G711' is not a known codecs; expected PCMU, PCMA or G722"),
        ("sip: {codecs: []}", "1:7", "`codecs` is empty; expected at least one"),
        ("sip: {codecs: [PCMA, PCMA]}", "1:22", "PCMA is listed twice"),
        ("sip: {transports: [tls]}", "1:20", "'tls' is not a known transports; expected udp or tcp"),
        ("media: {port: 16001}", "1:15", "port 16001 is odd"),
        ("media: {port: 65000, port_range: 1000}", "1:34", "end past 65535"),
        ("media: {port: 5000}", "1:1", "port 5060 is inside the RTP ports 5000 to 5199"),
        ("media: {port_range: 6}", "1:21", "6 ports are too few for 2 bridged calls"),
        ("media: {public_address: 0.0.0.0}", "1:25", "0.0.0.0 in SDP means on hold"),
        ("limits: {calls: 3}", "1:17", "less than or equal to 2"),
        ("limits: {max_call_time: 5s}", "1:25", "end before a notice does"),
        ("ledger: {permit_timeout: 500}", "1:26", "500 is not a time"),
        ("ledger: {permit_timeout: 1 min}", "1:26", "between 50ms and 5s"),
        ("ledger: {answer_timeout: 100ms}", "1:26", "between 500ms and 30s"),
        ("log: {level: loud}", "1:14", "'loud' is not a known level; expected debug, info, warning or error"),
        ("prompts: {voices: {english: en}}", "1:20", "'english' is not a language"),
    ],
)
def test_refused(tmp_path: Path, text: str, place: str, what: str) -> None:
    with pytest.raises(FileError, match=what) as caught:
        load(tmp_path, text)
    (mistake,) = caught.value.mistakes
    assert f"{mistake.line}:{mistake.column}" == place


def test_no_file_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=f"expected ivr init {tmp_path}"):
        Settings.load(tmp_path)
