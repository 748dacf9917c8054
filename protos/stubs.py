"""Writes type stubs for the gRPC modules: protoc writes those of messages, but none for clients and servicers.

The bases come from the public types of grpcio. One client class serves both kinds of channel; what its calls return depends on the
channel, which the stub says by an overloaded `__new__`.
"""

from __future__ import annotations

from google.protobuf.descriptor_pb2 import FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto

# The two ignores: a context is declared to be both of grpcio's kinds, whose methods differ in being coroutines, and a stream of requests to
# be iterable in both ways, because one servicer class may be served by either server.
_HEAD = '''"""Types of the clients and servicers of {source}."""

from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Protocol, TypeVar, overload, type_check_only

import grpc
import grpc.aio

from {package} import {module}

_T = TypeVar("_T")

@type_check_only
class _Context(grpc.ServicerContext, grpc.aio.ServicerContext[Any, Any]): ...  # type: ignore[misc]  # whichever of the two serves

@type_check_only
class _Requests(AsyncIterator[_T], Iterator[_T], Protocol[_T]): ...  # type: ignore[misc]  # the same of streams
'''


def grpc_stub(file: FileDescriptorProto) -> str:
    """Return the text of the `_pb2_grpc.pyi` of a file that declares services."""
    package, module = _module(file)
    parts = [_HEAD.format(source=file.name, package=package, module=module)]
    parts += [_service(file, service) for service in file.service]
    return "\n".join(parts)


def _service(file: FileDescriptorProto, service: ServiceDescriptorProto) -> str:
    name = service.name
    lines = [
        f"class {name}Stub:",
        "    @overload",
        f"    def __new__(cls, channel: grpc.Channel) -> {name}Stub: ...",
        "    @overload",
        f"    def __new__(cls, channel: grpc.aio.Channel) -> {name}AsyncStub: ...",
        *_calls(file, service, "grpc"),
        "",
        "@type_check_only",
        f"class {name}AsyncStub:",
        "    def __init__(self, channel: grpc.aio.Channel) -> None: ...",
        *_calls(file, service, "grpc.aio"),
        "",
        f"class {name}Servicer:",
        *(_served(file, method) for method in service.method),
        "",
        f"def add_{name}Servicer_to_server(servicer: {name}Servicer, server: grpc.Server | grpc.aio.Server) -> None: ...",
        "",
    ]
    return "\n".join(lines)


def _calls(file: FileDescriptorProto, service: ServiceDescriptorProto, base: str) -> list[str]:
    return [
        f"    {method.name}: {base}.{_arity(method)}MultiCallable[{_type(file, method.input_type)}, {_type(file, method.output_type)}]"
        for method in service.method
    ]


def _served(file: FileDescriptorProto, method: MethodDescriptorProto) -> str:
    request, response = _type(file, method.input_type), _type(file, method.output_type)
    argument = f"request_iterator: _Requests[{request}]" if method.client_streaming else f"request: {request}"
    result = f"Iterator[{response}] | AsyncIterator[{response}]" if method.server_streaming else f"{response} | Awaitable[{response}]"
    return f"    def {method.name}(self, {argument}, context: _Context) -> {result}: ..."


def _arity(method: MethodDescriptorProto) -> str:
    return ("Stream" if method.client_streaming else "Unary") + ("Stream" if method.server_streaming else "Unary")


def _type(file: FileDescriptorProto, full_name: str) -> str:
    """Name a message of the same file; services here never use messages of another one."""
    return f"{_module(file)[1]}.{full_name.removeprefix('.' + file.package + '.')}"


def _module(file: FileDescriptorProto) -> tuple[str, str]:
    package, _, stem = file.name.removesuffix(".proto").rpartition("/")
    return package.replace("/", "."), f"{stem}_pb2"
