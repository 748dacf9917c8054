"""Model folders for tests."""

from __future__ import annotations

from pathlib import Path


def put(path: Path, content: bytes | str = b"x") -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def publish(repository: Path, model: str, version: str, onnx: bytes, **beside: bytes | str) -> Path:
    """Add a version at once, as a careful operator does: written under a hidden name, then renamed."""
    draft = repository / model / f".{version}.tmp"
    put(draft / "model.onnx", onnx)
    for name, content in beside.items():
        put(draft / name.replace("__", "."), content)
    return draft.rename(repository / model / version)
