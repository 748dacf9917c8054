"""Nobody outside decides what ONNX Runtime loads; and the check refuses each way to let them."""

from __future__ import annotations

import pytest

from tests.architecture.runtime import runtime_openings
from tests.architecture.source import Module, listed, read_tree


def test_the_runtime_loads_no_code_and_knows_only_options_of_ours():
    assert listed(runtime_openings(read_tree("penstock", "services"))) == ""


@pytest.mark.parametrize(
    "statement",
    [
        "options.register_custom_ops_library(path)",
        "ort.register_execution_provider_library('x', path)",
        "options.add_session_config_entry(name, value)",
        "options.add_session_config_entry('session.model_external_initializers_file_folder_path', '/')",
        "options.add_session_config_entry(config_key=name, config_value=value)",
        "for name, value in given.items():\n    options.add_run_config_entry(name, value)",
    ],
)
def test_a_way_for_others_to_tell_the_runtime_is_refused(statement: str):
    assert list(runtime_openings([Module(name="services.worker.thing", text=statement)])) != []


def test_an_option_that_changes_no_result_is_allowed():
    statement = "options.add_session_config_entry('session.intra_op.allow_spinning', '0')"

    assert list(runtime_openings([Module(name="services.worker.thing", text=statement)])) == []
