"""Texts that cannot be read, or say what is impossible, are refused with the place."""

from __future__ import annotations

import pytest

from penstock.contracts.errors import InvalidInput
from penstock.contracts.model_config import from_json, from_pbtxt, from_toml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_siz = 3", "unknown key 'max_batch_siz'; did you mean 'max_batch_size'?"),
        ("[[input]]\nnam = 1", "unknown key 'input[0].nam'; did you mean 'name'?"),
        ("[execution]\nspining = true", "unknown key 'execution.spining'; did you mean 'spinning'?"),
        ("[dynamic_batching.default_queue_policy]\nmax_queue = 1", "unknown key 'dynamic_batching.default_queue_policy.max_queue'"),
        ("[[golden]]\nfile = 'a'\ntolerance = 1", "unknown key 'golden[0].tolerance'; did you mean"),
        ("wholly_other = 1", "unknown key 'wholly_other'; known here: aliases, backend"),
        ("parameters = {'penstock.reject_nonfinite' = true}", "unknown key 'reject_nonfinite'; did you mean 'reject_non_finite'?"),
        ("max_batch_size = 'a'", "max_batch_size: must be a whole number, got 'a'"),
        ("max_batch_size = true", "max_batch_size: must be a whole number, got True"),
        ("max_batch_size = 99999999999", "out of range"),
        ("version_policy = 3", "version_policy: must be a table, got 3"),
        ("input = {name = 'x'}", "input: must be a list"),
        ("input = [3]", "input[0]: must be a table, got 3"),
        ("[[input]]\nname = 'x'\ndims = ['a']", "input[0].dims[0]: must be a whole number"),
        ("[[input]]\nname = 'x'\ndata_type = 'FP31'", "input[0].data_type: there is no 'FP31'"),
        ("[[instance_group]]\nkind = 'KIND_CPUS'", "instance_group[0].kind: there is no 'KIND_CPUS'; did you mean 'KIND_CPU'?"),
        ("[response_cache]\nenable = 1", "response_cache.enable: must be true or false, got 1"),
        ("[response_cache]\nttl_seconds = 0", "response_cache.ttl_seconds: must be above 0"),
        ("[response_cache]\nshared = true", "response_cache.shared: needs response_cache.enable"),
        ("[response_cache]\nenable = true\nshared = 1", "response_cache.shared: must be true or false, got 1"),
        ("[text]\npooling = 'max'", "text.pooling: must be one of mean, cls"),
        ("[text]\nmax_length = 0", "text.max_length: must be at least 1"),
        ("[text]\ntokenizer_file = '../secret'", "text.tokenizer_file: '../secret' must be a relative path inside the folder"),
        ("default_model_filename = '/etc/passwd'", "default_model_filename: '/etc/passwd' must be a relative path"),
        ("golden = [3]", "golden[0]: must be a table"),
        ("[[golden]]\nabsolute_tolerance = 1", "golden: every example names its file"),
        ("[execution]\nproviders = [1.5]", "execution.providers: must hold texts"),
        ("[execution]\nintra_op_threads = -1", "execution.intra_op_threads: must be at least 0"),
        ("[execution]\nintra_op_threads = 513", "execution.intra_op_threads: must be at most 512, got 513; 0 is one a core"),
        ("[execution]\ninter_op_threads = 100000", "execution.inter_op_threads: must be at most 512"),
        ("[[input]]\nname = 'x'\n[[input]]\nname = 'x'", "input: 'x' is given twice"),
        ("[[input]]\ndims = [1]", "every input and output needs a name"),
        ("[[input]]\nname = 'x'\ndims = [-2]", "x.dims: a size is -1 (any) or at least 0, got -2"),
        ("[[input]]\nname = 'x'\ndata_type = 'FP32'\nis_text = true", "only BYTES"),
        ("max_batch_size = -1", "max_batch_size: must be at least 0"),
        ("max_batch_size = 4\ndynamic_batching.preferred_batch_size = [8]", "8 is more than max_batch_size 4"),
        ("dynamic_batching.preferred_batch_size = [0]", "sizes are at least 1"),
        ("dynamic_batching.priority_levels = 2", "default_priority_level: must be 1 to 2 (priority_levels), got 0"),
        ("dynamic_batching.priority_queue_policy.1.max_queue_size = 1", "level 1 is not within priority_levels 0"),
        (
            "[dynamic_batching]\npreserve_ordering = true\npriority_levels = 2\ndefault_priority_level = 1",
            "cannot go with priority_levels 2",
        ),
        (
            "[dynamic_batching]\npreserve_ordering = true\ndefault_queue_policy.timeout_action = 'DELAY'",
            "cannot go with timeout_action DELAY",
        ),
        ("[[instance_group]]\ncount = -1", "instance_group.count: must be at least 1"),
        ("[[instance_group]]\nkind = 'KIND_CPU'\ngpus = [0]", "instance_group.gpus: cannot go with KIND_CPU"),
        ("version_policy.latest = {}\nversion_policy.all = {}", "version_policy"),
        ("version_policy.specific.versions = []", "must name at least one version"),
        ("version_policy.specific.versions = ['a b']", "version name 'a b' is not valid"),
        ("[aliases]\nlatest = '1'", "aliases.latest: always means the newest version with traffic"),
        ("[aliases]\n1 = '2'", "aliases.1: is the name of a version"),
        ("[aliases]\nred = 'v2'\nv2 = 'v1'", "aliases.v2: is the name of a version"),
        ("[aliases]\nred = 'v1'\n[traffic]\nred = 10000", "aliases.red: is the name of a version"),
        ("name = 'a/b'", "model name 'a/b' is not valid"),
        ("model_warmup = [{name = 'w'}]", "sample 'w' has none"),
        ("model_warmup = [{name = 'w', inputs = {x = {data_type = 'FP32'}}}]", "says neither zero_data, random_data nor input_data_file"),
        ("model_warmup = [{name = 'w', inputs = {x = {zero_data = true}}}]", "model_warmup.inputs.x.data_type: must be given"),
        ("model_warmup = [{name = 'w', inputs = {x = {data_type = 'FP32', dims = [-1], zero_data = true}}}]", "every size must be known"),
        ("[execution]\nintra_op_threads = 2\n[parameters]\nintra_op_thread_count = '3'", "execution.intra_op_threads: is given twice"),
        ("x = 1 =", "model.toml: "),
    ],
)
def test_a_wrong_toml_is_refused_with_the_keys_path(text: str, message: str):
    with pytest.raises(InvalidInput) as caught:
        from_toml(text)

    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: 'a'\nmax_batchsize: 3", "unknown key 'max_batchsize'; did you mean 'max_batch_size'? (config.pbtxt, line 2)"),
        ("name: 'a'\ninput {\n  nam: 'x'\n}", "unknown key 'nam'; did you mean 'name'? (config.pbtxt, line 3)"),
        ("\n\nmax_batch_size: 'a'", "config.pbtxt, line 3"),
        ("max_batch_size: 1 max_batch_size: 2", "config.pbtxt, line 1"),
        ("input {", "config.pbtxt"),
    ],
)
def test_a_wrong_pbtxt_is_refused_with_the_line(text: str, message: str):
    with pytest.raises(InvalidInput) as caught:
        from_pbtxt(text)

    assert message in caught.value.message
    assert "penstock.oip" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "must be a JSON object"),
        ("{", "not JSON"),
        ('{"name": "a", "name": "b"}', "name: is given twice"),
        ('{"input": [{"name": "a", "dims": [1], "dims": [2]}]}', "dims: is given twice"),
        ('{"max_batch_size": NaN}', "NaN is not JSON"),
        ('{"max_batch_size": 1e400}', "must be a whole number"),
        ("[" * 100_000, "not JSON"),
        ('{"parameters": {"penstock.text.tokenizer_file": "\\ud800"}}', "model configuration"),
        ('{"text": {"tokenizer_file": "\\ud800"}}', "model configuration"),
        ('{"parameters": {"penstock.response_cache.ttl_seconds": "1e999"}}', "must be a number"),
        ('{"parameters": {"penstock.golden": "' + "[" * 100_000 + '"}}', "golden: must be a list of tables"),
    ],
)
def test_wrong_json_is_refused(text: str, message: str):
    with pytest.raises(InvalidInput) as caught:
        from_json(text)

    assert message in caught.value.message
