"""What a deployment did since it was loaded: plain counters, written by the event loop only."""

from __future__ import annotations

from dataclasses import dataclass, field

from penstock.v1 import worker_pb2 as pb


@dataclass(slots=True)
class Step:
    """Number and total duration of one step."""

    count: int = 0
    nanoseconds: int = 0

    def add(self, count: int, nanoseconds: int) -> None:
        """Count `count` steps that took `nanoseconds` together."""
        self.count += count
        self.nanoseconds += nanoseconds

    def to_proto(self) -> pb.StepStatistics:
        """Return the wire form."""
        return pb.StepStatistics(count=self.count, nanoseconds=self.nanoseconds)


@dataclass(slots=True)
class Durations:
    """How long one execution took, in nanoseconds; nobody changes it."""

    input: int
    infer: int
    output: int

    @property
    def seconds(self) -> float:
        """All of it."""
        return (self.input + self.infer + self.output) * 1e-9


@dataclass(slots=True)
class BatchSteps:
    """Executions of one batch size."""

    count: int = 0
    input: int = 0
    infer: int = 0
    output: int = 0
    """Nanoseconds of all of them."""

    def add(self, count: int, durations: Durations) -> None:
        """Count `count` times an execution's durations."""
        self.count += count
        self.input += count * durations.input
        self.infer += count * durations.infer
        self.output += count * durations.output

    @property
    def compute_input(self) -> Step:
        """Assembling inputs."""
        return Step(self.count, self.input)

    @property
    def compute_infer(self) -> Step:
        """Running the model."""
        return Step(self.count, self.infer)

    @property
    def compute_output(self) -> Step:
        """Splitting outputs."""
        return Step(self.count, self.output)


@dataclass(slots=True)
class DeploymentStatistics:
    """Counters of one deployment; names and meaning follow Triton's statistics extension."""

    last_inference_milliseconds: int = 0
    inference_count: int = 0
    """Rows that were answered."""
    execution_count: int = 0
    success: Step = field(default_factory=Step)
    fail: Step = field(default_factory=Step)
    queue: Step = field(default_factory=Step)
    compute: BatchSteps = field(default_factory=BatchSteps)
    """By request: each request of an execution counts the whole execution."""
    batches: dict[int, BatchSteps] = field(default_factory=dict[int, BatchSteps])
    """By execution and its rows."""
    failures: dict[str, int] = field(default_factory=dict[str, int])
    """Failed requests by reason."""
    cancelled: int = 0
    """Requests that were taken back before they ran."""
    not_finite: int = 0
    """Requests with NaN or infinity in an output, where the model's configuration asks for it."""
    dropped: int = 0
    """Requests that were refused before they ran because their deadline could not be met."""
    wasted_nanoseconds: int = 0
    """Execution time of which nobody wanted the result any more."""

    def executed(self, rows: int, durations: Durations) -> None:
        """Count an execution."""
        self.execution_count += 1
        steps = self.batches.get(rows)
        if steps is None:
            steps = self.batches[rows] = BatchSteps()
        steps.add(1, durations)

    def answered(self, requests: int, rows: int, queue_nanoseconds: int, durations: Durations) -> None:
        """Count requests that were answered after waiting `queue_nanoseconds` each."""
        self.inference_count += rows
        self.queue.add(requests, requests * queue_nanoseconds)
        self.compute.add(requests, durations)
        total = queue_nanoseconds + durations.input + durations.infer + durations.output
        self.success.add(requests, requests * total)

    def failed(self, reason: str, requests: int, nanoseconds: int) -> None:
        """Count requests that failed `nanoseconds` after their arrival."""
        self.fail.add(requests, requests * nanoseconds)
        self.failures[reason] = self.failures.get(reason, 0) + requests

    def to_proto(self, model: str, version: str, memory_bytes: int = 0) -> pb.ReplicaStatistics:
        """Return the wire form."""
        return pb.ReplicaStatistics(
            model=model,
            version=version,
            last_inference_milliseconds=self.last_inference_milliseconds,
            inference_count=self.inference_count,
            execution_count=self.execution_count,
            success=self.success.to_proto(),
            fail=self.fail.to_proto(),
            queue=self.queue.to_proto(),
            compute_input=self.compute.compute_input.to_proto(),
            compute_infer=self.compute.compute_infer.to_proto(),
            compute_output=self.compute.compute_output.to_proto(),
            batches=[_batch_to_proto(rows, steps) for rows, steps in sorted(self.batches.items())],
            memory_bytes=memory_bytes,
        )


def _batch_to_proto(rows: int, steps: BatchSteps) -> pb.BatchStatistics:
    return pb.BatchStatistics(
        batch_size=rows,
        compute_input=steps.compute_input.to_proto(),
        compute_infer=steps.compute_infer.to_proto(),
        compute_output=steps.compute_output.to_proto(),
    )
