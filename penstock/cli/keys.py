"""`penstock keys`: API keys for the tenants file of a server; and which keys a controller knows, and when they were last used.

A key has 32 random characters of 62, that is 190 bits: a plain SHA-256 of it can stand in a file, for nobody guesses what it is the digest
of. Under a pepper, a secret that only the server's environment holds, not even a leaked key can be recognised in the file.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from pathlib import Path

import click

from penstock.cli._services import check_packages
from penstock.cli.changes import age_of
from penstock.cli.failure import Failure
from penstock.cli.lazy_group import SuggestingGroup
from penstock.cli.output import Form, form_option, show
from penstock.cli.server_options import Server, uses_server
from penstock.contracts.api_keys import (
    CHARACTERS,
    DEFAULT_ENVIRONMENT,
    ENVIRONMENT,
    ID_CHARACTERS,
    SECRET_CHARACTERS,
    checksum,
    key_body,
)


@click.group(cls=SuggestingGroup)
def keys() -> None:
    """Make API keys for the tenants file of a server; list those of a mesh."""


@keys.command("list")
@click.option("--tenant", metavar="NAME", help="Only this tenant's.")
@form_option
@uses_server
def list_keys(server: Server, form: Form, tenant: str | None) -> None:
    """List the keys of a mesh, and in which minute each last opened something; nothing of it is secret."""
    from penstock.cli.control_options import control_of
    from penstock.cli.control_views import keys_table, tenant_document

    with control_of(server) as control:
        tenants = [tenant_document(one) for one in control.tenants() if tenant in {None, one.tenant}]
    found = [{"tenant": one["tenant"], **key} for one in tenants for key in one["keys"]]
    show(found, form, lambda: keys_table(found))


@keys.command()
@click.option("--tenant", required=True, metavar="NAME", help="Whose key it is.")
@click.option("--pepper-env", metavar="VARIABLE", help="Environment variable with the secret to hash under, e.g. PENSTOCK_KEY_PEPPER.")
@click.option(
    "--environment", default=DEFAULT_ENVIRONMENT, show_default=True, metavar="NAME", help="What the key names as its environment."
)
@form_option
def create(tenant: str, pepper_env: str | None, environment: str, form: Form) -> None:
    """Make a key and show it once, with what stands in the tenants file for it; nothing is written anywhere."""
    if not tenant.strip():
        raise click.BadParameter("a tenant has a name.", param_hint="--tenant")
    if not re.fullmatch(ENVIRONMENT, environment):
        raise click.BadParameter("up to 16 lower-case letters and digits, a letter first.", param_hint="--environment")
    key = new_key(environment)
    entry = entry_of(key, _pepper(pepper_env))
    show({"tenant": tenant, "key": key, "entry": entry}, form, lambda: _text(tenant, key, entry))


@keys.command()
@click.option("--name", required=True, metavar="NAME", help="Who the operator is; stands in the audit.")
@click.option(
    "--key", required=True, type=click.Path(path_type=Path), metavar="FILE", help="File for the private half; only its owner can read it."
)
@form_option
def operator(name: str, key: Path, form: Form) -> None:
    """Make an operator's key for `penstock rollback --break-glass` or `penstock models register --signing-key`; show its public line."""
    from penstock.cli.break_glass import run_emergency

    made = run_emergency("create-key", f"--name={name}", f"--key={key}")
    place = (
        "below [keys] in the file of the setting break_glass_keys (routers, controllers), or version_keys (controllers) to sign versions:"
    )
    show(made, form, lambda: f"private key, for its owner only:\n  {made['private_key_file']}\n{place}\n  {made['line']}")


@keys.command()
@click.option("--config", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Settings of the controller.")
@click.option("--tenant", default="administrators", metavar="NAME", help="Whose key it is; made when it is not there.")
@click.option("--life", metavar="AGE", callback=age_of, help="Time until it is refused, for example 1d. [default: for ever]")
@click.option("--reason", default="", help="Why; stands in the audit.")
@form_option
def administrator(config: Path, tenant: str, life: float, reason: str, form: Form) -> None:
    """Make an administrator's key on the controller's machine, in its catalogue: where nobody has one any more, or has one yet."""
    from penstock.cli.break_glass import answer_of

    check_packages()
    told = (f"--config={config}", f"--tenant={tenant}", f"--life-seconds={life}", f"--reason={reason}")
    made = answer_of("controller", "make-administrator", *told, failed="no key was made")
    show(made, form, lambda: f"key of {made['tenant']}, shown this once:\n  {made['key']}\nits id:\n  {made['id']}")


def new_key(environment: str = DEFAULT_ENVIRONMENT) -> str:
    """Return a key that nobody has."""
    body = key_body(environment, _random(ID_CHARACTERS), _random(SECRET_CHARACTERS))
    return body + checksum(body)


def entry_of(key: str, pepper: bytes = b"") -> str:
    """Return what the tenants file holds instead of the key."""
    if pepper:
        return f"hmac-sha256:{hmac.new(pepper, key.encode(), hashlib.sha256).hexdigest()}"
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _random(count: int) -> str:
    return "".join(secrets.choice(CHARACTERS) for _ in range(count))


def _pepper(variable: str | None) -> bytes:
    if variable is None:
        return b""
    pepper = os.environ.get(variable, "")
    if not pepper:
        raise Failure(
            f"the environment variable {variable} is empty",
            next_step=f"export {variable}=… as the server has it, or leave out --pepper-env",
        )
    return pepper.encode()


def _text(tenant: str, key: str, entry: str) -> str:
    return f"""key, shown this once:
  {key}

in the tenants file (penstock serve --tenants-file FILE); a tenant that is there already gets the line into its list of keys:
  [[tenants]]
  name = {json.dumps(tenant, ensure_ascii=False)}
  keys = ["{entry}"]
"""
