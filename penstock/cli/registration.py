"""`penstock models register` and `penstock models alias`: what the registry holds, and by which names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.cli import terminal
from penstock.cli.control_options import control_of, writes, writes_anew
from penstock.cli.failure import Failure
from penstock.cli.lazy_group import SuggestingGroup
from penstock.cli.model_argument import model_and_version, only_model_argument, version_argument
from penstock.cli.output import Form, form_option, show
from penstock.cli.server_options import Server, uses_server
from penstock.cli.version_signature import files_here, signature_of, signatures

if TYPE_CHECKING:
    from penstock.client.control import Control
    from penstock.client.uploads import LocalFile
    from penstock.client.writes import SentFile, Write


@click.command()
@click.argument("source", metavar="PATH|URL")
@click.option(
    "--name", "named", metavar="MODEL[@VERSION]", required=True, help="What it is registered as. [default version: the next number]"
)
@click.option("--description", default="", help="What the model is for.")
@click.option("--owner", default="", help="Who answers for it.")
@click.option("--framework", default="", help="Where it comes from.")
@click.option("--meta", "pairs", metavar="KEY=VALUE", multiple=True, help="A fact about the version; may be given again and again.")
@signatures
@writes_anew
@form_option
@uses_server
def register(
    server: Server,
    form: Form,
    write: Write,
    source: str,
    named: str,
    description: str,
    owner: str,
    framework: str,
    pairs: tuple[str, ...],
    signature: Path | None,
    signing_key: Path | None,
) -> None:
    """Register a version: a folder or archive of this machine, a URL (object store, archive over https), or MLflow's `models:/NAME@ALIAS`.

    It holds one version's files, model.onnx among them. What was sent before is not sent again.
    """
    from penstock.client.writes import About

    name, version = model_and_version(named)
    with files_here(source):
        files = [] if _is_remote(source) else _files_here(Path(source))
        signed, key_id = signature_of(signature, signing_key, name, files)
    said = About(description=description, owner=owner, framework=framework, metadata=_metadata(pairs), signature=signed, key_id=key_id)
    with control_of(server) as control:
        answer = control.register(name, version, _sent(control, files) or source, said, write)
    show(_document(answer), form, lambda: _text(answer))


@click.group(cls=SuggestingGroup)
def alias() -> None:
    """Give versions other names, such as `champion`."""


@alias.command("set")
@only_model_argument
@click.argument("name", metavar="ALIAS")
@version_argument
@writes
@form_option
@uses_server
def set_alias(server: Server, form: Form, write: Write, model: str, name: str, version: str) -> None:
    """Let ALIAS mean VERSION from now on."""
    with control_of(server) as control:
        _show_aliases(control.set_alias(model, name, version, write), form)


@alias.command("delete")
@only_model_argument
@click.argument("name", metavar="ALIAS")
@writes
@form_option
@uses_server
def delete_alias(server: Server, form: Form, write: Write, model: str, name: str) -> None:
    """Take an alias away."""
    with control_of(server) as control:
        _show_aliases(control.set_alias(model, name, "", write), form)


def _is_remote(source: str) -> bool:
    return "://" in source or source.startswith("models:/")


def _files_here(path: Path) -> list[LocalFile]:
    from penstock.client.uploads import archive_of, files_of

    return files_of(path) if path.is_dir() or not path.exists() else [archive_of(path)]


def _sent(control: Control, files: Sequence[LocalFile]) -> list[SentFile]:
    from penstock.client.uploads import send

    for file in files:
        send(control, file, _progress(file.sent))
    return [file.sent for file in files]


def _progress(file: SentFile) -> Callable[[int], None]:
    """Return what shows how far a file is; says nothing where no terminal is."""

    def tell(sent: int) -> None:
        if terminal.redraws() and file.size > PROGRESS_BYTES:
            click.echo(f"\r{file.name}  {100 * sent // file.size} %", nl=sent >= file.size, err=True)

    return tell


PROGRESS_BYTES = 8 << 20
"""Smaller files are sent before anybody could read how far they are."""


def _metadata(pairs: tuple[str, ...]) -> dict[str, str]:
    metadata: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"'{pair}' is no fact: use KEY=VALUE.")
        metadata[key] = value
    return metadata


def _document(answer: Any) -> dict[str, Any]:
    from penstock.cli.control_views import version_document

    version = answer.version
    if not version.digest:
        raise Failure("the controller named no digest", next_step="look into its log")
    return {**version_document(version), "dry_run": answer.change.dry_run}


def _text(answer: Any) -> str:
    version = answer.version
    told = "would be registered (dry run)" if answer.change.dry_run else "is registered"
    return f"{version.model}@{version.version} {told}: {version.size_bytes:,} bytes, digest {version.digest[:16]}…"


def _show_aliases(answer: Any, form: Form) -> None:
    aliases = dict(answer.model.aliases)
    show(aliases, form, lambda: "\n".join(f"{alias} → {version}" for alias, version in sorted(aliases.items())) or "no aliases")
