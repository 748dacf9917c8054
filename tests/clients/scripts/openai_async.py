"""Models and embeddings by the asynchronous openai client.

python openai_async.py HOST:PORT
"""

import asyncio
import sys

import numpy as np
import openai

RED, GREEN, RED_GREEN = (3.0, 4.0, 0.0, 12.0), (1.0, 0.0, 2.0, 0.0), (2.0, 2.0, 1.0, 6.0)
"""What the model `embedder` makes of these words; a text is the mean of its words."""


async def models(client):
    """Listed, and one by one; a stranger is not found."""
    page = await client.models.list()
    assert "embedder" in {model.id for model in page.data}
    assert "embedder" in [model.id async for model in client.models.list()]
    assert (await client.models.retrieve("embedder")).id == "embedder"
    await refused(openai.NotFoundError, client.models.retrieve("nobody"))


async def embeddings(client):
    """Many requests at once; each gets its own answer."""
    words = {"red": RED, "green": GREEN, "red green": RED_GREEN}
    texts = list(words) * 20
    answers = await asyncio.gather(*(client.embeddings.create(model="embedder", input=text) for text in texts))
    for text, answer in zip(texts, answers, strict=True):
        np.testing.assert_allclose(answer.data[0].embedding, words[text])

    answer = await client.embeddings.create(model="embedder", input=texts, encoding_format="float")
    np.testing.assert_allclose([one.embedding for one in answer.data], [words[text] for text in texts])
    answer = await client.embeddings.create(model="embedder", input="red", dimensions=2)
    np.testing.assert_allclose(answer.data[0].embedding, [0.6, 0.8], rtol=1e-6)


async def mistakes(client):
    """Errors have the client's types."""
    await refused(openai.BadRequestError, client.embeddings.create(model="embedder", input=""))
    error = await refused(openai.NotFoundError, client.embeddings.create(model="nobody", input="red"))
    assert error.code == "model_not_found", error.body
    later = client.chat.completions.create(model="embedder", messages=[{"role": "user", "content": "hello"}])
    assert (await refused(openai.APIStatusError, later)).status_code == 501
    later = client.completions.create(model="embedder", prompt="hello")
    assert (await refused(openai.APIStatusError, later)).status_code == 501
    assert (await refused(openai.APIStatusError, client.models.delete("embedder"))).status_code == 405


async def around(client):
    """Raw answers, streamed bodies, options for one call, and requests by path."""
    raw = await client.embeddings.with_raw_response.create(model="embedder", input="red")
    np.testing.assert_allclose(raw.parse().data[0].embedding, RED)
    async with client.models.with_streaming_response.list() as streamed:
        assert (await streamed.json())["object"] == "list"
    quick = client.with_options(timeout=5, max_retries=0)
    assert (await quick.models.retrieve("embedder")).object == "model"
    assert (await client.copy().models.retrieve("embedder")).object == "model"
    assert (await client.get("/models", cast_to=dict[str, object]))["object"] == "list"
    answer = await client.post("/embeddings", cast_to=dict[str, object], body={"model": "embedder", "input": "red"})
    assert answer["data"][0]["embedding"] == list(RED), answer


async def refused(kind, call):
    """Return the error of a call that must fail."""
    try:
        await call
    except kind as error:
        return error
    raise AssertionError(f"not refused by {kind.__name__}")


async def main(address, *_):
    """Do everything over one client."""
    async with openai.AsyncOpenAI(base_url=f"http://{address}/v1", api_key="none needed", timeout=20) as client:
        await models(client)
        await embeddings(client)
        await mistakes(client)
        await around(client)
    assert client.is_closed()


asyncio.run(main(*sys.argv[1:]))
