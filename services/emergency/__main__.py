"""`python -m services.emergency`: what an operator's key is made by, and what it signs; answers are JSON.

`penstock keys operator`, `penstock rollback --break-glass` and `penstock models register --signing-key` run it.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

from penstock.contracts.artefacts import check_digest
from penstock.contracts.errors import ServingError
from penstock.contracts.names import check_model_name
from penstock.contracts.version_signatures import signed_text
from services.chassis.command_bus import command_bus
from services.chassis.config import InvalidConfig
from services.chassis.operator_keys import OperatorKey
from services.emergency.breaking import Asked, past_bus, past_controller


def main() -> None:
    """Do one thing and print one JSON object; the exit code is 1 when it holds an error."""
    given = _parser().parse_args()
    try:
        answer = _answered(given)
    except ServingError as error:
        answer = {"error": {"reason": error.reason, "message": error.message}}
    except InvalidConfig as error:
        answer = {"error": {"reason": "SETTINGS", "message": "; ".join(error.problems)}}
    except OSError as error:
        answer = {"error": {"reason": "FILE", "message": f"{error.filename}: {error.strerror}"}}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.exit(1 if "error" in answer else 0)


def _answered(given: argparse.Namespace) -> dict[str, Any]:
    match given.action:
        case "create-key":
            return _made(given)
        case "sign-version":
            return _signed(given)
        case _:
            return asyncio.run(_broken(given))


def _signed(given: argparse.Namespace) -> dict[str, Any]:
    key = OperatorKey.load(given.key)
    signature = key.key.sign(signed_text(check_model_name(given.model), check_digest(given.digest)))
    return {"signature": base64.b64encode(signature).decode(), "key_id": key.name}


def _made(given: argparse.Namespace) -> dict[str, Any]:
    key = OperatorKey.generate(given.name)
    path: Path = given.key
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key.to_text())
    return {"name": key.name, "private_key_file": str(path), "line": key.public_line()}


async def _broken(given: argparse.Namespace) -> dict[str, Any]:
    key = OperatorKey.load(given.key)
    asked = Asked(model=given.model, version=given.to, wait_seconds=given.wait)
    broken = await (
        past_controller(asked, key, command_bus(given.bootstrap, given.bus)) if given.bootstrap else past_bus(asked, key, given.router)
    )
    return {
        "model": broken.route.model,
        "shares": {one.version: one.weight_basis_points for one in broken.route.backends if one.weight_basis_points},
        "revision": broken.route.revision,
        "change_id": broken.route.change_id,
        "operator": key.name,
        "confirmations": dict(broken.confirmations),
        "warnings": list(broken.doubts),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.emergency")
    parser.add_argument("action", choices=("create-key", "sign-version", "rollback"))
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--name", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--digest", default="")
    parser.add_argument("--to", default="")
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--bus", type=Path)
    parser.add_argument("--router", action="append", default=[])
    parser.add_argument("--wait", type=float, default=5.0)
    return parser


if __name__ == "__main__":
    main()
