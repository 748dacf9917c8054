"""Graphs: versions that are made of versions.

A graph takes named inputs and gives named outputs like any version. Its steps are models, each a version or whatever the model's route
says, and combinations of tensors. A step reads the graph's inputs and the outputs of other steps, and runs as soon as those are there:
what does not depend on each other runs side by side. A step may have a condition; the rows of a request for which it does not hold skip
the step, and whatever cannot do without it. A step that fails fails the request, unless it says what is to be done instead.

A graph is valid or not constructed: every name is resolved, nothing goes round in a circle, and every output is there unless a step that
may be skipped is the only one that could give it. What the versions behind the names really take and give is checked where they are
known: `edge_problems` in graph_edges.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from penstock.contracts.model_config_checks import require
from penstock.contracts.names import check_model_name, check_version_name
from penstock.contracts.signature import Signature
from penstock.contracts.tensors import DataType

MOST_STEPS = 32
MOST_DEPTH = 12
"""Most steps one after the other."""
MOST_SOURCES = 16
"""Most tensors that are combined."""
LONGEST_TIMEOUT_SECONDS = 60.0
COMBINED = "output"
"""Name of what a combination gives."""


class Combine(Enum):
    """How tensors of one type and shape become one; tensors of steps that were skipped do not count."""

    MEAN = "mean"
    """Their mean, element by element; floating types only."""
    VOTE = "vote"
    """What most of them hold, element by element; of equally many the one that comes first."""
    FIRST = "first"
    """The first that is there."""


class OnFailure(Enum):
    """What becomes of a request when a step fails."""

    FAIL = "fail"
    """It fails, too."""
    DEFAULT = "default"
    """It goes on with declared values."""
    SKIP = "skip"
    """It goes on as if the step had been skipped."""


class Comparison(Enum):
    """How a condition compares."""

    EQUAL = "=="
    UNEQUAL = "!="
    BELOW = "<"
    AT_MOST = "<="
    ABOVE = ">"
    AT_LEAST = ">="

    @property
    def is_of_order(self) -> bool:
        """Whether it needs numbers."""
        return self not in (Comparison.EQUAL, Comparison.UNEQUAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A tensor: an input of the graph, or the output of a step."""

    tensor: str
    step: str = ""
    """Empty for an input of the graph."""

    def __str__(self) -> str:
        """Return the name as it stands in graph.toml."""
        return f"{self.step}.{self.tensor}" if self.step else self.tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """When a step runs: by a tensor, by a parameter of the request, or because another step did not. One of the three is there."""

    source: Source | None = None
    """It is asked row by row. Every element of a row has to give the same answer: a row whose elements differ is refused."""
    parameter: str = ""
    """Name of a request parameter; without it in the request the condition does not hold."""
    otherwise: str = ""
    """Name of a step: this one runs exactly when that one was skipped."""
    comparison: Comparison = Comparison.EQUAL
    value: float | bool | str = True

    def __post_init__(self) -> None:
        """Refuse none or several of the three, and an order among what is no number."""
        given = sum((self.source is not None, bool(self.parameter), bool(self.otherwise)))
        require(given == 1, "step.when", "names one of 'tensor', 'parameter' and 'otherwise'")
        is_number = isinstance(self.value, float | int) and not isinstance(self.value, bool)
        require(is_number or not self.comparison.is_of_order, "step.when", f"{self.comparison.value!r} needs a number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """What stands for an output that is not there."""

    datatype: DataType
    shape: tuple[int, ...]
    """Without the batch dimension, where the graph has one."""
    raw: bytes
    """Elements of one row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A model with its inputs, or a combination."""

    name: str
    model: str = ""
    """Empty for a combination."""
    version: str = ""
    """The version, or an alias of one; empty leaves it to the model's route."""
    inputs: Mapping[str, Source] = field(default_factory=dict[str, Source])
    """By the name of the model's input."""
    combine: Combine | None = None
    of: tuple[Source, ...] = ()
    """What is combined."""
    when: Condition | None = None
    timeout_seconds: float | None = None
    """At most so much of what is left of the caller's deadline."""
    on_failure: OnFailure = OnFailure.FAIL
    defaults: Mapping[str, Default] = field(default_factory=dict[str, Default])
    """By output: what stands for a failure, of a combination for tensors that are all missing; with nothing else."""

    def __post_init__(self) -> None:
        """Refuse what is neither a model nor a combination, and values without a meaning."""
        where = f"step.{self.name}"
        require(bool(self.model) != (self.combine is not None), where, "has either 'model' or 'combine'")
        if self.combine is None:
            check_model_name(self.model)
            require(bool(self.inputs), where, "needs 'inputs'")
            require(not self.of, where, "'of' goes with 'combine'")
        else:
            is_plain = not (self.version or self.inputs or self.timeout_seconds is not None or self.on_failure is not OnFailure.FAIL)
            require(is_plain, where, "a combination has 'of', 'when' and 'default', and no other setting")
            require(1 <= len(self.of) <= MOST_SOURCES, f"{where}.of", f"names 1 to {MOST_SOURCES} tensors")
        if self.version:
            check_version_name(self.version)
        seconds = self.timeout_seconds
        is_in_range = seconds is None or 0 < seconds <= LONGEST_TIMEOUT_SECONDS
        require(is_in_range, f"{where}.timeout_seconds", f"{seconds} is not above 0 and at most {LONGEST_TIMEOUT_SECONDS:g}")
        if self.combine is None:
            require((self.on_failure is OnFailure.DEFAULT) == bool(self.defaults), f"{where}.default", "goes with on_failure = 'default'")
        require(self.combine is None or set(self.defaults) <= {COMBINED}, f"{where}.default", f"of a combination is for {COMBINED!r}")

    @property
    def sources(self) -> tuple[Source, ...]:
        """What it computes with."""
        return (*self.inputs.values(), *self.of)

    @property
    def reads(self) -> frozenset[str]:
        """Names of the steps that have to be over before it can be decided whether it runs, and before it runs."""
        asked = () if self.when is None else (self.when.otherwise, self.when.source.step if self.when.source else "")
        return frozenset(name for name in (*(source.step for source in self.sources), *asked) if name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A version that is made of versions."""

    signature: Signature
    outputs: tuple[Source, ...]
    """Where each output of the signature comes from, in its order."""
    steps: tuple[Step, ...]
    """Each after those that it reads."""

    @property
    def models(self) -> frozenset[tuple[str, str]]:
        """Model and version of every step that is a model; an empty version is left to the route."""
        return frozenset((step.model, step.version) for step in self.steps if step.model)

    @property
    def asks_parameters(self) -> bool:
        """Whether a condition looks at the request's parameters."""
        return any(step.when is not None and step.when.parameter for step in self.steps)

    def wanted(self, name: str) -> tuple[str, ...]:
        """Return the outputs of a step that anything reads, sorted."""
        conditions = [step.when.source for step in self.steps if step.when is not None and step.when.source is not None]
        read = [*self.outputs, *conditions, *(source for step in self.steps for source in step.sources)]
        return tuple(sorted({source.tensor for source in read if source.step == name}))
