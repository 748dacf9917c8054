"""Which path is answered by what. Paths are matched as sent: never decoded, never normalised into another one.

A placeholder stands for one segment without `/` and `:`, and is percent-decoded only after the match, so that `%2e%2e%2f` stays one
(invalid) name. Found paths are remembered: matching costs one look-up for a path that was asked for before.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from penstock.contracts.errors import UnsupportedMedia
from services.router.http_exchange import Face, HttpReply, HttpRequest, PathNames, Translate, decoded

AnswerAtOnce = Callable[[HttpRequest, PathNames], HttpReply]
AnswerLater = Callable[[HttpRequest, PathNames], Awaitable[HttpReply]]
_KNOWN_PATHS, _KNOWN_PATH_BYTES = 4096, 512
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Media(Enum):
    """Which Content-Type a route's bodies may have."""

    ANY = "any"
    """No body is read."""
    OIP = "oip"
    """JSON, octet-stream, or none: what tritonclient and perf_analyzer send."""
    JSON = "json"
    """JSON; none counts as JSON unless that is switched off."""
    ROWS = "rows"
    """JSON or CSV; none counts as JSON."""


_ALLOWED = {
    Media.OIP: frozenset({b"application/json", b"application/octet-stream", b"application/vnd.sagemaker-triton.binary+json"}),
    Media.JSON: frozenset({b"application/json"}),
    Media.ROWS: frozenset({b"application/json", b"text/csv"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One path and what its methods do: exactly one way for each method."""

    path: str
    face: Face
    media: Media = Media.JSON
    translate: Mapping[str, Translate] | None = None
    at_once: Mapping[str, AnswerAtOnce] | None = None
    later: Mapping[str, AnswerLater] | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that are served, HEAD where GET is."""
        own = {method for ways in (self.translate, self.at_once, self.later) if ways for method in ways}
        return tuple(sorted(own | ({"HEAD"} if "GET" in own else set())))


@dataclass(frozen=True, slots=True)
class Found:
    """A route, and what the placeholders of its path stand for."""

    route: Route
    names: PathNames


class Routes:
    """All routes of a server."""

    def __init__(self, routes: Sequence[Route]) -> None:
        """Compile the paths; earlier ones win."""
        self._compiled = [(re.compile(_pattern(route.path).encode()), route) for route in routes]
        self._known: dict[bytes, Found] = {}

    def __iter__(self):  # noqa: ANN204 - an iterator of Route
        """Go through the routes in order."""
        return iter([route for _, route in self._compiled])

    def find(self, path: bytes) -> Found | None:
        """Return the route of a path.

        Raises:
            InvalidInput: a placeholder's bytes are not UTF-8.
        """
        known = self._known.get(path)
        if known is not None:
            return known
        for pattern, route in self._compiled:
            match = pattern.fullmatch(path)
            if match is not None:
                names = {name: decoded(value.decode("ascii")) for name, value in match.groupdict().items() if value is not None}
                return self._remember(path, Found(route, names))
        return None

    def _remember(self, path: bytes, found: Found) -> Found:
        if len(path) <= _KNOWN_PATH_BYTES:
            if len(self._known) >= _KNOWN_PATHS:
                self._known.clear()
            self._known[path] = found
        return found


def check_media(media: Media, content_type: bytes | None, *, missing_is_json: bool) -> None:
    """Refuse a Content-Type that a route does not take.

    Raises:
        UnsupportedMedia: another type, or another charset than UTF-8; browsers' form types are refused on purpose.
    """
    if media is Media.ANY:
        return
    if content_type is None:
        if media is Media.JSON and not missing_is_json:
            raise UnsupportedMedia("content-type is missing: send application/json", reason="MEDIA_TYPE", field="content-type")
        return
    if content_type in _ALLOWED[media]:
        return
    kind, _, parameters = content_type.lower().partition(b";")
    kind = kind.strip()
    is_json = kind in _ALLOWED[media] or (kind.startswith(b"application/") and kind.endswith(b"+json"))
    charset = parameters.partition(b"charset=")[2].strip(b'" ')
    if not is_json or charset not in (b"", b"utf-8", b"utf8", b"us-ascii"):
        wanted = ", ".join(sorted(kind.decode() for kind in _ALLOWED[media]))
        raise UnsupportedMedia(f"the content-type is not served here: send {wanted}", reason="MEDIA_TYPE", field="content-type")


def _pattern(path: str) -> str:
    pieces = _PLACEHOLDER.split(path)
    return "".join(f"(?P<{piece}>[^/:]+)" if index % 2 else re.escape(piece) for index, piece in enumerate(pieces))
