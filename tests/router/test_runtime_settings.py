import pytest

from penstock.contracts.errors import InvalidInput, NotImplementedHere
from services.router.runtime_settings import LogSettings, LogValue, TraceSettings
from tests.router.control_stand import FakeLevels, FakeSampler


@pytest.mark.parametrize(
    ("wanted", "level"),
    [
        ({"log_verbose_level": 1}, "debug"),
        ({"log_info": True}, "info"),
        ({"log_info": False}, "warning"),
        ({"log_info": False, "log_warning": False}, "error"),
        ({"log_info": False, "log_warning": False, "log_error": False}, "critical"),
        ({"log_file": "", "log_format": "default"}, "info"),
    ],
)
def test_triton_log_settings_become_a_level(wanted: dict[str, LogValue], level: str):
    levels = FakeLevels()
    settings = LogSettings(levels)
    shown = settings.change(wanted)

    assert levels.level == level
    assert settings.read() == shown
    assert {name: shown[name] for name in wanted} == wanted


def test_a_verbose_level_can_be_taken_back():
    levels = FakeLevels()
    settings = LogSettings(levels)
    settings.change({"log_verbose_level": 3})
    settings.change({"log_verbose_level": 0})

    assert levels.level == "info"


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        ({"log_error": False}, InvalidInput),
        ({"log_warning": False}, InvalidInput),
        ({"log_verbose_level": 1, "log_info": False}, InvalidInput),
        ({"log_verbose_level": True}, InvalidInput),
        ({"log_verbose_level": -1}, InvalidInput),
        ({"log_info": "no"}, InvalidInput),
        ({"log_colour": True}, InvalidInput),
        ({"log_file": "/tmp/log"}, NotImplementedHere),
        ({"log_format": "ISO8601"}, NotImplementedHere),
        ({"log_info": False, "log_file": "/tmp/log"}, NotImplementedHere),
    ],
)
def test_log_settings_that_cannot_be_in_force_are_refused_and_change_nothing(wanted: dict[str, LogValue], kind: type[Exception]):
    levels = FakeLevels()
    settings = LogSettings(levels)
    before = settings.read()
    with pytest.raises(kind):
        settings.change(wanted)

    assert levels.level == "info"
    assert settings.read() == before


def test_trace_settings_become_a_sampling_ratio():
    sampler = FakeSampler()
    settings = TraceSettings(sampler)
    assert settings.read()["trace_level"] == ("OFF",)
    shown = settings.change({"trace_level": ["TIMESTAMPS"], "trace_rate": ["4"]})

    assert sampler.ratio == 0.25
    assert (shown["trace_level"], shown["trace_rate"]) == (("TIMESTAMPS",), ("4",))
    settings.change({"trace_level": ["OFF"]})
    assert sampler.ratio == 0.0
    assert settings.read()["trace_rate"] == ("4",)


def test_an_empty_value_resets_a_trace_setting():
    sampler = FakeSampler()
    settings = TraceSettings(sampler, ratio=0.01)
    settings.change({"trace_level": ["OFF"], "trace_rate": ["7"]})
    settings.change({"trace_level": [], "trace_rate": []})

    assert sampler.ratio == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        ({"trace_level": ["TENSORS"]}, NotImplementedHere),
        ({"trace_level": ["EVERYTHING"]}, InvalidInput),
        ({"trace_level": ["OFF", "TIMESTAMPS"]}, InvalidInput),
        ({"trace_rate": ["0"]}, InvalidInput),
        ({"trace_rate": ["-1"]}, InvalidInput),
        ({"trace_rate": ["1.5"]}, InvalidInput),
        ({"trace_rate": ["1", "2"]}, InvalidInput),
        ({"trace_rate": ["9" * 5000]}, InvalidInput),
        ({"trace_rate": ["٣"]}, InvalidInput),
        ({"trace_count": ["5"]}, NotImplementedHere),
        ({"trace_file": ["/tmp/trace"]}, NotImplementedHere),
        ({"trace_mode": ["triton"]}, NotImplementedHere),
        ({"colour": ["red"]}, InvalidInput),
        ({"trace_level": ["TIMESTAMPS"], "trace_rate": ["0"]}, InvalidInput),
    ],
)
def test_trace_settings_that_cannot_be_in_force_are_refused_and_change_nothing(wanted: dict[str, list[str]], kind: type[Exception]):
    sampler = FakeSampler()
    settings = TraceSettings(sampler)
    before = settings.read()
    with pytest.raises(kind):
        settings.change(wanted)

    assert sampler.ratio == 0.0
    assert settings.read() == before


def test_fixed_trace_settings_may_be_set_to_what_they_are():
    settings = TraceSettings(FakeSampler())

    assert settings.change({"trace_count": ["-1"], "trace_file": [], "log_frequency": ["0"]})["trace_count"] == ("-1",)


def test_trace_settings_of_one_model_are_refused():
    with pytest.raises(NotImplementedHere):
        TraceSettings(FakeSampler()).change({"trace_rate": ["1"]}, model="digits")
