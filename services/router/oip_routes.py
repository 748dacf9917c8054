"""The Open Inference Protocol v2 over HTTP, with Triton's extensions: every path of `/v2`.

Health answers JSON (KServe's client parses it; tritonclient looks at the status only). A model that is not ready answers 503 to `/ready`,
where KServe reads "not ready". Lists and objects have exactly Triton's keys.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

from google.protobuf.message import Message

from penstock.contracts.errors import InvalidInput, NoReadyReplica, NotImplementedHere
from services.chassis.deadline import deadline_after
from services.router.control import Control
from services.router.http_exchange import Face, HttpReply, HttpRequest, PathNames, Translation
from services.router.http_routes import AnswerAtOnce, Media, Route
from services.router.load_order import FILE_PREFIX, PATH_LIMIT, Parameter
from services.router.oip_answer import as_json
from services.router.oip_answers import OipAnswers
from services.router.oip_binary import LENGTH_HEADER
from services.router.oip_json import AnswerForm, OipJson
from services.router.proto_json import as_document
from services.router.repository import WAIT_SECONDS
from services.router.runtime_settings import LogValue
from services.router.strict_json import kind_of, loads_object

_BINARY = b"application/octet-stream"
_MODEL = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
_LATER = ("generate", "generate_stream", "infer_stream")


class OipRoutes:
    """Answers `/v2`."""

    def __init__(self, control: Control) -> None:
        """Keep what answers everything but inference."""
        self._control = control
        self._translator = OipJson()
        self._answers = OipAnswers()

    def routes(self) -> list[Route]:
        """Return all paths of the protocol, the busiest first."""
        return [*self._of_models(), *self._of_server(), *self._of_repository(), *self._of_memory()]

    def _of_models(self) -> list[Route]:
        found = [Route(path=path + "/infer", face=Face.OIP, media=Media.OIP, translate={"POST": self._infer}) for path in _MODEL]
        found.append(_read("/v2/models", self._models))
        found.append(Route(path="/v2/models/stats", face=Face.OIP, later={"GET": self._statistics}))
        for path in _MODEL:
            found += [
                _read(path, self._model),
                _read(path + "/ready", self._model_ready),
                _read(path + "/config", self._config),
                Route(path=path + "/stats", face=Face.OIP, later={"GET": self._statistics}),
            ]
            found += [_absent(f"{path}/{name}") for name in _LATER]
        return found

    def _of_server(self) -> list[Route]:
        settings = {"GET": self._traces, "POST": self._traces}
        return [
            _read("/v2", self._server),
            _read("/v2/", self._server),
            _read("/v2/health/live", _always(b'{"live":true}')),
            _read("/v2/health/ready", self._ready),
            Route(path="/v2/trace/setting", face=Face.OIP, media=Media.OIP, at_once=settings),
            Route(path="/v2/models/{model}/trace/setting", face=Face.OIP, media=Media.OIP, at_once=settings),
            Route(path="/v2/logging", face=Face.OIP, media=Media.OIP, at_once={"GET": self._logs, "POST": self._logs}),
        ]

    def _of_repository(self) -> list[Route]:
        found: list[Route] = []
        for prefix in ("/v2/repository", "/v2/repository/{repository}"):
            found += [
                Route(path=prefix + "/index", face=Face.OIP, media=Media.OIP, at_once={"POST": self._index}),
                Route(path=prefix + "/models/{model}/load", face=Face.OIP, media=Media.OIP, later={"POST": self._load}),
                Route(path=prefix + "/models/{model}/unload", face=Face.OIP, media=Media.OIP, later={"POST": self._unload}),
            ]
        return found

    def _of_memory(self) -> list[Route]:
        found: list[Route] = []
        for kind in ("systemsharedmemory", "cudasharedmemory"):
            for path in (f"/v2/{kind}", f"/v2/{kind}/region/{{region}}"):
                found += [
                    _read(path + "/status", _always(b"[]")),
                    Route(path=path + "/register", face=Face.OIP, media=Media.OIP, at_once={"POST": _refuse_region}),
                    Route(path=path + "/unregister", face=Face.OIP, media=Media.OIP, at_once={"POST": _nothing}),
                ]
        return found

    # --- models -------------------------------------------------------------------------------------------------------------------

    def _infer(self, request: HttpRequest, names: PathNames) -> Translation:
        length = request.fields.get(LENGTH_HEADER)
        payload, form, _ = self._translator.translate(names["model"], names.get("version", ""), request.body, length)
        return Translation(payload, partial(self._inferred, form))

    def _inferred(self, form: AnswerForm, payload: bytes) -> HttpReply:
        body, length = self._answers.render(payload, form)
        if length is None:
            return HttpReply(200, body)
        return HttpReply(200, body, _BINARY, ((LENGTH_HEADER, b"%d" % length),))

    def _models(self, request: HttpRequest, _names: PathNames) -> HttpReply:
        index = self._control.index(request.key, ready_only=True, repository_name="")
        return _json({"models": list(dict.fromkeys(entry.name for entry in index.models))})

    def _model(self, request: HttpRequest, names: PathNames) -> HttpReply:
        return _message(self._control.model_metadata(request.key, names["model"], names.get("version", "")))

    def _model_ready(self, request: HttpRequest, names: PathNames) -> HttpReply:
        model, version = names["model"], names.get("version", "")
        if self._control.model_ready(request.key, model, version):
            return _json({"name": model, "ready": True})
        # Says 404 for what does not exist.
        if not self._control.directory.is_draining:
            with suppress(NoReadyReplica):
                self._control.model_metadata(request.key, model, version)
        return _json({"name": model, "ready": False}, status=503)

    def _config(self, request: HttpRequest, names: PathNames) -> HttpReply:
        return _message(self._control.model_config(request.key, names["model"], names.get("version", "")).config)

    async def _statistics(self, request: HttpRequest, names: PathNames) -> HttpReply:
        return _message(await self._control.model_statistics(request.key, names.get("model", ""), names.get("version", "")))

    # --- the server ---------------------------------------------------------------------------------------------------------------

    def _server(self, request: HttpRequest, _names: PathNames) -> HttpReply:
        return _message(self._control.server_metadata(request.key))

    def _ready(self, _request: HttpRequest, _names: PathNames) -> HttpReply:
        is_ready = self._control.server_ready()
        return HttpReply(200 if is_ready else 503, b'{"ready":true}' if is_ready else b'{"ready":false}')

    def _logs(self, request: HttpRequest, _names: PathNames) -> HttpReply:
        given = loads_object(request.body) if request.method == "POST" else {}
        for name, value in given.items():
            if type(value) not in (bool, int, str):
                raise _bad_setting(name, value)
        return _json(dict(self._control.logs(request.key, cast("Mapping[str, LogValue]", given))))

    def _traces(self, request: HttpRequest, names: PathNames) -> HttpReply:
        given = loads_object(request.body) if request.method == "POST" else {}
        wanted = {name: _texts(name, value) for name, value in given.items()}
        settings = self._control.traces(request.key, wanted, model=names.get("model", ""))
        # Triton writes the level as a list and everything else as a text.
        return _json({name: list(values) if name == "trace_level" else ",".join(values) for name, values in settings.items()})

    # --- the repository -----------------------------------------------------------------------------------------------------------

    def _index(self, request: HttpRequest, names: PathNames) -> HttpReply:
        given = loads_object(request.body) if request.body.strip() else {}
        ready = given.get("ready", False)
        if type(ready) is not bool:
            raise InvalidInput("'ready' must be true or false", reason="BAD_PARAMETER", field="ready")
        index = self._control.index(request.key, ready_only=ready, repository_name=names.get("repository", ""))
        return _json([as_document(entry, with_defaults=False) for entry in index.models])

    async def _load(self, request: HttpRequest, names: PathNames) -> HttpReply:
        _check_repository(names)
        await self._control.load(request.key, names["model"], _load_parameters(request.body), _deadline(request))
        return HttpReply(200, b"{}")

    async def _unload(self, request: HttpRequest, names: PathNames) -> HttpReply:
        _check_repository(names)
        await self._control.unload(request.key, names["model"], _load_parameters(request.body), _deadline(request))
        return HttpReply(200, b"{}")


def _always(body: bytes) -> AnswerAtOnce:
    return lambda _request, _names: HttpReply(200, body)


def _read(path: str, answer: AnswerAtOnce) -> Route:
    return Route(path=path, face=Face.OIP, media=Media.ANY, at_once={"GET": answer})


def _absent(path: str) -> Route:
    def refuse(_request: HttpRequest, _names: PathNames) -> HttpReply:
        raise NotImplementedHere(f"{path.rpartition('/')[2]} is not served yet: this server has no generating models")

    return Route(path=path, face=Face.OIP, media=Media.ANY, at_once={"POST": refuse})


def _refuse_region(_request: HttpRequest, _names: PathNames) -> HttpReply:
    raise NotImplementedHere("shared memory is not offered here: send the tensor's bytes", reason="SHARED_MEMORY")


def _nothing(_request: HttpRequest, _names: PathNames) -> HttpReply:
    return HttpReply(200, b"{}")


def _message(message: Message) -> HttpReply:
    return _json(as_document(message))


def _json(document: Any, *, status: int = 200) -> HttpReply:
    return HttpReply(status, as_json(document))


def _deadline(request: HttpRequest) -> float:
    return deadline_after(request.timeout_seconds or WAIT_SECONDS, time.monotonic(), longest_seconds=WAIT_SECONDS)


def _check_repository(names: PathNames) -> None:
    if names.get("repository"):
        raise NotImplementedHere("there is one repository: leave its name out of the path", field="repository_name")


def _load_parameters(body: bytes) -> dict[str, Parameter]:
    """Return the parameters of a load; files come as base64."""
    given = loads_object(body).get("parameters") if body.strip() else None
    if given is None:
        return {}
    if type(given) is not dict:
        raise InvalidInput(f"'parameters' must be an object, not {kind_of(given)}", reason="BAD_PARAMETER", field="parameters")
    found: dict[str, Parameter] = {}
    for name, value in cast("dict[str, Any]", given).items():
        if type(value) not in (str, bool, int):
            raise _bad_setting(name, value)
        found[name] = _file(name, value) if name.startswith(FILE_PREFIX) else value
    return found


def _file(name: str, encoded: Any) -> bytes:
    if len(name) > PATH_LIMIT + len(FILE_PREFIX):
        raise InvalidInput(f"the path of a file is longer than {PATH_LIMIT} characters", reason="BAD_NAME", field=FILE_PREFIX)
    if type(encoded) is not str:
        raise _bad_setting(name, encoded)
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(f"parameter {name[:64]!r} is no valid base64", reason="BAD_PARAMETER", field=name[:64]) from None


def _texts(name: str, value: Any) -> Sequence[str]:
    """Return a trace setting's values: a text or a list of texts; null resets it."""
    values = [] if value is None else value if type(value) is list else [value]
    if any(type(one) is not str for one in cast("list[Any]", values)):
        raise _bad_setting(name, value)
    return cast("list[str]", values)


def _bad_setting(name: str, value: Any) -> InvalidInput:
    return InvalidInput(f"{name[:64]!r} cannot be {kind_of(value)}", reason="BAD_PARAMETER", field=name[:64])
