"""A serve tells its services to who lists them as grpcurl does, on its own machine; where others reach it, only if somebody says so."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.flows.serving import serving

pytestmark = pytest.mark.timeout(180)


def listed(target: str) -> set[str]:
    with grpc.insecure_channel(target) as channel:
        return set(ProtoReflectionDescriptorDatabase(channel).get_services())


def test_services_are_listed_on_this_machine(tmp_path: Path, short_dir: Path):
    with serving(short_dir, tmp_path) as served:
        assert "inference.GRPCInferenceService" in listed(served.grpc)


def test_services_are_not_listed_where_other_machines_reach_them(tmp_path: Path, short_dir: Path):
    with serving(short_dir, tmp_path, "--host", "0.0.0.0", "--insecure-bind") as served, pytest.raises(grpc.RpcError) as refused:
        listed(served.grpc)

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "grpc_reflection" in refused.value.details()


def test_services_are_listed_to_others_where_somebody_says_so(tmp_path: Path, short_dir: Path):
    with serving(short_dir, tmp_path, "--host", "0.0.0.0", "--insecure-bind", "--set", 'router.grpc_reflection="on"') as served:
        assert "inference.GRPCInferenceService" in listed(served.grpc)
