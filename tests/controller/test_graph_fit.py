"""Graphs are judged at their registration, by what is registered of their steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.contracts.errors import Conflict, InvalidInput, ServingError
from penstock.contracts.graph_text import from_toml
from services.controller.graph_fit import misfits, signature_in
from services.controller.model_values import Version, VersionState
from services.controller.registration_book import CatalogueBook
from services.controller.registration_values import RegistrationRequest
from services.controller.registry import Description
from tests.controller.registering import kit, tar
from tests.controller.stand import ANN, DIGEST, Stand

GRAPH = """
max_batch_size = 8
input = [{ name = "a", data_type = "FP32", dims = [2] }]
output = [{ name = "z", data_type = "FP32", dims = [2], from = "last.y" }]

[[step]]
name = "first"
model = "fraud"
version = "1"
inputs = { x = "a" }

[[step]]
name = "last"
model = "calm"
inputs = { x = "first.y" }
"""


def kept(inputs: dict[str, str], outputs: dict[str, str], *, rows: int = 4, shape: tuple[int, ...] = (-1, 2)) -> dict[str, Any]:
    """Return a signature as the catalogue keeps it."""

    def specs(of: dict[str, str]) -> list[dict[str, Any]]:
        return [{"name": name, "datatype": datatype, "shape": list(shape), "optional": False} for name, datatype in of.items()]

    return {"inputs": specs(inputs), "outputs": specs(outputs), "max_batch_size": rows}


X, Y = {"x": "FP32"}, {"y": "FP32"}
GOOD = kept(X, Y)


def judged(first: list[dict[str, Any]], last: list[dict[str, Any]]) -> tuple[str, ...]:
    def signatures(listed: list[dict[str, Any]]) -> list[Any]:
        return [signature_in(one, 8) for one in listed]

    return misfits(from_toml(GRAPH).graph, {"first": signatures(first), "last": signatures(last)})


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        ([GOOD], [GOOD], ""),
        ([], [], ""),
        ([GOOD], [kept({"u": "FP32"}, Y)], "step 'last': calm has no input 'x'"),
        ([GOOD], [kept({"x": "FP32", "u": "FP32"}, Y)], "step 'last': calm needs input 'u'"),
        ([kept(X, {"v": "FP32"})], [GOOD], "step 'first': fraud gives no output 'y'"),
        ([GOOD], [kept({"x": "INT64"}, Y)], "step 'last': calm takes x INT64[-1,2], first.y is FP32[-1,2]"),
        ([GOOD], [kept(X, Y, shape=(-1, 3))], "step 'last': calm takes x FP32[-1,3], first.y is FP32[-1,2]"),
        ([GOOD], [kept(X, {"y": "INT64"})], "output z FP32[-1,2] of the graph comes from last.y, which is INT64[-1,2]"),
        ([kept({"x": "BYTES"}, Y)], [GOOD], "step 'first': fraud takes x BYTES[-1,2], a is FP32[-1,2]"),
        ([kept(X, Y, rows=0)], [GOOD], "step 'first': fraud takes no rows at once, the graph 8"),
        ([GOOD], [kept({"x": "INT64"}, Y), GOOD], ""),
        ([GOOD], [GOOD, kept({"x": "INT64"}, Y)], ""),
        ([GOOD], [kept({"u": "FP32"}, Y), kept({"x": "INT64"}, Y)], "calm takes x INT64[-1,2], first.y is FP32[-1,2] (nor does any other"),
    ],
)
def test_what_does_not_fit_is_told_with_step_and_tensor_and_what_may_fit_is_not(
    first: list[dict[str, Any]], last: list[dict[str, Any]], told: str
):
    problems = judged(first, last)

    assert told in problems[0] if told else problems == ()


def test_nothing_is_said_of_missing_inputs_of_a_version_that_does_not_tell_which_are_optional():
    of_before = kept({"x": "FP32", "u": "FP32"}, Y)
    for one in of_before["inputs"]:
        del one["optional"]

    assert judged([GOOD], [of_before]) == ()


async def register(stand: Stand, model: str, version: str, signature: dict[str, Any]) -> None:
    await stand.registry.register(Version(model=model, version=version, digest=DIGEST, signature=signature), Description(), ANN)


async def refusal(stand: Stand, folder: Path) -> ServingError | None:
    """Register the graph; return why not. Nothing is left of it then."""
    async with kit(folder) as here:
        request = RegistrationRequest(model="graph", version="1", source=here.archive(tar({"graph.toml": GRAPH.encode()})))
        try:
            await here.registration.register(request, CatalogueBook(stand.registry, ANN))
        except ServingError as error:
            assert await here.leftovers() == []
            return error
    return None


async def test_a_graph_that_fits_is_registered(stand: Stand, tmp_path: Path):
    await register(stand, "fraud", "1", GOOD)
    await register(stand, "calm", "7", GOOD)

    assert await refusal(stand, tmp_path) is None


async def test_a_graph_is_refused_with_all_steps_that_are_not_registered_and_leaves_nothing(stand: Stand, tmp_path: Path):
    await register(stand, "fraud", "2", GOOD)
    await register(stand, "calm", "1", GOOD)
    await stand.registry.withdraw("calm", "1", VersionState.FAILED, ANN)
    refused = await refusal(stand, tmp_path)

    assert isinstance(refused, Conflict)
    assert (refused.reason, refused.field) == ("STEP_NOT_REGISTERED", "source")
    assert refused.message.endswith("step 'first' (fraud@1), step 'last' (calm)")


async def test_a_graph_is_refused_with_the_step_and_the_tensor_that_do_not_fit(stand: Stand, tmp_path: Path):
    await register(stand, "fraud", "1", GOOD)
    await register(stand, "calm", "1", kept({"x": "INT64"}, Y))
    refused = await refusal(stand, tmp_path)

    assert isinstance(refused, InvalidInput)
    assert (refused.reason, refused.field) == ("STEP_MISFIT", "source")
    assert "step 'last': calm takes x INT64[-1,2], first.y is FP32[-1,2]" in refused.message


async def test_a_step_may_name_an_alias(stand: Stand, tmp_path: Path):
    await register(stand, "fraud", "v9", GOOD)
    await stand.registry.set_alias("fraud", "1", "v9", ANN)
    await register(stand, "calm", "1", GOOD)

    assert await refusal(stand, tmp_path) is None
