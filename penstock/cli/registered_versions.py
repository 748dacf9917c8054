"""`penstock models show` and `penstock models verify`: versions as the registry holds them, and whether the store still has them so."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from penstock.cli import terminal
from penstock.cli.control_options import control_of, writes_anew
from penstock.cli.failure import EXIT_FAILED, Failure
from penstock.cli.model_argument import model_and_version, model_argument
from penstock.cli.model_views import Document
from penstock.cli.output import Form, form_option, show
from penstock.cli.server_options import Server, uses_server
from penstock.cli.table import facts, table

if TYPE_CHECKING:
    from penstock.client.answers import Model, ModelVersion, VerifyVersionResponse
    from penstock.client.control import Control
    from penstock.client.writes import Write


@click.command("show")
@model_argument
@form_option
@uses_server
def show_versions(server: Server, form: Form, model: str) -> None:
    """Show a model's registered versions: digest, tensors, who signed them, and what was found of their files."""
    name, version = model_and_version(model)
    with control_of(server) as control:
        found = _versions(control.model(name).model, version)
    show([_version_document(one) for one in found], form, lambda: "\n\n".join(map(_version_text, found)))


@click.command()
@model_argument
@writes_anew
@form_option
@uses_server
def verify(server: Server, form: Form, write: Write, model: str) -> None:
    """Read the files of a registered version again, now, and compare them with its digest and signature; all versions if none is named.

    The exit code is 1 when anything is not as it was registered; such a version is not deployed again until it is restored.
    """
    name, version = model_and_version(model)
    with control_of(server) as control:
        names = [version] if version else [one.version for one in control.model(name).model.versions]
        answers = _verified(control, name, names, write)
    show([_document(one) for one in answers], form, lambda: "\n\n".join(map(_text, answers)))
    if any(one.damage for one in answers):
        click.get_current_context().exit(EXIT_FAILED)


def _verified(control: Control, model: str, versions: Sequence[str], write: Write) -> list[VerifyVersionResponse]:
    if not versions:
        raise Failure(f"model {model} has no versions", next_step="register one: `penstock models register`")
    return [control.verify(model, one, write) for one in versions]


def _versions(model: Model, version: str) -> list[ModelVersion]:
    wanted = model.aliases.get(version, version)
    found = [one for one in model.versions if wanted in ("", one.version)]
    if wanted and not found:
        names = ", ".join([*(one.version for one in model.versions), *model.aliases]) or "none"
        raise Failure(f"model {model.name} has no version {version}", next_step=f"name one of them: {names}")
    return found


def _version_document(one: ModelVersion) -> Document:
    from penstock.cli.control_views import version_document

    return {
        **version_document(one),
        "created_by": one.created_by,
        "signed_by": one.signed_by or None,
        "signature": base64.b64encode(one.signature).decode() or None,
    }


def _version_text(one: ModelVersion) -> str:
    known = dict(one.metadata)
    checked, damage, signed_by = known.pop("checked_time", "never"), known.pop("damage", ""), known.pop("signed_by", "")
    pairs = [
        ("version", f"{one.model}@{one.version}"),
        ("digest", one.digest),
        ("size", f"{one.size_bytes:,} bytes"),
        ("inputs", _tensors(one, "inputs")),
        ("outputs", _tensors(one, "outputs")),
        ("registered by", one.created_by),
        ("signed by", one.signed_by or (f"{signed_by} (its signature was not kept)" if signed_by else "nobody")),
        *([("signature", base64.b64encode(one.signature).decode())] if one.signature else []),
        ("files looked at", checked),
        *([("damage", damage)] if damage else []),
        *sorted(known.items()),
    ]
    return facts(pairs, width=terminal.width())


def _tensors(one: ModelVersion, which: str) -> str:
    return ", ".join(f"{spec.name} {spec.datatype}{list(spec.shape)}" for spec in getattr(one, which)) or "none are known"


def _document(answer: VerifyVersionResponse) -> Document:
    from penstock.client.answers import signature_word

    return {
        "model": answer.version.model,
        "version": answer.version.version,
        "digest": answer.version.digest,
        "files": [
            {"path": one.path, "size_bytes": one.size_bytes, "sha256": one.sha256, "damage": one.damage or None} for one in answer.files
        ],
        "signature": signature_word(answer),
        "signed_by": answer.version.signed_by or None,
        "damage": answer.damage or None,
    }


def _text(answer: VerifyVersionResponse) -> str:
    from penstock.client.answers import signature_word

    version = answer.version
    rows = [(one.path, one.size_bytes, one.sha256[:12], one.damage or "sound") for one in answer.files]
    files = table(("file", "bytes", "sha256", "found"), rows, width=terminal.width()) if rows else "no files: the store has lost their list"
    by = f", by {version.signed_by}" if version.signed_by else ""
    verdict = f"NOT as it was registered: {answer.damage}" if answer.damage else "as it was registered"
    head = f"{version.model}@{version.version} is {verdict}"
    return f"{head}\n\n{files}\n\nsignature: {signature_word(answer)}{by}"
