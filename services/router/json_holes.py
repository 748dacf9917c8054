"""Finds what varies in the JSON of inference requests: the id, and the values of the first tensor. Pure.

A client's requests differ in these two and in nothing else. Cut out of the text, they leave bytes that come again and again; what those
bytes mean is worked out once (oip_json). Nothing is guessed: the holes are looked for where clients write them (the id as the first
key, the values as a flat array), a document is only kept when reading it in full has shown that they are what they seem, and what
is put into them later must be a plain text and a flat array, which cannot change the structure around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

ID_LIMIT = 256
"""Longest request id, in characters."""
_TEXT = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
"""What stands for itself in a JSON text, and prints."""
_PLAIN = frozenset({int, float, bool})
_ID, _DATA = b'{"id"', b'"data"'


class Cut(NamedTuple):
    """A document with its holes."""

    key: bytes
    """All bytes but those of the holes; each hole is a zero byte, which no JSON holds."""
    identity: str
    """What stood in the first hole; empty without one."""
    values: bytes
    """What stood in the second hole, brackets included; empty without one."""


def cut_out(document: bytes) -> Cut:
    """Pure: return the document, its id and its first flat array of tensor values, as far as they are where clients write them."""
    id_begin = id_end = 0
    identity = ""
    if document.startswith(_ID):
        id_begin = document.find(b'"', len(_ID)) + 1
        id_end = document.find(b'"', id_begin)
        given = document[id_begin:id_end]
        if id_end < 0 or len(given) > ID_LIMIT or given.translate(None, _TEXT):
            id_begin = id_end = 0
        else:
            identity = given.decode("ascii")
    begin = end = len(document)
    place = document.find(_DATA, id_end)
    if place >= 0:
        begin = document.find(b"[", place)
        end = document.find(b"]", begin) + 1
        if begin < 0 or end <= 0:
            begin = end = len(document)
    return Cut(b"\0".join((document[:id_begin], document[id_end:begin], document[end:])), identity, document[begin:end])


def is_sound(cut: Cut, document: bytes, given: dict[str, Any], inputs: Sequence[dict[str, Any]]) -> bool:
    """Pure: whether the holes of a document are what they seem.

    Args:
        cut: what `cut_out` returned.
        document: of which it was cut.
        given: the document as it was read, without fault.
        inputs: its inputs.
    """
    opening, between, _ = cut.key.split(b"\0")
    if opening:
        if opening[len(_ID) :].replace(b" ", b"") != b':"' or given.get("id") != cut.identity:
            return False
    elif given.get("id"):
        return False
    tensors = [one for one in inputs if "data" in one]
    if not cut.values:
        return not tensors
    # As many keys as tensors with values, and no other way to write a key: the first of them is the first tensor's.
    if b"\\" in document or not tensors or document.count(_DATA) != len(tensors):
        return False
    values = tensors[0]["data"]
    return type(values) is list and _PLAIN.issuperset(map(type, values)) and between.rstrip(b" :").endswith(_DATA)
