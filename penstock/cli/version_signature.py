"""The signature of a version that is registered: made here, or somewhere else over the digest that `penstock models digest` shows."""

from __future__ import annotations

import base64
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from penstock.cli._services import check_signing_packages
from penstock.cli.failure import Failure
from penstock.cli.output import Form, form_option, show
from penstock.contracts.errors import InvalidInput

if TYPE_CHECKING:
    from penstock.client.uploads import LocalFile

F = TypeVar("F", bound=Callable[..., Any])

MOST_BYTES = 1024
"""A file of signature is not larger."""


def signatures(command: F) -> F:
    """Give a command the options `signature` and `signing_key`."""
    kind = click.Path(path_type=Path)
    made = click.option("--signing-key", type=kind, metavar="FILE", help="Sign it with this private key of `penstock keys operator`.")
    given = click.option("--signature", type=kind, metavar="FILE", help="Its signature, made elsewhere: 64 bytes, or base64 of them.")
    return given(made(command))


def signature_of(signature: Path | None, signing_key: Path | None, model: str, files: Sequence[LocalFile]) -> tuple[bytes, str]:
    """Return the signature of a version and the name of its key, each empty when there is none.

    Args:
        signature: file of one that was made elsewhere.
        signing_key: file of the private key to sign with.
        model: the name of its model.
        files: the version's; none where the controller fetches them.

    Raises:
        Failure: it cannot be read, or made.
        InvalidInput: the files are not one version.
    """
    if signature is not None and signing_key is not None:
        raise click.UsageError("--signature and --signing-key: one of both.")
    if signature is not None:
        return _read(signature), ""
    if signing_key is None:
        return b"", ""
    from penstock.client.uploads import is_archive

    is_packed = len(files) == 1 and is_archive(files[0].path)
    if is_packed or not files:
        raise click.UsageError("--signing-key signs the files of a folder here: for those elsewhere use --signature.")
    return _made(signing_key, model, files)


@contextmanager
def files_here(source: str | Path) -> Generator[None]:
    """Let what is wrong with files of this machine be a failure that names them: no server has refused anything."""
    try:
        yield
    except InvalidInput as error:
        raise Failure(error.message, reason=error.reason, where=f"{source} (on this machine)") from None
    except OSError as error:
        raise Failure(f"{error.filename or source}: {error.strerror}", where=f"{source} (on this machine)") from None


@click.command()
@click.argument("folder", metavar="PATH", type=click.Path(path_type=Path))
@form_option
def digest(form: Form, folder: Path) -> None:
    """Show the digest that a folder has once it is registered as a version; nothing is sent."""
    from penstock.client.uploads import files_of
    from penstock.client.version_digest import version_digest

    with files_here(folder):
        found = version_digest(files_of(folder))
    show({"digest": found}, form, lambda: found)


def _made(key: Path, model: str, files: Sequence[LocalFile]) -> tuple[bytes, str]:
    from penstock.cli.break_glass import answer_of
    from penstock.client.version_digest import version_digest

    check_signing_packages()
    told = (f"--key={key}", f"--model={model}", f"--digest={version_digest(files)}")
    answer = answer_of("emergency", "sign-version", *told, failed="the version could not be signed")
    return base64.b64decode(answer["signature"]), answer["key_id"]


def _read(path: Path) -> bytes:
    from penstock.contracts.version_signatures import SIGNATURE_BYTES

    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    if len(content) == SIGNATURE_BYTES:
        return content
    try:
        raw = base64.b64decode(b"".join(content.split()), validate=True)
    except ValueError:
        raw = b""
    if len(raw) != SIGNATURE_BYTES:
        raise Failure(f"{path} is no Ed25519 signature: it holds neither {SIGNATURE_BYTES} bytes nor base64 of them")
    return raw
