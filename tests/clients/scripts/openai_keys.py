"""Keys and quotas as the openai client sees them.

    python openai_keys.py HOST:PORT KEY LIMITED_KEY

KEY may call everything. LIMITED_KEY may call `embedder` twice a second.
"""

import sys
import time

import openai


def keys(address, key):
    """Without a known key nothing is answered, and nothing is tried again."""
    for wrong in ("nobody's", "penstock_00000000000000000000000000000000"):
        client = client_of(address, wrong)
        error = refused(openai.AuthenticationError, client.embeddings.create, model="embedder", input="red")
        assert (error.status_code, error.code) == (401, "invalid_api_key"), error.body
        assert error.request.headers["x-stainless-retry-count"] == "0"
        assert refused(openai.AuthenticationError, client.models.list).status_code == 401
    assert "embedder" in {model.id for model in client_of(address, key).models.list()}


def models_of_others(address, limited_key):
    """Who may not call a model does not see it either."""
    client = client_of(address, limited_key)
    assert [model.id for model in client.models.list()] == ["embedder"]
    assert refused(openai.APIStatusError, client.models.retrieve, "my_model").status_code in (403, 404)


def quota(address, limited_key):
    """Too much is refused with the time to wait; the client waits that long by itself and gets its answer."""
    impatient = client_of(address, limited_key, max_retries=0)
    error = None
    for _ in range(10):
        try:
            impatient.embeddings.create(model="embedder", input="red")
        except openai.RateLimitError as refusal:
            error = refusal
            break
    assert error is not None, "ten calls at once were all answered"
    assert (error.status_code, error.type, error.code) == (429, "rate_limit_error", "rate_limit_exceeded"), error.body
    headers = error.response.headers
    assert 1 <= int(headers["retry-after"]) <= 2, dict(headers)
    assert 0 < float(headers["retry-after-ms"]) <= 1000, dict(headers)
    assert headers["x-should-retry"] == "true", dict(headers)

    patient = client_of(address, limited_key, max_retries=5)
    started = time.monotonic()
    retries = 0
    for _ in range(4):
        raw = patient.embeddings.with_raw_response.create(model="embedder", input="red")
        assert len(raw.parse().data[0].embedding) == 4
        retries += raw.retries_taken
    assert retries >= 1, "four calls at twice a second needed no second try"
    assert time.monotonic() - started < 10


def client_of(address, key, **options):
    """A client with this key."""
    return openai.OpenAI(base_url=f"http://{address}/v1", api_key=key, timeout=20, **options)


def refused(kind, call, *args, **kwargs):
    """Return the error of a call that must fail."""
    try:
        call(*args, **kwargs)
    except kind as error:
        return error
    raise AssertionError(f"not refused: {args} {kwargs}")


def main(address, key, limited_key):
    """Do everything."""
    keys(address, key)
    models_of_others(address, limited_key)
    quota(address, limited_key)


main(*sys.argv[1:])
