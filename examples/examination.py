"""Asks the served models about rows they never saw, in every way, and judges the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from examples import breast_cancer, datasets, digits, minilm
from examples.measure import calls_per_second, one_by_one
from examples.ways import Columns, Question, RefusedCall, Way
from penstock import ServingError

IN_FLIGHT = 32
"""Calls at once while throughput is measured."""

SAME_NUMBER = 1e-4
"""Largest difference between ways: rows that run, or sentences that are padded, in other company may differ in their last bits."""

SIMILAR = 0.45
"""Cosine from which two sentences count as similar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A version, what it is asked, and how its answers are judged."""

    model: str
    version: str
    input_name: str
    rows: Sequence[list[float]] | Sequence[str]
    accuracy: Callable[[Columns], float]
    floor: float
    """Accuracy below which something is wrong."""

    def questions(self, rows_a_call: int) -> list[Question]:
        """Return all rows as calls of at most so many."""
        return [
            Question(model=self.model, version=self.version, input_name=self.input_name, rows=self.rows[start : start + rows_a_call])
            for start in range(0, len(self.rows), rows_a_call)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one way gave for one version."""

    trial: Trial
    way: Way
    answers: Columns
    accuracy: float
    p50_ms: float
    p99_ms: float
    calls_per_second: float | None
    """None where a call starts a process: that would measure how fast processes start."""


@dataclass(slots=True, kw_only=True)
class Examination:
    """Everything found so far, and everything that is wrong."""

    in_flight: int = IN_FLIGHT
    throughput_seconds: float = 2.0
    """Length of each measurement of throughput."""
    findings: list[Finding] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def run(self, trial: Trial, ways: Sequence[Way]) -> None:
        """Ask one version for all of its rows in every way; ways must agree with the first of them."""
        agreed: Finding | None = None
        for way in ways:
            try:
                finding = self._examined(trial, way)
            except (RefusedCall, ServingError) as refusal:
                self.complaints.append(f"{trial.model} {trial.version} over {way.name}: {type(refusal).__name__}: {refusal}")
                continue
            self.findings.append(finding)
            agreed = agreed or finding
            self._judge(finding, agreed)

    def _examined(self, trial: Trial, way: Way) -> Finding:
        """Ask for all rows one call after the other, then again with many calls at once."""
        questions = trial.questions(way.rows_a_call)
        way.ask(questions[0])  # opens connections; what the first caller pays is not what callers pay
        timed = one_by_one(way.ask, questions)
        answers = {name: np.concatenate([one[name] for one in timed.answers]) for name in timed.answers[0]}
        rate = (
            calls_per_second(way.ask, questions, in_flight=self.in_flight, seconds=self.throughput_seconds) if way.keeps_running else None
        )
        return Finding(
            trial=trial,
            way=way,
            answers=answers,
            accuracy=trial.accuracy(answers),
            p50_ms=timed.percentile_ms(50),
            p99_ms=timed.percentile_ms(99),
            calls_per_second=rate,
        )

    def _judge(self, finding: Finding, agreed: Finding) -> None:
        trial, way = finding.trial, finding.way.name
        if finding.accuracy < trial.floor:
            self.complaints.append(
                f"{trial.model} {trial.version} over {way}: accuracy {finding.accuracy:.1%} is below its floor of {trial.floor:.0%}"
            )
        if not agree(finding.answers, agreed.answers):
            self.complaints.append(f"{trial.model} {trial.version}: {way} answers other than {agreed.way.name}")


def agree(answers: Columns, others: Columns) -> bool:
    """Say whether two ways gave the same: whole numbers equal, fractions within SAME_NUMBER; [n] and [n, 1] are the same.

    A way may leave columns out, as OpenAI's form leaves out the count of tokens; what both give must agree, and there must be something.
    """
    shared = answers.keys() & others.keys()
    for name in shared:
        ours, theirs = (one.reshape(len(one), -1) for one in (answers[name], others[name]))
        tolerance = SAME_NUMBER if theirs.dtype.kind == "f" else 0
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=0, atol=tolerance):
            return False
    return bool(shared)


def trials() -> tuple[Trial, ...]:
    """Return everything that the models are asked."""
    drawn, measured = datasets.digits(), datasets.breast_cancer()
    return (
        _classification(digits.NAME, "1", "pixels", drawn, floor=0.93),
        _classification(digits.NAME, "2", "pixels", drawn, floor=0.97),
        _classification(breast_cancer.NAME, "1", "features", measured, floor=0.94),
        _similarity(datasets.SENTENCE_PAIRS),
    )


def _classification(model: str, version: str, input_name: str, table: datasets.Table, *, floor: float) -> Trial:
    def accuracy(answers: Columns) -> float:
        return float(np.mean(answers["label"].ravel() == table.held_out_labels))

    return Trial(model=model, version=version, input_name=input_name, rows=table.held_out_rows.tolist(), accuracy=accuracy, floor=floor)


def _similarity(pairs: Sequence[datasets.SentencePair]) -> Trial:
    """Judge by the share of pairs whose cosine is on the right side of SIMILAR; embeddings have length 1."""
    is_similar = np.array([pair.is_similar for pair in pairs])

    def accuracy(answers: Columns) -> float:
        vectors = answers["embedding"]
        return float(np.mean(((vectors[0::2] * vectors[1::2]).sum(axis=1) >= SIMILAR) == is_similar))

    texts = [text for pair in pairs for text in (pair.first, pair.second)]
    return Trial(model=minilm.NAME, version="1", input_name="text", rows=texts, accuracy=accuracy, floor=1.0)
