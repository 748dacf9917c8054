"""Models and embeddings by the openai client.

python openai_embeddings.py HOST:PORT
"""

import base64
import sys

import numpy as np
import openai

RED, GREEN, BLUE = (3.0, 4.0, 0.0, 12.0), (1.0, 0.0, 2.0, 0.0), (0.0, -1.0, 0.5, 0.0)
"""What the model `embedder` makes of these words; a text is the mean of its words."""
RED_GREEN = (2.0, 2.0, 1.0, 6.0)


def models(client):
    """Listed, and one by one; a stranger is not found."""
    page = client.models.list()
    listed = {model.id: model for model in page}
    assert {"embedder", "my_model"} <= set(listed), sorted(listed)
    assert page.object == "list"
    assert not page.has_next_page()
    assert listed["embedder"].object == "model"
    assert isinstance(listed["embedder"].owned_by, str)
    assert isinstance(listed["embedder"].created, int)

    model = client.models.retrieve("embedder")
    assert (model.id, model.object) == ("embedder", "model"), model
    error = refused(openai.NotFoundError, client.models.retrieve, "nobody")
    assert error.status_code == 404


def embeddings(client):
    """One text and several, as the client asks by itself (base64) and as numbers; more than the model takes in one batch."""
    answer = client.embeddings.create(model="embedder", input="red green")
    assert (answer.object, answer.model) == ("list", "embedder"), answer
    assert answer.usage.prompt_tokens == answer.usage.total_tokens >= 0
    (one,) = answer.data
    assert (one.index, one.object) == (0, "embedding")
    np.testing.assert_allclose(one.embedding, RED_GREEN)

    texts = ["red", "green", "blue blue", "red green", "red  green", "blue", "green", "red", "blue"]
    expected = [RED, GREEN, BLUE, RED_GREEN, RED_GREEN, BLUE, GREEN, RED, BLUE]
    for chosen in ({}, {"encoding_format": "float"}):
        answer = client.embeddings.create(model="embedder", input=texts, user="somebody", **chosen)
        assert [one.index for one in answer.data] == list(range(len(texts)))
        np.testing.assert_allclose([one.embedding for one in answer.data], expected)

    as_text = client.embeddings.create(model="embedder", input="red", encoding_format="base64").data[0].embedding
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(as_text), "<f4"), np.float32(RED))


def shortened(client):
    """Fewer numbers than the model gives, scaled to length 1."""
    answer = client.embeddings.create(model="embedder", input=["red", "green"], dimensions=2)
    np.testing.assert_allclose([one.embedding for one in answer.data], [[0.6, 0.8], [1.0, 0.0]], rtol=1e-6)
    answer = client.embeddings.create(model="embedder", input="red", dimensions=2, encoding_format="float")
    np.testing.assert_allclose(answer.data[0].embedding, [0.6, 0.8], rtol=1e-6)
    assert refused(openai.BadRequestError, client.embeddings.create, model="embedder", input="red", dimensions=5).param == "dimensions"


def mistakes(client):
    """Errors have the client's types, and say what is wrong."""
    error = refused(openai.NotFoundError, client.embeddings.create, model="nobody", input="red")
    assert (error.status_code, error.code) == (404, "model_not_found"), error.body
    assert "nobody" in error.message
    assert error.request_id, "no x-request-id"

    error = refused(openai.BadRequestError, client.embeddings.create, model="my_model", input="red")  # gives no embeddings
    assert (error.type, error.param) == ("invalid_request_error", "model"), error.body
    for wrong in ("", [], ["red", ""]):
        error = refused(openai.BadRequestError, client.embeddings.create, model="embedder", input=wrong)
        assert (error.type, error.param) == ("invalid_request_error", "input"), error.body
    error = refused(openai.BadRequestError, client.embeddings.create, model="embedder", input="red", encoding_format="hex")
    assert error.param == "encoding_format", error.body
    refused(openai.APIStatusError, client.embeddings.create, model="embedder", input=[1, 2, 3])  # tokens


def what_is_not_served(client):
    """What is not served is refused, by a status that the client does not retry."""
    error = refused(
        openai.APIStatusError, client.chat.completions.create, model="embedder", messages=[{"role": "user", "content": "hello"}]
    )
    assert error.status_code == 501, error
    assert error.request.headers["x-stainless-retry-count"] == "0", "the client tried again"
    assert refused(openai.APIStatusError, client.completions.create, model="embedder", prompt="hello").status_code == 501
    assert refused(openai.APIStatusError, client.models.delete, "embedder").status_code == 405


def around(client):
    """Raw answers, streamed bodies, options for one call, and requests by path."""
    raw = client.embeddings.with_raw_response.create(model="embedder", input="red")
    assert raw.status_code == 200
    assert raw.request_id == raw.headers["x-request-id"] != ""
    np.testing.assert_allclose(raw.parse().data[0].embedding, RED)
    with client.models.with_streaming_response.list() as streamed:
        assert streamed.json()["object"] == "list"

    tagged = client.with_options(timeout=5, max_retries=0, default_headers={"x-session-affinity": "s1"}, default_query={"team": "vision"})
    assert tagged.models.retrieve("embedder", extra_headers={"X-Request-ID": "mine"}).id == "embedder"
    echoed = tagged.models.with_raw_response.list(extra_headers={"X-Request-ID": "mine"})
    assert echoed.headers["x-request-id"] == "mine", dict(echoed.headers)
    assert client.copy().embeddings.create(model="embedder", input="blue", extra_body={"metadata": {"a": 1}}).data

    assert client.get("/models", cast_to=dict[str, object])["object"] == "list"
    answer = client.post("/embeddings", cast_to=dict[str, object], body={"model": "embedder", "input": "red"})
    assert answer["data"][0]["embedding"] == list(RED), answer  # a plain request is answered with numbers


def refused(kind, call, *args, **kwargs):
    """Return the error of a call that must fail."""
    try:
        call(*args, **kwargs)
    except kind as error:
        return error
    raise AssertionError(f"not refused: {args} {kwargs}")


def main(address, *_):
    """Do everything under both base paths."""
    for prefix in ("/v1", "/openai/v1"):
        with openai.OpenAI(base_url=f"http://{address}{prefix}", api_key="none needed", timeout=20) as client:
            models(client)
            embeddings(client)
            shortened(client)
            mistakes(client)
            what_is_not_served(client)
            around(client)
        assert client.is_closed()


main(*sys.argv[1:])
