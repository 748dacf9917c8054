"""Manifests: what is read from them, and what is refused with its place."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import InvalidInput, InvalidSpec, RequestTooLarge, ServingError
from penstock.contracts.routes import FallbackKind, FallbackStep, KeySource, RoutingKey, Shadow
from services.controller.deployment_values import Resources
from services.controller.manifest_text import MOST_BYTES, documents_in
from services.controller.manifest_values import ShadowWish, VersionWish, Wish
from services.controller.manifests import wishes_in

WHOLE_MANIFEST = """
apiVersion: penstock/v1
kind: Deployment
metadata: {name: fraud, labels: {team: risk}}
spec:
  versions:
    - {version: v3.0, traffic: 90, replicas: 2, resources: {memory: 2Gi, gpu: A100}, config: {max_batch_size: 8}}
    - {version: "2", traffic: 10}
  routingKey: {source: user, salt: s}
  pins: {acme: v3.0}
  shadow: {version: v3.2, sample: 2.5, concurrency: 4}
  fallback: [v3.0, cached]
  aliases: {champion: v3.0}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: iris, annotations: {penstock.io/version: v7}}
spec:
  predictor:
    minReplicas: 3
    canaryTrafficPercent: 5
    model: {modelFormat: {name: onnx}, storageUri: "s3://m/iris/7/", resources: {limits: {memory: 512Mi}}}
"""


def ours(spec: Any = None, name: Any = "fraud", **more: Any) -> str:
    spec = {"version": "v1"} if spec is None else spec
    return json.dumps({"apiVersion": "penstock/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec} | more)


def theirs(predictor: Any = None, model: Any = None, annotations: Any = None) -> str:
    served = {"modelFormat": {"name": "onnx"}, "storageUri": "s3://m/1"} | (model or {})
    metadata = {"name": "fraud", "annotations": annotations or {}}
    spec = {"predictor": {"model": served} | (predictor or {})}
    return json.dumps({"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": metadata, "spec": spec})


def refused(text: str) -> dict[str, str]:
    with pytest.raises(InvalidSpec) as refusal:
        wishes_in(text)
    return dict(refusal.value.details)  # type: ignore[call-overload]


def test_every_field_of_both_kinds_is_read():
    fraud, iris = wishes_in(WHOLE_MANIFEST)

    assert fraud == Wish(
        model="fraud",
        versions=(
            VersionWish(
                version="v3.0",
                basis_points=9000,
                replicas=2,
                gpu_type="A100",
                resources=Resources(memory_bytes=2 << 30),
                config={"max_batch_size": 8},
            ),
            VersionWish(version="2", basis_points=1000),
        ),
        routing_key=RoutingKey(source=KeySource.USER, salt="s"),
        pins={"acme": "v3.0"},
        shadow=ShadowWish(shadow=Shadow(version="v3.2", sample_basis_points=250, concurrency_limit=4)),
        fallback=(FallbackStep(kind=FallbackKind.VERSION, version="v3.0"), FallbackStep(kind=FallbackKind.CACHED)),
        aliases={"champion": "v3.0"},
    )
    version = VersionWish(version="v7", source="s3://m/iris/7/", basis_points=500, replicas=3, resources=Resources(memory_bytes=512 << 20))
    assert iris == Wish(model="iris", versions=(version,), is_canary=True)


def test_json_and_yaml_say_the_same():
    document = yaml.safe_load(WHOLE_MANIFEST.partition("---")[0])

    assert wishes_in(json.dumps(document)) == wishes_in(yaml.safe_dump(document))
    assert wishes_in(json.dumps(document, indent="\t")) == wishes_in(json.dumps(document))


def test_an_empty_shadow_ends_the_shadow_and_none_leaves_it():
    ended, left = wishes_in(ours({"version": "v1", "shadow": None})), wishes_in(ours({"version": "v1"}))

    assert (ended[0].shadow, left[0].shadow) == (ShadowWish(shadow=None), None)


MODEL = "/0/spec/predictor/model"
ID1 = {
    "empty": ("", ""),
    "only a comment": ("# nothing", ""),
    "a text": ("hello", "/0"),
    "a list": ("[1, 2]", "/0"),
    "a number": ("7", "/0"),
    "unknown field beside spec": (ours(status={}), "/0/status"),
    "unknown field of spec": (ours({"version": "v1", "trafic": 10}), "/0/spec/trafic"),
    "unknown field of a version": (ours({"versions": [{"version": "v1", "traffic": 100, "weight": 1}]}), "/0/spec/versions/0/weight"),
    "unknown field of metadata": (ours(metadata={"name": "m", "uid": "7"}), "/0/metadata/uid"),
    "no spec": (ours({}), "/0/spec"),
    "spec is a list": (ours([1]), "/0/spec"),
    "second document": (f"{ours()}\n---\n{ours({'version': 'v1', 'x': 1}, 'other')}", "/1/spec/x"),
    "one model twice": (f"{ours()}\n---\n{ours()}", "/1/metadata/name"),
}
ID2 = {
    "unknown kind": (ours(kind="Rollout"), "/0/kind"),
    "kind of another group": (ours(kind="InferenceService"), "/0/kind"),
    "unknown group": (ours(apiVersion="apps/v1"), "/0/kind"),
    "no kind": (json.dumps({"apiVersion": "penstock/v1"}), "/0/kind"),
    "a number as group": (ours(apiVersion=1), "/0/apiVersion"),
}
ID3 = {
    repr(name): (ours(name=name), "/0/metadata/name")
    for name in ["", "a" * 256, "..", "a..b", "-x", "über", "a/b", "../x", "a b", "system\x00", 7, None, ["m"], {"a": 1}]
}
OTHERS = {
    "ID5 latest": (ours({"version": "latest"}), "/0/spec/version"),
    "ID5 no version": (ours({"replicas": 1}), "/0/spec/versions"),
    "both forms": (ours({"version": "v1", "versions": [{"version": "v1"}]}), "/0/spec/versions"),
    "unquoted version": ("apiVersion: penstock/v1\nkind: Deployment\nmetadata: {name: m}\nspec: {version: 3.1}", "/0/spec/version"),
    "ID8 sum 99": (ours({"versions": [{"version": "1", "traffic": 99}]}), "/0/spec/versions"),
    "ID8 sum 101": (ours({"versions": [{"version": "1", "traffic": 51}, {"version": "2", "traffic": 50}]}), "/0/spec/versions"),
    "ID8 sum 0": (ours({"versions": [{"version": "1", "traffic": 0}]}), "/0/spec/versions"),
    "ID8 three thirds": (ours({"versions": [{"version": str(n), "traffic": 33.333} for n in range(3)]}), "/0/spec/versions/0/traffic"),
    "ID8 negative": (ours({"versions": [{"version": "1", "traffic": -1}]}), "/0/spec/versions/0/traffic"),
    "ID8 a truth": (ours({"versions": [{"version": "1", "traffic": True}]}), "/0/spec/versions/0/traffic"),
    "ID10 twice": (ours({"versions": [{"version": "1"}, {"version": "1"}]}), "/0/spec/versions/0/version"),
    "no versions": (ours({"versions": []}), "/0/spec/versions"),
    "ID11 none": (ours({"version": "1", "replicas": 0}), "/0/spec/replicas"),
    "ID11 negative": (ours({"version": "1", "replicas": -1}), "/0/spec/replicas"),
    "ID11 a million": (ours({"version": "1", "replicas": 1_000_000}), "/0/spec/replicas"),
    "ID11 a part": (ours({"version": "1", "replicas": 1.5}), "/0/spec/replicas"),
    "ID13 potatoes": (ours({"version": "1", "resources": {"memory": "8 potatoes"}}), "/0/spec/resources/memory"),
    "ID13 none": (ours({"version": "1", "resources": {"memory": "0"}}), "/0/spec/resources/memory"),
    "ID13 negative": (ours({"version": "1", "resources": {"memory": -5}}), "/0/spec/resources/memory"),
    "ID13 too much": (ours({"version": "1", "resources": {"memory": "1e30Gi"}}), "/0/spec/resources/memory"),
    "ID13 beyond": (ours({"version": "1", "resources": {"memory": "999999999Ti"}}), "/0/spec/resources"),
    "processors": (ours({"version": "1", "resources": {"cpu": 2}}), "/0/spec/resources/cpu"),
    "ID16 batch": (ours({"version": "1", "config": {"max_batch_size": 0}}), "/0/spec/config"),
    "ID36 shadow of 200 %": (ours({"version": "1", "shadow": {"version": "2", "sample": 200}}), "/0/spec/shadow/sample"),
    "shadow of nothing": (ours({"version": "1", "shadow": {"version": "2", "sample": 0}}), "/0/spec/shadow"),
    "ID34 key without parameter": (ours({"version": "1", "routingKey": {"source": "parameter"}}), "/0/spec/routingKey"),
    "ID34 unknown source": (ours({"version": "1", "routingKey": {"source": "header"}}), "/0/spec/routingKey/source"),
    "fallback that is no name": (ours({"version": "1", "fallback": ["../x"]}), "/0/spec/fallback/0"),
    "fallback that is no list": (ours({"version": "1", "fallback": "v1"}), "/0/spec/fallback"),
    "ID40 secret inline": (ours({"version": "1", "config": {"api_key": "hunter2"}}), "/0/spec/config"),
    "namespace": (ours(metadata={"name": "m", "namespace": "prod"}), "/0/metadata/namespace"),
    "ID42 10,000 labels": (ours(metadata={"name": "m", "labels": {str(n): "x" for n in range(10_000)}}), "/0/metadata/labels"),
    "KServe transformer": (theirs().replace('"predictor"', '"transformer": {}, "predictor"'), "/0/spec/transformer"),
    "KServe format": (theirs(model={"modelFormat": {"name": "sklearn"}}), "/0/spec/predictor/model/modelFormat/name"),
    "KServe no source": (theirs(model={"storageUri": None}), "/0/spec/predictor/model/storageUri"),
    "KServe environment": (theirs(model={"env": []}), "/0/spec/predictor/model/env"),
    "KServe old form": (theirs({"sklearn": {}}), "/0/spec/predictor/sklearn"),
    "KServe scaling": (theirs({"minReplicas": 1, "maxReplicas": 5}), "/0/spec/predictor/maxReplicas"),
    "KServe to zero": (theirs({"minReplicas": 0}), "/0/spec/predictor/minReplicas"),
    "KServe percent": (theirs({"canaryTrafficPercent": 101}), "/0/spec/predictor/canaryTrafficPercent"),
    "KServe GPU": (theirs(model={"resources": {"limits": {"nvidia.com/gpu": "1"}}}), f"{MODEL}/resources/limits/nvidia.com~1gpu"),
    "KServe mode": (theirs(annotations={"serving.kserve.io/deploymentMode": "Serverless"}), "/0/spec"),
}  # fmt: skip


@pytest.mark.parametrize("row", [*ID1.items(), *ID2.items(), *ID3.items(), *OTHERS.items()], ids=lambda row: row[0])
def test_what_cannot_be_is_refused_with_its_place(row: tuple[str, tuple[str, str]]):
    text, pointer = row[1]

    assert pointer in refused(text)


def test_all_problems_of_all_documents_are_told_at_once():
    problems = refused(f"{ours({'version': 'latest', 'replicas': 0, 'x': 1})}\n---\n{ours(name='-x')}")

    assert {"/0/spec/version", "/0/spec/replicas", "/0/spec/x", "/1/metadata/name"} <= problems.keys()


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{n}: &{n} [*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n" for p, n in zip("abcdefg", "bcdefgh", strict=True)
)
ID42 = {
    "5 MB": "a: " + "x" * (5 << 20),
    "5 MB of JSON": json.dumps({"a": "x" * (5 << 20)}),
    "a bomb of anchors": BOMB,
    "an anchor": "a: &x 1",
    "an alias": "a: *x",
    "a tag of Python": "!!python/object/apply:os.system ['true']",
    "a name of Python": "a: !!python/name:os.system",
    "a tag of YAML": "a: !!binary aGk=",
    "a tag of one's own": "!thing {a: 1}",
    "a merge key": "a: {<<: {b: 1}}",
    "a key twice": "a: 1\na: 2",
    "a key twice in JSON": '{"a": 1, "a": 2}',
    "a list as a key": "? [a]\n: 1",
    "10,000 levels": "[" * 10_000,
    "10,000 levels of JSON": '{"a":' * 10_000,
    "30,000 values": "[" + "1," * 30_000 + "1]",
    "30,000 values of JSON": json.dumps({"a": [1] * 30_000}),
    "1,000 documents": "--- {}\n" * 1_000,
    "no number": "a: .nan",
    "no number in JSON": '{"a": NaN}',
    "infinity": "a: -.inf",
    "a tab": "a:\n\t- b",
    "half": "a: [1, 2",
    "a control character": "a: \x00",
    "a lone surrogate": "a: \ud800",
    "a lone surrogate of JSON": '{"a": "\\ud800"}',
}  # fmt: skip


@pytest.mark.parametrize("text", ID42.values(), ids=ID42.keys())
def test_a_text_that_is_a_danger_is_refused_quickly(text: str):
    started = time.process_time()
    with pytest.raises(ServingError) as refusal:
        documents_in(text)

    assert refusal.value.status.http in (400, 413)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *(("no", "no"), ("on", "on"), ("true", True), ("~", None), ("7", 7), ("1.5", 1.5), ("2026-01-01", "2026-01-01"), ("0x1F", "0x1F")),
        *(('"7"', "7"), ("'true'", "true"), ("1_000", "1_000"), ("12:30", "12:30"), ("1e3", 1000.0), ("0E0", 0.0), ("9" * 30, "9" * 30)),
    ],
)
def test_plain_words_mean_what_they_mean_in_yaml_1_2(word: str, value: object):
    assert documents_in(f"a: {word}") == ({"a": value},)


NUMBER_OF_1_2_ONLY = re.compile(r"[-+]?[0-9]+([eE][-+]?[0-9]+)?")
"""Words that the writer, who goes by YAML 1.1, takes for text and leaves without quotes, and that are numbers in YAML 1.2."""

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).filter(lambda text: not NUMBER_OF_1_2_ONLY.fullmatch(text)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", min_size=1, max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(document=st.dictionaries(st.text("abcdef", min_size=1, max_size=5), JSON_VALUES, max_size=5))
def test_what_yaml_writers_write_is_read_back(document: dict[str, object]):
    assert documents_in(yaml.safe_dump(document, allow_unicode=True)) == (document,)
    assert documents_in(json.dumps(document)) == (document,)


@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str):
    with suppress(InvalidInput, RequestTooLarge):
        assert all(wish.versions for wish in wishes_in(text))


def test_the_largest_text_that_is_taken():
    assert documents_in("# " + "x" * (MOST_BYTES - 2)) == ()
    with pytest.raises(RequestTooLarge):
        documents_in("# " + "x" * (MOST_BYTES - 1))
