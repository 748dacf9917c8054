"""How a model is served: read from `config.pbtxt`, `model.toml` or JSON, completed from the graph, and told to clients.

    config = from_pbtxt(text) | from_toml(text) | from_json(text) | None
    model = complete(config, GraphSignature.of(session.get_inputs(), session.get_outputs()), name="digits")
    model.signature                      what callers send and receive
    model.config.batching, .warmup, …    how it runs
    to_proto(model.config)               Triton's ModelConfig;  to_bytes its serialised form, to_json its JSON

The parts live in modules of their own; this one is where others import them from.
"""

from penstock.contracts.feature_schema import FeatureColumn, FeatureSchema
from penstock.contracts.model_config_complete import DEFAULT_MAX_BATCH_SIZE, DEFAULT_MODEL_FILENAME, CompletedModel, complete
from penstock.contracts.model_config_proto import BACKEND, PLATFORM, from_proto, to_bytes, to_proto
from penstock.contracts.model_config_scheduling import (
    All,
    DynamicBatching,
    InstanceGroup,
    InstanceKind,
    Latest,
    QueuePolicy,
    Specific,
    TimeoutAction,
    VersionPolicy,
)
from penstock.contracts.model_config_text import from_json, from_pbtxt, from_toml, from_tree, to_json
from penstock.contracts.model_config_values import (
    ExecutionOptions,
    GoldenExample,
    ModelConfig,
    NonFiniteOutput,
    Pooling,
    ResponseCache,
    TensorConfig,
    TextOptions,
    WarmupInput,
    WarmupSample,
    WarmupValues,
)
from penstock.contracts.model_graph import GraphSignature, GraphTensor
from penstock.contracts.model_text import EMBEDDING_OUTPUT, TEXT_INPUT, TOKEN_COUNT_OUTPUT, TextPlan

__all__ = [
    "BACKEND",
    "DEFAULT_MAX_BATCH_SIZE",
    "DEFAULT_MODEL_FILENAME",
    "EMBEDDING_OUTPUT",
    "PLATFORM",
    "TEXT_INPUT",
    "TOKEN_COUNT_OUTPUT",
    "All",
    "CompletedModel",
    "DynamicBatching",
    "ExecutionOptions",
    "FeatureColumn",
    "FeatureSchema",
    "GoldenExample",
    "GraphSignature",
    "GraphTensor",
    "InstanceGroup",
    "InstanceKind",
    "Latest",
    "ModelConfig",
    "NonFiniteOutput",
    "Pooling",
    "QueuePolicy",
    "ResponseCache",
    "Specific",
    "TensorConfig",
    "TextOptions",
    "TextPlan",
    "TimeoutAction",
    "VersionPolicy",
    "WarmupInput",
    "WarmupSample",
    "WarmupValues",
    "complete",
    "from_json",
    "from_pbtxt",
    "from_proto",
    "from_toml",
    "from_tree",
    "to_bytes",
    "to_json",
    "to_proto",
]
