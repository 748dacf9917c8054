"""The configuration of a model as values, in Triton's vocabulary.

A configuration as somebody wrote it may leave almost everything out: `None` then means "not said" and is filled from the model's graph
by `complete`. What is said is valid by itself, or the value is not constructed; what contradicts the graph is found by `complete`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from penstock.contracts.feature_schema import FeatureSchema
from penstock.contracts.model_config_checks import check_file, require
from penstock.contracts.model_config_scheduling import DynamicBatching, InstanceGroup, Latest, VersionPolicy
from penstock.contracts.names import check_model_name, check_version_name
from penstock.contracts.routes import WHOLE
from penstock.contracts.tensors import DataType

MAX_THREADS = 512
"""Most threads of an operator, or operators at once."""
LATEST = "latest"
"""Alias that every model has."""


class WarmupValues(Enum):
    """Where the elements of a warm-up input come from."""

    ZERO = "zero_data"
    RANDOM = "random_data"
    FILE = "input_data_file"


class NonFiniteOutput(Enum):
    """What becomes of an answer that holds NaN or infinity."""

    UNCHECKED = "unchecked"
    """Nobody looks."""
    COUNT = "pass"
    """It is answered, and counted."""
    ERROR = "error"
    """It fails with OUTPUT_NOT_FINITE, alone in its batch, and is counted."""


class Pooling(Enum):
    """How a sentence's vector is made from those of its tokens: their mean, or the first one."""

    MEAN = "mean"
    CLS = "cls"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorConfig:
    """What a configuration says about one input or output."""

    name: str
    datatype: DataType | None = None
    dims: tuple[int, ...] | None = None
    """Shape that callers use, without the batch dimension when the model has one; -1 is any size."""
    reshape: tuple[int, ...] | None = None
    """Shape of the same elements that the model uses, when it is another one; without the batch dimension, too."""
    optional: bool = False
    is_text: bool = False
    """BYTES elements must be valid UTF-8."""
    label_filename: str | None = None
    """File in the model's folder with one class name a line; outputs only."""

    def __post_init__(self) -> None:
        """Refuse an empty name and impossible sizes."""
        require(bool(self.name), "name", "every input and output needs a name")
        for size in (*(self.dims or ()), *(self.reshape or ())):
            require(size >= -1, f"{self.name}.dims", f"a size is -1 (any) or at least 0, got {size}")
        require(not self.is_text or self.datatype in (None, DataType.BYTES), f"{self.name}.is_text", "only BYTES (TYPE_STRING) can be text")
        check_file(self.label_filename, f"{self.name}.label_filename")


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmupInput:
    """One input of a warm-up sample."""

    datatype: DataType
    dims: tuple[int, ...]
    """Shape without the batch dimension; every size is known."""
    values: WarmupValues = WarmupValues.ZERO
    file: str | None = None
    """File of raw OIP elements in the model's `warmup` folder; present with WarmupValues.FILE only."""

    def __post_init__(self) -> None:
        """Refuse unknown sizes, and a file where none is used."""
        require(all(size >= 0 for size in self.dims), "model_warmup.inputs.dims", f"every size must be known, got {list(self.dims)}")
        require(
            (self.file is not None) == (self.values is WarmupValues.FILE), "model_warmup.inputs", "input_data_file goes with file data only"
        )
        check_file(self.file, "model_warmup.inputs.input_data_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmupSample:
    """A request that runs before the model is ready."""

    name: str
    inputs: Mapping[str, WarmupInput]
    batch_size: int = 0
    """Rows; 0 for models without a batch dimension."""
    count: int = 1
    """How often it runs."""

    def __post_init__(self) -> None:
        """Refuse a sample without name or inputs."""
        require(bool(self.name), "model_warmup.name", "must not be empty")
        require(bool(self.inputs), "model_warmup.inputs", f"sample {self.name!r} has none")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseCache:
    """Answering equal requests from memory."""

    enable: bool = False
    ttl_seconds: float | None = None
    """Life of an answer; None means the router's default."""
    shared: bool = False
    """Let all routers have it, by Redis, as far as they have one."""

    def __post_init__(self) -> None:
        """Refuse a life that is not positive, and sharing what is not kept."""
        require(self.enable or not self.shared, "response_cache.shared", "needs response_cache.enable")
        require(self.ttl_seconds is None or self.ttl_seconds > 0, "response_cache.ttl_seconds", f"must be above 0, got {self.ttl_seconds}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionOptions:
    """How ONNX Runtime runs one instance."""

    intra_op_threads: int = 1
    """Threads within an operator; 0 means one a core."""
    inter_op_threads: int = 1
    """Operators at once; above 1 the graph runs in parallel mode, 0 means one a core."""
    spinning: bool = False
    """Idle threads spin instead of sleeping."""
    providers: tuple[str, ...] = ()
    """Execution providers in order of preference; empty means what is found: TensorRT, CUDA, CPU."""

    def __post_init__(self) -> None:
        """Refuse negative counts, and so many that starting them takes minutes, in which no other version is loaded."""
        for key, threads in (("intra_op_threads", self.intra_op_threads), ("inter_op_threads", self.inter_op_threads)):
            require(threads >= 0, f"execution.{key}", f"must be at least 0, got {threads}")
            require(threads <= MAX_THREADS, f"execution.{key}", f"must be at most {MAX_THREADS}, got {threads}; 0 is one a core")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """How a text model turns its BYTES input `text` into its FP32 output `embedding`."""

    tokenizer_file: str = "tokenizer.json"
    """File in the version folder, in the format of the package tokenizers."""
    max_length: int | None = None
    """Most tokens of one text, longer ones are cut; None means the tokenizer's own limit."""
    pooling: Pooling = Pooling.MEAN
    normalize: bool = True
    """Scale vectors to length 1."""

    def __post_init__(self) -> None:
        """Refuse a limit below 1 and files outside the folder."""
        require(self.max_length is None or self.max_length >= 1, "text.max_length", f"must be at least 1, got {self.max_length}")
        check_file(self.tokenizer_file, "text.tokenizer_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenExample:
    """Inputs whose outputs are known; a version that answers otherwise is not served."""

    file: str
    """File in the version folder: JSON `{"inputs": {name: nested list}, "outputs": {name: nested list}}`, shapes as callers use them."""
    absolute_tolerance: float = 1e-5
    relative_tolerance: float = 1e-4

    def __post_init__(self) -> None:
        """Refuse negative tolerances and files outside the folder."""
        require(self.absolute_tolerance >= 0 and self.relative_tolerance >= 0, "golden.tolerance", "must be at least 0")
        check_file(self.file, "golden.file")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Everything that is said about how a model is served."""

    name: str = ""
    max_batch_size: int | None = None
    """Most rows of one execution; 0 means no batch dimension."""
    inputs: tuple[TensorConfig, ...] = ()
    outputs: tuple[TensorConfig, ...] = ()
    version_policy: VersionPolicy = field(default_factory=Latest)
    instance_groups: tuple[InstanceGroup, ...] = ()
    batching: DynamicBatching | None = None
    warmup: tuple[WarmupSample, ...] = ()
    golden: tuple[GoldenExample, ...] = ()
    response_cache: ResponseCache = ResponseCache()
    execution: ExecutionOptions = ExecutionOptions()
    text: TextOptions | None = None
    features: FeatureSchema | None = None
    """The columns that the version was trained on; None when it names none."""
    reject_non_finite: bool = False
    """Inputs with NaN or infinite values are refused."""
    non_finite_output: NonFiniteOutput = NonFiniteOutput.UNCHECKED
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    """Other names of versions, by alias; callers address them like versions."""
    traffic: Mapping[str, int] = field(default_factory=dict[str, int])
    """Share of each version in basis points, for callers who name none; empty means that the newest version gets all of it."""
    default_model_filename: str | None = None
    """Name of the model's file in a version folder; None means model.onnx."""
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    """What penstock does not interpret; clients can read it."""
    ignored: tuple[str, ...] = field(default=(), compare=False)
    """Paths of settings that were given and change nothing here; worth a line in the log."""

    def __post_init__(self) -> None:
        """Refuse invalid names, repeated tensors and preferred sizes above the maximum."""
        if self.name:
            check_model_name(self.name)
        check_file(self.default_model_filename, "default_model_filename")
        for name in (*self.aliases, *self.aliases.values(), *self.traffic):
            check_version_name(name)
        self._check_aliases()
        shares = sum(self.traffic.values())
        is_whole = not self.traffic or (shares == WHOLE and min(self.traffic.values()) >= 0)
        require(is_whole, "traffic", f"shares are basis points of 0 or more that sum to {WHOLE}, got {shares}")
        for where, tensors in (("input", self.inputs), ("output", self.outputs)):
            names = [tensor.name for tensor in tensors]
            twice = next((name for name in names if names.count(name) > 1), None)
            require(twice is None, where, f"{twice!r} is given twice")
        if self.max_batch_size is None:
            return
        require(self.max_batch_size >= 0, "max_batch_size", f"must be at least 0, got {self.max_batch_size}")
        for size in self.batching.preferred_batch_size if self.batching else ():
            wanted = f"{size} is more than max_batch_size {self.max_batch_size}"
            require(size <= self.max_batch_size, "dynamic_batching.preferred_batch_size", wanted)

    def _check_aliases(self) -> None:
        """Refuse names that are those of versions: whoever asked for the version would get another one."""
        versions = {*self.aliases.values(), *self.traffic}
        for alias in self.aliases:
            require(alias != LATEST, f"aliases.{alias}", "always means the newest version with traffic: choose another name")
            is_version = alias in versions or alias.isdecimal()
            require(not is_version, f"aliases.{alias}", "is the name of a version: choose another one")

    @property
    def instance_count(self) -> int:
        """Instances on one device; 1 when nothing is said."""
        return sum(group.count for group in self.instance_groups) or 1
