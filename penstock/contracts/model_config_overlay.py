"""Lays the settings of a deployment over those of a version. Pure.

Tables are merged key by key; everything else, lists included, is replaced. What excludes each other (`dynamic_batching` and
`sequence_batching`) is replaced, too. Both sides are in the form in which protobuf reads JSON, under original names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from penstock.contracts.model_config_options import Tree


def laid_over(descriptor: Descriptor, below: Mapping[str, object], above: Mapping[str, object]) -> Tree:
    """Return the tables of a message with those of `above` in the place of, or merged into, those of `below`."""
    excluded = {rival for key in above for rival in _rivals(descriptor.fields_by_name[key])}
    result = {key: value for key, value in below.items() if key not in excluded}
    for key, value in above.items():
        result[key] = _merged(descriptor.fields_by_name[key], result.get(key), value)
    return result


def _merged(field: FieldDescriptor, below: object, above: object) -> object:
    if not isinstance(below, dict) or not isinstance(above, dict) or field.message_type is None:
        return above
    if field.message_type.GetOptions().map_entry:
        return {**cast("Tree", below), **cast("Tree", above)}
    return laid_over(field.message_type, cast("Tree", below), cast("Tree", above))


def _rivals(field: FieldDescriptor) -> list[str]:
    """Return the other fields of the choice that a field belongs to."""
    choice = field.containing_oneof
    return [] if choice is None else [other.name for other in choice.fields if other.name != field.name]
