# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr prompts`: render what a server says, list it with lengths and levels, check it, and try a text."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ivr.cli.exits import Exit
from ivr.flow.library import Library
from ivr.flow.load import load_flows
from ivr.flow.place import FileError
from ivr.flow.prompts import PromptSpec, findings_of, needed_prompts, render_all
from ivr.flow.shipped import MANIFEST, example_prompts, manifest_findings, manifest_text
from ivr.node.settings import Settings
from ivr.packaged import packaged
from media.audio import AudioError, read, write
from media.cache import CALL_RATES, PromptCache, Spoken
from media.check import judge
from media.loudness import Loudness, measure
from media.tts import Engine, SpeaksOnce, engine_named

_config = click.option(
    "--config",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    metavar="DIR",
    help="The server's folder (default: this one).",
)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


@click.group()
def command() -> None:
    """Render, list, check and try prompts."""


@command.command()
@_config
def render(folder: Path) -> None:
    """Render all that the flows of a server can say, at every call rate; exit 1 when something cannot be said."""
    with _told():
        specs, cache, engine = _server(folder)
        report = render_all(specs, cache, engine)
    for failure in report.failures:
        click.echo(f"{failure.spec.language} {failure.spec.name} at {failure.rate} Hz: {failure.what}")
    click.echo(f"{len(report.files)} files for {len(specs)} prompts in {cache.folder}", err=True)
    if not report.complete:
        raise click.exceptions.Exit(Exit.CHECK_FAILED)


@command.command("list")
@_config
@_json
def list_(folder: Path, as_json: bool) -> None:
    """List the prompts of a server: length, level and peak of each file, and its words."""
    with _told():
        specs, cache, _ = _server(folder)
        rows = [row for spec in specs for row in _rows(spec, cache)]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for row in rows:
        state = row["state"]
        if state == "rendered":
            state = f"{row['seconds']:6.2f} s {row['active_dbfs']:6.1f} dBFS, peak {row['true_peak_dbfs']:5.1f}"
        click.echo(f"{row['language']:5} {row['name']:28} {row['rate']:5} Hz  {state}  {row['text']}")


@command.command()
@_config
@_json
@click.option("--shipped", is_flag=True, help="Check the shipped texts, and typical prompts made from them, instead.")
@click.option("--language", "languages", multiple=True, help="With --shipped: only this language.")
def check(folder: Path, as_json: bool, shipped: bool, languages: tuple[str, ...]) -> None:
    """Check that every prompt is rendered, unchanged, at its level, unclipped, whole; exit 1 with findings."""
    with _told():
        findings = manifest_findings(packaged("prompts"))
        if shipped:
            count = _check_shipped(languages, findings)
        else:
            specs, cache, _ = _server(folder)
            count = len(specs)
            findings += [found for spec in specs for found in _findings(spec, cache)]
    if as_json:
        click.echo(
            json.dumps({"ok": not findings, "prompts": count, "findings": findings}, ensure_ascii=False, indent=2)
        )
    else:
        for finding in findings:
            click.echo(finding)
        click.echo(f"{count} prompts, {len(findings)} findings", err=True)
    if findings:
        raise click.exceptions.Exit(Exit.CHECK_FAILED)


@command.command("play-text")
@click.argument("text")
@click.option("--language", default="en", show_default=True, help="The language of the text.")
@click.option(
    "--rate",
    type=click.Choice([str(rate) for rate in CALL_RATES]),
    default="8000",
    show_default=True,
    help="Samples a second.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the audio to this WAV file.")
@_json
def play_text(text: str, language: str, rate: str, out: Path | None, as_json: bool) -> None:
    """Speak a text as a prompt would be, tell its length and level, and exit 1 when it would not pass the check."""
    with _told():
        spoken = Spoken(" ".join(text.split()), language)
        audio = PromptCache(Path()).audio(spoken, int(rate), engine_named("espeak-ng"))
        if out is not None:
            write(out, audio)
    measured = measure(audio)
    findings = [str(finding) for finding in judge(measured, text)]
    if as_json:
        click.echo(json.dumps({**_numbers(measured), "rate": audio.rate, "findings": findings}, indent=2))
    else:
        click.echo(
            f"{measured.seconds:.2f} s at {audio.rate} Hz, {measured.active:.1f} dBFS active, "
            f"peak {measured.true_peak:.1f} dBFS, {measured.clipped} samples clipped"
        )
        for finding in findings:
            click.echo(finding)
    if findings:
        raise click.exceptions.Exit(Exit.CHECK_FAILED)


@command.command(hidden=True)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def manifest(folder: Path) -> None:
    """Write the manifest of a prompt folder's texts; part of making a release."""
    (folder / MANIFEST).write_text(manifest_text(folder))


@contextmanager
def _told() -> Iterator[None]:
    """Errors that a person can mend as text on stderr and exit 2."""
    try:
        yield
    except (FileError, AudioError, OSError) as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(Exit.COULD_NOT_RUN) from error


def _server(folder: Path) -> tuple[list[PromptSpec], PromptCache, Engine]:
    settings = Settings.load(folder)
    library = Library.load(*([settings.prompts.folder] if settings.prompts.folder else []))
    flows = load_flows([settings.flows])
    engine = engine_named(settings.prompts.engine, settings.prompts.voices)
    return needed_prompts(flows.flows, library), PromptCache(settings.prompts.cache), engine


def _rows(spec: PromptSpec, cache: PromptCache) -> Iterator[dict[str, Any]]:
    for rate in CALL_RATES:
        row: dict[str, Any] = {"language": spec.language, "kind": spec.kind.value, "name": spec.name, "rate": rate}
        try:
            file = cache.find(spec.source, rate)
            if file is None:
                row["state"] = "not rendered"
            else:
                row |= {"state": "rendered", "file": str(file.path), "samples": file.samples}
                row |= {"audio_sha256": file.audio_sha256, "text_sha256": file.text_sha256}
                row |= _numbers(measure(read(file.path)))
        except AudioError as error:
            row["state"] = f"broken: {error}"
        yield {**row, "text": spec.text}


def _findings(spec: PromptSpec, cache: PromptCache) -> Iterator[str]:
    for rate in CALL_RATES:
        at = f"{spec.language} {spec.name} at {rate} Hz"
        try:
            file = cache.find(spec.source, rate)
            if file is None:
                yield f"{at}: not rendered: ivr prompts render"
                continue
            for finding in findings_of(spec, file):
                yield f"{at}: {finding}"
        except AudioError as error:
            yield f"{at}: {error}"


def _check_shipped(languages: tuple[str, ...], findings: list[str]) -> int:
    library = Library.load()
    unknown = sorted(set(languages) - set(library.languages))
    if unknown:
        raise click.BadParameter(f"no prompts in {', '.join(unknown)}: one of {', '.join(library.languages)}")
    specs = [spec for language in languages or library.languages for spec in example_prompts(library, language)]
    # Made, measured and forgotten: nothing is written, so nothing has to reach a disk.
    cache, engine = PromptCache(Path()), SpeaksOnce(engine_named("espeak-ng"))
    for spec in specs:
        for rate in CALL_RATES:
            found = judge(measure(cache.audio(spec.source, rate, engine)), spec.text)
            findings += [f"{spec.language} {spec.name} at {rate} Hz: {finding}" for finding in found]
    return len(specs)


def _numbers(measured: Loudness) -> dict[str, float]:
    numbers = asdict(measured)
    return {
        "seconds": round(numbers["seconds"], 3),
        "active_dbfs": round(numbers["active"], 2),
        "true_peak_dbfs": round(numbers["true_peak"], 2),
        "leading_seconds": round(numbers["leading"], 3),
        "trailing_seconds": round(numbers["trailing"], 3),
        "clipped_samples": numbers["clipped"],
    }
