"""Which server is meant: the nearest name counts, and a running serve before a guess."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.cli.address import BadAddress, Named, RunningServe, ServerAddress, choose


def serve(process_id: int = 7, port: int = 9000, *, started_time: float = 100.0, is_tls: bool = False) -> RunningServe:
    http, grpc, metrics = (f"127.0.0.1:{port + step}" for step in (0, 5, 9))
    return RunningServe(
        process_id=process_id, http=http, grpc=grpc, metrics=metrics, repository="/models", started_time=started_time, is_tls=is_tls
    )


def chosen(*, grpc: str | None = None, url: str | None = None, serves: tuple[RunningServe, ...] = (), **environment: str) -> ServerAddress:
    return choose(Named(grpc=grpc, url=url), environment, serves)


def test_the_nearest_name_counts():
    environment = {"PENSTOCK_GRPC": "c:3", "PENSTOCK_URL": "http://d:4"}

    assert chosen(grpc="a:1", url="http://b:2", serves=(serve(),), **environment).grpc == "a:1"
    assert chosen(url="http://b:2", serves=(serve(),), **environment).grpc == "b:3"
    assert chosen(serves=(serve(),), **environment).grpc == "c:3"
    assert chosen(serves=(serve(),), PENSTOCK_URL="http://d:4").grpc == "d:5"
    assert chosen(serves=(serve(),)).grpc == "127.0.0.1:9005"
    assert chosen().grpc == "127.0.0.1:8001"


def test_an_empty_variable_names_nothing():
    assert chosen(PENSTOCK_GRPC="", PENSTOCK_URL="").origin == "the default"


def test_of_several_serves_the_newest_is_meant():
    found = chosen(serves=(serve(1, 9100, started_time=5.0), serve(2, 9200, started_time=6.0), serve(3, 9300, started_time=4.0)))

    assert (found.grpc, found.metrics) == ("127.0.0.1:9205", "127.0.0.1:9209")
    assert str(found) == "127.0.0.1:9205 (the running `penstock serve`, process 2)"


def test_a_mesh_is_called_by_its_name():
    found = chosen(serves=(replace(serve(3), mesh="local"),))

    assert str(found) == "127.0.0.1:9005 (the mesh 'local' of `penstock up`, process 3)"
    assert not found.is_named


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000", "http://localhost:9000/", "127.0.0.1:9005", "grpc://localhost:9005"])
def test_the_address_of_a_running_serve_tells_its_other_ports(url: str):
    found = chosen(url=url, serves=(serve(),))

    assert found.serve == serve()
    assert (found.grpc, found.metrics, found.is_named) == ("127.0.0.1:9005", "127.0.0.1:9009", True)


@pytest.mark.parametrize(
    ("url", "grpc", "metrics"),
    [
        ("http://far:8000", "far:8001", "far:8002"),
        ("http://far", "far:8001", "far:8002"),
        ("far:7001", "far:7001", "far:7002"),
        ("far", "far:8001", "far:8002"),
        ("[::1]:7001", "[::1]:7001", "[::1]:7002"),
        ("https://far:8000", "far:8001", "far:8002"),
    ],
)
def test_other_servers_have_their_ports_in_the_usual_order(url: str, grpc: str, metrics: str):
    found = chosen(url=url)

    assert (found.grpc, found.metrics) == (grpc, metrics)
    assert found.uses_tls is url.startswith("https")


def test_a_guessed_port_is_said_to_be_one():
    assert "taken to be 8001, --grpc host:port names it" in str(chosen(url="http://far:8000"))


def test_a_serve_with_tls_is_known_to_have_it():
    assert chosen(serves=(serve(is_tls=True),)).uses_tls


@pytest.mark.parametrize("text", ["far:0", "far:70000", "ftp://far:1", "far:x", "http://far/v2", ":8001", "a b"])
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(BadAddress, match="--url"):
        chosen(url=text)
