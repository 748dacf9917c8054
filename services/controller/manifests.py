"""Reads manifests: documents of kind Deployment (ours) and InferenceService (KServe's) become wishes. Pure: text in, wishes out.

    apiVersion: penstock/v1
    kind: Deployment
    metadata: {name: fraud_detector}
    spec:
      versions:                               # or version: v3.1, with what stands below a version beside it
        - {version: v3.0, traffic: 90, replicas: 2, resources: {memory: 2Gi, gpu: A100}, config: {…as model.toml…}}
        - {version: v3.1, traffic: 10}
      routingKey: {source: user}
      pins: {acme: v3.0}
      shadow: {version: v3.2, sample: 5}      # null ends it
      fallback: [v3.0, cached]
      aliases: {champion: v3.0}

A field that is left out leaves what stands; one that is there is the whole truth about its part. What cannot be honoured is refused by
name, and all that is wrong with all documents is said at once, each with the JSON pointer of its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from penstock.contracts.errors import InvalidInput, InvalidSpec
from penstock.contracts.names import check_model_name, check_version_name
from penstock.contracts.routes import SHADOW_CONCURRENCY, WHOLE, FallbackKind, FallbackStep, KeySource, RoutingKey, Shadow
from services.controller.deployment_checks import Problem, scaling_problems
from services.controller.deployment_values import Resources, Scaling
from services.controller.manifest_fields import Fields
from services.controller.manifest_kserve import inference_service
from services.controller.manifest_text import documents_in
from services.controller.manifest_values import ShadowWish, VersionWish, Wish

MOST_LABELS = 64
MOST_VERSIONS = 100
MOST_PINS = 1_000

SOURCES = tuple(source.name.lower() for source in KeySource)

T = TypeVar("T")


def wishes_in(text: str) -> tuple[Wish, ...]:
    """Return what a manifest asks for, in its order.

    Raises:
        RequestTooLarge, MalformedBody: the text cannot be read.
        InvalidSpec: all that is wrong with its documents; `details` are pairs of a JSON pointer and a problem.
    """
    documents = documents_in(text)
    problems: list[Problem] = [] if documents else [("", "the manifest holds no document")]
    wishes = [_wish(Fields(f"/{index}", document, problems)) for index, document in enumerate(documents)]
    models = [wish.model for wish in wishes]
    problems += [(f"/{index}/metadata/name", f"{name!r} comes twice") for index, name in enumerate(models) if name in models[:index]]
    if problems:
        listed = "; ".join(f"{pointer or '/'}: {problem}" for pointer, problem in problems[:50])
        raise InvalidSpec(f"the manifest is refused: {listed}", details=tuple(problems), field=problems[0][0] or "manifest")
    return tuple(wishes)


def _wish(document: Fields) -> Wish:
    version, kind = document.text("apiVersion"), document.text("kind")
    build = _KINDS.get((version, kind))
    metadata = document.part("metadata")
    name = metadata.text("name", needed=True)
    if build is None:
        known = " and ".join(f"{kind} of {group}" for group, kind in _KINDS)
        document.refuse("kind", f"{kind[:80]!r} of {version[:80]!r} is not known here: {known} are")
        return Wish(model=name, versions=())
    said(metadata, "name", lambda: check_model_name(name) if name else name)
    metadata.texts("labels", most=MOST_LABELS)  # said for people: nothing is done with them
    wish = build(name, metadata.texts("annotations", most=MOST_LABELS), document.part("spec"))
    namespace = metadata.text("namespace")
    if namespace not in ("", "default"):
        metadata.refuse("namespace", "there are no namespaces here: a model's name is its own")
    metadata.end()
    document.end()
    return wish


def _deployment(model: str, _: Mapping[str, str], spec: Fields) -> Wish:
    if spec.is_empty:
        spec.refuse("", "is missing, or empty")
    if spec.has("version") == spec.has("versions"):
        spec.refuse("versions", "name a version, or a list of versions: one of both")
    versions = _versions(spec) if spec.has("versions") else (_version(spec, share=WHOLE),)
    wish = Wish(
        model=model,
        versions=versions,
        routing_key=_routing_key(spec.part("routingKey")) if spec.has("routingKey") else None,
        pins=spec.texts("pins", most=MOST_PINS) if spec.has("pins") else None,
        shadow=_shadow(spec.part("shadow")) if spec.has("shadow") else None,
        fallback=_fallback(spec) if spec.has("fallback") else None,
        aliases=spec.texts("aliases", most=MOST_LABELS) if spec.has("aliases") else None,
    )
    spec.end()
    return wish


def _versions(spec: Fields) -> tuple[VersionWish, ...]:
    parts = spec.parts("versions")
    if not 1 <= len(parts) <= MOST_VERSIONS:
        spec.refuse("versions", f"holds {len(parts)} versions, not 1 to {MOST_VERSIONS}")
        return ()
    versions = tuple(_version(part, share=None) for part in parts)
    for part in parts:
        part.end()
    names = [one.version for one in versions]
    for part, name in zip(parts, names, strict=True):
        if names.count(name) > 1:
            part.refuse("version", f"{name!r} comes twice")
    shares = [one.basis_points for one in versions if one.basis_points is not None]
    if shares and sum(shares) != WHOLE:
        spec.refuse("versions", f"the traffic sums to {sum(shares) / 100:g} %, not to 100 %")
    return versions


def _version(part: Fields, *, share: int | None) -> VersionWish:
    name = part.text("version", needed=True)
    said(part, "version", lambda: check_version_name(name) if name else name)
    if name == "latest":
        part.refuse("version", "'latest' names no version: a deployment is of one version")
    resources = part.part("resources")
    memory, gpu = resources.quantity("memory"), resources.text("gpu") if resources.has("gpu") else None
    resources.end(why={"cpus": "processors are not reserved here: leave it out", "cpu": "processors are not reserved here: leave it out"})
    config = part.take("config")
    if config is not None and not isinstance(config, dict):
        part.refuse("config", "is no object, in the words of model.toml")
    wish = VersionWish(
        version=name,
        basis_points=share if share is not None else part.share("traffic"),
        replicas=part.whole("replicas"),
        gpu_type=gpu,
        resources=None if memory is None else Resources(memory_bytes=memory),
        config=cast("dict[str, object]", config) if isinstance(config, dict) else None,
    )
    for pointer, problem in scaling_problems(Scaling(replicas=wish.replicas, config=wish.config, resources=wish.resources)):
        part.refuse(pointer.lstrip("/").split("/")[0], f"{pointer}: {problem}")
    return wish


def _routing_key(part: Fields) -> RoutingKey:
    source = part.one_of("source", SOURCES, "request")
    parameter, salt = part.text("parameter"), part.text("salt")
    part.end()
    made = said(part, "", lambda: RoutingKey(source=KeySource[source.upper()], parameter=parameter, salt=salt))
    return made or RoutingKey()


def _shadow(part: Fields) -> ShadowWish:
    if part.is_empty:
        return ShadowWish(shadow=None)
    version, sample, limit = part.text("version", needed=True), part.share("sample"), part.whole("concurrency")
    part.end()
    made = said(
        part,
        "",
        lambda: Shadow(
            version=version,
            sample_basis_points=1000 if sample is None else sample,
            concurrency_limit=SHADOW_CONCURRENCY if limit is None else limit,
        ),
    )
    return ShadowWish(shadow=made)


def _fallback(spec: Fields) -> tuple[FallbackStep, ...]:
    steps: list[FallbackStep] = []
    for place, word in spec.words("fallback"):
        kind = FallbackKind.CACHED if word == "cached" else FallbackKind.VERSION
        step = said(place, "", lambda kind=kind, word=word: _step(kind, word))
        steps += [step] if step is not None else []
    return tuple(steps)


def _step(kind: FallbackKind, word: str) -> FallbackStep:
    return FallbackStep(kind=kind, version="" if kind is FallbackKind.CACHED else word)


def said(part: Fields, name: str, make: Callable[[], T]) -> T | None:
    """Return what is made; a value that refuses to be is a problem of the field."""
    try:
        return make()
    except InvalidInput as error:
        part.refuse(name, error.message)
        return None


_KINDS: Mapping[tuple[str, str], Callable[[str, Mapping[str, str], Fields], Wish]] = {
    ("penstock/v1", "Deployment"): _deployment,
    ("serving.kserve.io/v1beta1", "InferenceService"): inference_service,
}
