"""Names say something; and the check refuses those that do not."""

from __future__ import annotations

import pytest

from tests.architecture import naming
from tests.architecture.source import Module, listed, read_tree

FOLDERS = ("penstock", "services", "protos", "examples", "bench", "deploy")


def test_no_name_holds_a_word_that_says_nothing():
    assert listed(naming.empty_names(read_tree(*FOLDERS))) == ""


def test_every_exception_is_still_needed():
    named = {qualified: (name, node) for module in read_tree(*FOLDERS) for qualified, name, node in naming._named(module)}

    assert [qualified for qualified in naming.NAMES if qualified not in named or not naming.empty_word(*named[qualified])] == []


@pytest.mark.parametrize(
    "definition",
    [
        "class JobManager: ...",
        "class HTTPHandler: ...",
        "class Data: ...",
        "def load_data(): ...",
        "def get_info(): ...",
        "def build_helpers(): ...",
        "def _string_utils(): ...",
        "class A:\n    async def process_frame(self): ...",
        "def outer():\n    def process(): ...",
        "if True:\n    class CommonThings: ...",
    ],
)
def test_an_empty_word_is_refused_in_any_spelling(definition: str):
    assert len(list(naming.empty_names([Module(name="services.router.thing", text=definition)]))) == 1


@pytest.mark.parametrize("name", ["services.router.utils", "services.common", "penstock.job_manager", "services.router.request_handler"])
def test_an_empty_word_is_refused_in_a_module(name: str):
    assert len(list(naming.empty_names([Module(name=name, text="")]))) == 1


@pytest.mark.parametrize(
    "definition",
    [
        "class ModelMetadata: ...",
        "class DataType: ...",
        "def data_type_named(): ...",
        "def information_about(): ...",
        "def spawn_process(): ...",
        "class ProcessSettings: ...",
        "def processed_rows(): ...",
        "class A:\n    @property\n    def process_id(self): ...",
        "def futile(): ...",
    ],
)
def test_a_word_with_a_meaning_is_allowed(definition: str):
    assert list(naming.empty_names([Module(name="services.chassis.process", text=definition)])) == []


def test_a_term_does_not_excuse_the_rest_of_a_name():
    assert naming.empty_word("data_type_data") == "data"
