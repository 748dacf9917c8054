"""Tenants, keys, uploads and versions that cannot be, row by row, over both faces of a controller.

What may stand within a version's files, tests/controller/test_registration_*.py hold row by row: here it is who asks for it, and how.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.v1 import controller_pb2 as pb
from tests.hostile.control_plane import Controller, Row, is_refused

pytestmark = pytest.mark.timeout(300)

SHA = "a" * 64
NOT_FOUND, STATE = "NOT_FOUND", "FAILED_PRECONDITION"


def tenant(claim: str, settings: dict[str, Any], pointer: str, says: str = "", *, name: str = "acme") -> Row:
    return Row(
        claim=claim,
        reason="INVALID_SPEC",
        status=422,
        http=("PUT", f"/tenants/{name}", {"settings": settings}),
        rpc=pb.SetTenantRequest(tenant=name, settings_json=json.dumps(settings)),
        pointer=f"/settings/{pointer}",
        says=says or pointer,
    )


def no_tenant(claim: str, name: str, reason: str, status: int, **more: Any) -> Row:
    return Row(claim=claim, reason=reason, status=status, rpc=pb.SetTenantRequest(tenant=name, settings_json="{}"), **more)


TENANTS = [
    tenant("unknown setting", {"requests_per_secnd": 5}, "requests_per_secnd", "known are"),
    tenant("negative rate", {"requests_per_second": -1}, "requests_per_second", "above 0"),
    tenant("rate of nothing", {"rows_per_second": 0}, "rows_per_second", "above 0"),
    tenant("rate as text", {"rows_per_second": "5"}, "rows_per_second", "above 0"),
    tenant("models that are no list", {"models": "*"}, "models", "list of names"),
    tenant("1,001 patterns", {"models": ["m"] * 1001}, "models", "more than 1000"),
    tenant("unknown role", {"roles": ["root"]}, "roles", "roles are"),
    tenant("admin that is no truth", {"admin": "yes"}, "admin", "true or false"),
    no_tenant("a name that is none", "a/b", "BAD_NAME", 400),
    no_tenant("no name", "", "BAD_NAME", 400),
    no_tenant("a name of 201 characters", "x" * 201, "BAD_NAME", 400, says="use 1 to 200 letters"),
    Row(
        claim="settings that are no JSON",
        reason="BAD_JSON",
        status=400,
        rpc=pb.SetTenantRequest(tenant="acme", settings_json='{"rows_per_second": Infinity}'),
    ),
    Row(
        claim="the last administrator",
        reason="LAST_ADMINISTRATOR",
        status=409,
        code=STATE,
        is_noted=True,
        http=("PUT", "/tenants/operator", {"settings": {}}),
        rpc=pb.SetTenantRequest(tenant="operator", settings_json="{}"),
    ),
    Row(
        claim="a key of nobody",
        reason="TENANT_NOT_FOUND",
        status=404,
        code=NOT_FOUND,
        http=("POST", "/tenants/nobody/keys", {}),
        rpc=pb.CreateKeyRequest(tenant="nobody"),
    ),
    Row(
        claim="a key that is over before it begins",
        reason="INVALID_ARGUMENT",
        status=400,
        rpc=pb.CreateKeyRequest(tenant="acme", life_seconds=-1.0),
        says="longer than 0 seconds",
    ),
    Row(
        claim="an unknown key",
        reason="KEY_NOT_FOUND",
        status=404,
        code=NOT_FOUND,
        http=("DELETE", "/tenants/acme/keys/abc", None),
        rpc=pb.RevokeKeyRequest(tenant="acme", key_id="abc"),
    ),
]


def version(
    claim: str, reason: str, status: int = 400, *, model: str = "fraud", code: str = "INVALID_ARGUMENT", says: str = "", **how: Any
) -> Row:
    request = pb.RegisterVersionRequest(
        model=model, version=how.get("version", ""), source=how.get("source", ""), owner=how.get("owner", "")
    )
    files = how.get("files", [])
    request.files.extend(pb.VersionFile(path=path, sha256=sha256, size_bytes=size) for path, sha256, size in files)
    document = {
        "version": request.version,
        "source": request.source,
        "files": [dict(zip(("path", "sha256", "size_bytes"), one, strict=True)) for one in files],
    }
    http = None if how.get("by_grpc_only") else ("POST", f"/models/{model}/versions", document)
    return Row(claim=claim, reason=reason, status=status, code=code, http=http, rpc=request, says=says)


VERSIONS = [
    version("IU1 no files and no source", "BAD_VALUE", says="one of both"),
    version("IU4 files that never came", "BAD_UPLOAD", files=[("model.onnx", SHA, 5)], says="has not been uploaded whole"),
    version("IU10 a path that leaves", "BAD_MANIFEST", files=[("../x", SHA, 5)]),
    version("IU10 an absolute path", "BAD_MANIFEST", files=[("/etc/passwd", SHA, 5)]),
    version("IU21 a source on this machine", "SOURCE_REFUSED", source="http://127.0.0.1/model.onnx"),
    version("IU21 metadata of the cloud", "SOURCE_REFUSED", source="http://169.254.169.254/latest/"),
    version("IU22 a file", "SOURCE_REFUSED", source="file:///etc/passwd"),
    version("IU22 a scheme of old", "SOURCE_REFUSED", source="gopher://x/1"),
    version("V30 a version that is no name", "BAD_NAME", version="../1", files=[("model.onnx", SHA, 5)]),
    version("V30 a model that is no name", "BAD_NAME", model="-x", files=[("model.onnx", SHA, 5)]),
    version(
        "a digest that is none", "BAD_VALUE", says="64 lower-case hexadecimal digits", files=[("model.onnx", "xyz", 5)], by_grpc_only=True
    ),
    version("an owner of 256 characters", "BAD_VALUE", owner="x" * 256, files=[("m", SHA, 5)], by_grpc_only=True, says="limit is 255"),
    Row(claim="IU3 no digest", reason="BAD_VALUE", status=400, place="digest", http=("PUT", "/blobs/xyz", b"x")),
    Row(
        claim="IU5 a gap",
        reason="BAD_UPLOAD",
        status=400,
        http=("PUT", f"/blobs/{SHA}", b"x"),
        headers={"content-range": "bytes 6-6/10"},
        says="ask where to go on",
    ),
    Row(
        claim="IU5 a range that is none",
        reason="BAD_HEADER",
        status=400,
        http=("PUT", f"/blobs/{SHA}", b"x"),
        headers={"content-range": "6-6/10"},
    ),
    Row(
        claim="IU2 a file of 1 EiB",
        reason="ARTEFACT_TOO_LARGE",
        status=413,
        says="above the limit of",
        http=("PUT", f"/blobs/{SHA}", b"x"),
        headers={"content-range": f"bytes 0-0/{1 << 59}"},
    ),
    Row(claim="IU3 another digest", reason="UPLOAD_CORRUPT", status=422, http=("PUT", f"/blobs/{'b' * 64}", b"abc")),
]


@pytest.mark.parametrize("row", [*TENANTS, *VERSIONS], ids=lambda row: row.claim)
def test_what_cannot_be_registered_is_refused_and_leaves_nothing(row: Row, controller: Controller):
    is_refused(row, controller)
