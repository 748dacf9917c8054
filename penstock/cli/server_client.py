"""Asks a server about its models: messages come in, values go out."""

from __future__ import annotations

import base64
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from penstock.cli.model_views import BatchCost, ModelDescription, ServerIdentity, Step, VersionEntry, VersionStatistics
from penstock.client import Client
from penstock.client.encoding import signature_of
from penstock.contracts.names import version_order
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import datatype_named
from penstock.oip.v2 import inference_pb2 as pb

STEPS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")


def identity_of(client: Client) -> ServerIdentity:
    """Return name, version and extensions of the server."""
    answer = client.server()
    return ServerIdentity(name=answer.name, version=answer.version, extensions=tuple(answer.extensions))


def versions_of(client: Client, model: str | None = None) -> tuple[VersionEntry, ...]:
    """Return all versions of all models, or of one, from oldest to newest."""
    entries = [
        VersionEntry(model=entry.name, version=entry.version, state=entry.state or "UNKNOWN", reason=entry.reason)
        for entry in client.models().models
        if model in (None, entry.name)
    ]
    return tuple(sorted(entries, key=lambda entry: (entry.model, version_order(entry.version))))


def signature_at(client: Client, model: str, version: str = "") -> Signature:
    """Return what a version takes and gives."""
    metadata, configuration = client.model(model, version), client.model_config(model, version)
    return _signature(metadata, configuration)


def description_of(client: Client, model: str, version: str = "") -> ModelDescription:
    """Return signature and configuration of a version."""
    metadata, configuration = client.model(model, version), client.model_config(model, version)
    return ModelDescription(
        model=metadata.name,
        platform=metadata.platform,
        signature=_signature(metadata, configuration),
        configuration=as_document(configuration.config),
    )


def statistics_of(client: Client, model: str = "", version: str = "") -> tuple[VersionStatistics, ...]:
    """Return the statistics of one version, of one model, or of all."""
    return tuple(_statistics(entry) for entry in client.statistics(model, version).model_stats)


def as_document(message: Message) -> dict[str, Any]:
    """Return the fields of a message that are set: names as declared, enumerations by name, bytes as base64."""
    return {field.name: _field(field, value) for field, value in message.ListFields()}


def _signature(metadata: pb.ModelMetadataResponse, configuration: pb.ModelConfigResponse) -> Signature:
    outputs = tuple(
        TensorSpec(name=one.name, datatype=datatype_named(one.datatype, field=one.name), shape=tuple(one.shape)) for one in metadata.outputs
    )
    return Signature(inputs=signature_of(metadata), outputs=outputs, max_batch_size=configuration.config.max_batch_size)


def _statistics(entry: pb.ModelStatistics) -> VersionStatistics:
    sums = entry.inference_stats
    return VersionStatistics(
        model=entry.name,
        version=entry.version,
        rows=entry.inference_count,
        executions=entry.execution_count,
        steps={name: _step(getattr(sums, name)) for name in STEPS},
        costs=tuple(_cost(batch) for batch in entry.batch_stats),
        memory_bytes=sum(usage.byte_size for usage in entry.memory_usage) if entry.memory_usage else None,
        last_inference_time=entry.last_inference / 1000 if entry.last_inference else None,
    )


def _step(total: pb.StatisticDuration) -> Step:
    return Step(count=total.count, nanoseconds=total.ns)


def _cost(batch: pb.InferBatchStatistics) -> BatchCost:
    step = _step(batch.compute_infer)
    return BatchCost(rows=batch.batch_size, executions=step.count, mean_ms=step.mean_ms)


def _field(field: FieldDescriptor, value: Any) -> Any:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        inner = kind.fields_by_name["value"]
        return {str(key): _one(inner, value[key]) for key in sorted(value)}
    return [_one(field, one) for one in value] if field.is_repeated else _one(field, value)


def _one(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return as_document(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
