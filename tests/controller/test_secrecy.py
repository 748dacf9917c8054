from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from services.controller.deployment_checks import config_problems
from services.controller.secrecy import audit_text, redacted_text, secret_places

WORD = "hunter2hunter2"
KEY = f"penstock_live_abcdefghijkl_{'x' * 38}"
OLD_KEY = f"penstock_abcdefghijkl_{'x' * 38}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    version: str
    config: Any


@pytest.mark.parametrize(
    "name",
    [
        "secret", "client_secret", "password", "dbPassword", "PASSWD", "token", "hf-token", "access_token", "credentials", "api_key",
        "apiKey", "X-API-Key", "aws_secret_access_key", "private key", "Authorization", "cookie",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [WORD, 12345678, [WORD], {"user": WORD}, [{"deep": {"deeper": WORD}}]])
def test_the_value_of_a_secret_field_is_kept_by_nobody_and_stands_in_no_specification(name: str, value: Any):
    config = {"parameters": [{name: value}], "max_batch_size": 8}

    kept = audit_text(Asked(version="3", config=config))

    assert WORD not in kept
    assert "12345678" not in kept
    assert json.loads(kept)["config"]["max_batch_size"] == 8
    assert [pointer for pointer, _ in config_problems(config)] == [f"/config/parameters/0/{name}"]


@pytest.mark.parametrize(
    "text",
    [
        f"with {KEY} in it",
        KEY,
        OLD_KEY,
        f"https://user:{WORD}@example.com/m",
        f"s3://{WORD}@bucket/m",
        f"https://example.com/m?X-Amz-Signature={WORD}&x=1",
        f"https://example.com/m?sig={WORD}",
        f"Authorization: Bearer {WORD}",
        f"Basic {WORD}",
        f"password={WORD}",
        f"the password: {WORD}, they said",
        f'{{"api_key": "{WORD}"}}',
        f"export HF_TOKEN_2={WORD}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{WORD}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{WORD}",
        f"eyJhbGciOiJIUzI1NiJ9.{WORD}.{WORD}",
    ],
)
def test_what_has_the_shape_of_a_secret_is_kept_nowhere_whatever_its_field_is_called(text: str):
    kept = audit_text({"note": text, "list": [text], text: 1})

    assert WORD not in kept
    assert KEY not in kept
    assert OLD_KEY not in kept
    assert list(secret_places({"parameters": {"note": text}})) == ["/parameters/note"]
    assert redacted_text(redacted_text(text)) == redacted_text(text)


@pytest.mark.parametrize(
    "document",
    [
        {"version": "3.1", "replicas": 2, "weights": {"1": 5000, "2": 5000}, "frozen": True, "missing": None},
        {"password": "file:/run/secrets/db", "api_key": "env:HF", "token": "secret:hub", "cookie": "", "secret": None, "has_token": False},
        {
            "tokenizer": "bert",
            "token_type_ids": {"dims": [4]},
            "max_tokens": 5,
            "key_id": "abcdefghijkl",
            "routing_key": {"source": "user"},
        },
        {
            "source": "s3://bucket/m/",
            "note": "Basic functionality: the tokenizer of https://example.com/a@b",
            "model": "penstock_demo_model",
        },
        {"signature": {"inputs": [{"name": "x", "shape": [-1, 3]}]}, "why": "the token bucket was too small"},
    ],
)
def test_what_is_no_secret_is_kept_as_it_was(document: dict[str, Any]):
    assert json.loads(audit_text(document)) == document
    assert list(secret_places(document)) == []


def test_a_text_of_many_words_made_to_be_slow_is_read_all_the_same():
    for piece in ("token", "a.", "eyJ-", "penstock_", "-----BEGIN PRIVATE KEY", "bearer ", "a://", "a", "?sig=", "password:"):
        redacted_text(piece * (200_000 // len(piece)))


def test_nothing_is_kept_of_nothing():
    assert audit_text(None) == ""
