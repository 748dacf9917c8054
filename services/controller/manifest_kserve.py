"""Reads KServe's InferenceService: the part of it that can be honoured. Pure.

apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: fraud_detector                                  # the model
  annotations: {penstock.io/version: v3.1}              # the version; else the one that was registered from storageUri
spec:
  predictor:
    minReplicas: 2
    canaryTrafficPercent: 10                            # the rest stays with those who have it
    model: {modelFormat: {name: onnx}, storageUri: s3://models/fraud/3.1/, resources: {limits: {memory: 2Gi}}}
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.contracts.routes import WHOLE
from services.controller.deployment_checks import scaling_problems
from services.controller.deployment_values import Resources, Scaling
from services.controller.manifest_fields import Fields
from services.controller.manifest_values import VersionWish, Wish

VERSION_ANNOTATION = "penstock.io/version"
"""Names the version, where the registered source does not."""

_FORMATS = ("onnx", "sklearn", "xgboost", "tensorflow", "pytorch", "triton", "huggingface", "lightgbm", "pmml")
_WHY = {
    **dict.fromkeys(_FORMATS, "only `model` with the format onnx is served here"),
    "containers": "no containers are run here",
    "serviceAccountName": "sources are read with the controller's own credentials",
    "timeout": "deadlines come with each request",
    "scaleTarget": "replicas are not scaled by load here: set minReplicas",
    "batcher": "batching stands in the version's model.toml",
    "logger": "payloads are never logged",
}


def inference_service(model: str, annotations: Mapping[str, str], spec: Fields) -> Wish:
    """Return what an InferenceService asks for."""
    predictor = spec.part("predictor")
    if predictor.is_empty:
        spec.refuse("predictor", "is missing")
    spec.end(why={"transformer": "only predictors are served here", "explainer": "only predictors are served here"})
    for name in annotations:
        if name.startswith("serving.kserve.io/"):
            spec.refuse("", f"the annotation {name!r} cannot be honoured here")
    share = predictor.share("canaryTrafficPercent")
    served = predictor.part("model")
    wish = VersionWish(
        version=annotations.get(VERSION_ANNOTATION, ""),
        source=served.text("storageUri", needed=True),
        basis_points=WHOLE if share is None else share,
        replicas=_replicas(predictor),
        resources=_resources(served.part("resources")),
    )
    _check_format(served)
    served.end(
        why={"runtime": "there is one runtime here", "env": "a model has no environment here", "args": "a model has no arguments here"}
    )
    predictor.end(why=_WHY)
    return Wish(model=model, versions=(wish,), is_canary=share is not None)


def _replicas(predictor: Fields) -> int | None:
    least, most = predictor.whole("minReplicas"), predictor.whole("maxReplicas")
    if most is not None and most != (1 if least is None else least):
        predictor.refuse("maxReplicas", "replicas are not scaled by load here: make it equal to minReplicas, or leave it out")
    for _, problem in scaling_problems(Scaling(replicas=least)):
        predictor.refuse("minReplicas", problem)
    return least


def _resources(part: Fields) -> Resources | None:
    limits, requests = part.part("limits"), part.part("requests")
    amounts = [amount for amount in (limits.quantity("memory"), requests.quantity("memory")) if amount is not None]
    for each in (limits, requests):
        each.end(
            why={"cpu": "processors are not reserved here: leave it out", "nvidia.com/gpu": "GPUs are chosen by type: deploy with gpu"}
        )
    part.end()
    return Resources(memory_bytes=max(amounts)) if amounts else None


def _check_format(served: Fields) -> None:
    kind = served.part("modelFormat")
    name = kind.text("name", needed=True)
    if name and name != "onnx":
        kind.refuse("name", f"{name[:40]!r} is not served here, onnx is")
    kind.end(why={"version": "every opset that the runtime knows is served: leave it out"})
    served.one_of("protocolVersion", ("v2", "grpc-v2"), "v2")
