# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of values in server.yaml that several groups share."""

from enum import StrEnum
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le
from phonenumbers import SUPPORTED_REGIONS
from pydantic import AfterValidator, PlainValidator, ValidationInfo, WithJsonSchema

from ivr.flow.yamlfile import Rules, rule_error
from ivr.ledger.database import Database, DatabaseError, Postgres, database_of


def _ipv4(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError as error:
        raise rule_error(f"{text!r} is not an IP address", "an IPv4 address such as 192.0.2.10") from error
    if not isinstance(address, IPv4Address):
        raise rule_error(f"{text!r} is IPv6, which the SIP stack was built without", "an IPv4 address")
    return text


Ipv4 = Annotated[str, AfterValidator(_ipv4), WithJsonSchema({"type": "string", "format": "ipv4"})]


def _region(text: str) -> str:
    if text not in SUPPORTED_REGIONS:
        raise rule_error(f"{text!r} is no country with telephone numbers", "an ISO 3166 code such as DE or GB")
    return text


Region = Annotated[str, AfterValidator(_region), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{2}$"})]
Port = Annotated[int, Ge(1), Le(65535)]


def _database(value: object, info: ValidationInfo) -> Database:
    if not isinstance(value, str | Path | Postgres) or value == "":
        raise rule_error("no file and no address", "a SQLite file, or postgresql://user@host/database?schema=name")
    try:
        place = database_of(value) if isinstance(value, str) else value
    except DatabaseError as error:
        raise rule_error(error.what, error.expected) from error
    folder = (info.context or {}).get("folder")
    return Path(folder) / place if isinstance(place, Path) and folder is not None else place


LogPlace = Annotated[Path | Postgres, PlainValidator(_database), WithJsonSchema({"type": "string"})]
"""Where a log is: a path that is read from the folder of the YAML file, or the address of a database."""


def no_repeats(rules: Rules, name: str, values: tuple[StrEnum, ...]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            rules.refuse((name, index), f"{value} is listed twice", "each one once")


class Codec(StrEnum):
    """An audio codec, by its RTP name."""

    PCMU = "PCMU"
    PCMA = "PCMA"
    G722 = "G722"


class Transport(StrEnum):
    """How SIP messages travel. TLS ends at the edge."""

    UDP = "udp"
    TCP = "tcp"


class LogLevel(StrEnum):
    """The least important lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """What a log line looks like."""

    TEXT = "text"
    JSON = "json"


class LogPersonal(StrEnum):
    """What becomes of personal data in lines."""

    MASKED = "masked"
    CLEAR = "clear"
