import json
import struct

import numpy as np
import pytest

from examples.safetensors import read_weights


def safetensors_file(folder, header, payload):
    encoded = json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + payload)
    return path


def test_tensors_are_read_by_name_type_and_shape(tmp_path):
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    ids = np.array([7, -8], np.int64)
    header = {
        "__metadata__": {"format": "pt"},
        "weights": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "ids": {"dtype": "I64", "shape": [2], "data_offsets": [24, 40]},
    }

    read = read_weights(safetensors_file(tmp_path, header, weights.tobytes() + ids.tobytes()))

    assert set(read) == {"weights", "ids"}
    np.testing.assert_array_equal(read["weights"], weights)
    np.testing.assert_array_equal(read["ids"], ids)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "does not fit"),
        ({"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "does not fit"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}, "does not fit"),
        ({"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}, "data type BF16"),
    ],
)
def test_an_entry_that_contradicts_the_bytes_is_refused(tmp_path, entry, message):
    path = safetensors_file(tmp_path, {"weights": entry}, bytes(8))

    with pytest.raises(ValueError, match=message):
        read_weights(path)


@pytest.mark.parametrize(("content", "message"), [(b"", "too short"), (struct.pack("<Q", 100) + b"{}", "ends inside its header")])
def test_a_file_cut_short_is_refused(tmp_path, content, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=message):
        read_weights(path)
