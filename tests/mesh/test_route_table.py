"""What can be called, from what workers report."""

from __future__ import annotations

import dataclasses

import pytest

from penstock.contracts.errors import InvalidInput, ModelNotFound, NoReadyReplica, VersionNotFound
from penstock.contracts.model_config import from_toml, to_bytes
from penstock.contracts.routes import single
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus
from services.mesh.asked_versions import AskedVersions
from services.mesh.plan import Plan
from services.mesh.route_table import RouteTable
from tests.mesh.conftest import replica, status, table_of


def test_the_newest_ready_version_serves():
    table = table_of(status("a", replica(version="9", replica_id=1), replica(version="10", replica_id=2)))

    assert table.resolve("echo").version == "10"
    assert table.resolve("echo", "9").version == "9"
    assert table.resolve("echo", "latest").version == "10"


def test_while_a_newer_version_loads_anywhere_the_previous_one_keeps_the_traffic():
    old, new = replica(version="1", replica_id=1), replica(version="2", replica_id=2)
    loading = dataclasses.replace(new, state=ReplicaState.LOADING)
    table = table_of(status("a", old, new), status("b", old, loading))

    assert table.resolve("echo").version == "1"
    table.apply("b", status("b", old, new, revision=2))
    assert table.resolve("echo").version == "2"
    assert len(table.resolve("echo").replicas) == 2


def test_an_unhealthy_replica_takes_nothing_while_there_is_another_and_all_of_them_do_when_there_is_not():
    sound, broken = replica(replica_id=1), dataclasses.replace(replica(replica_id=2), unhealthy=True)
    table = table_of(status("a", sound), status("b", broken))

    assert [one.instance_id for one in table.resolve("echo").replicas] == ["a"]
    table.apply("a", status("a", dataclasses.replace(sound, unhealthy=True), revision=2))
    assert [one.instance_id for one in table.resolve("echo").replicas] == ["a", "b"]
    table.apply("b", status("b", dataclasses.replace(broken, unhealthy=False), revision=2))
    assert [one.instance_id for one in table.resolve("echo").replicas] == ["b"]


def test_a_version_that_is_unhealthy_everywhere_leaves_the_traffic_to_an_older_one_and_is_served_by_name():
    old, new = replica(version="1", replica_id=1), replica(version="2", replica_id=2)
    table = table_of(status("a", old, dataclasses.replace(new, unhealthy=True)), status("b", old, new))

    assert table.resolve("echo").version == "2"
    table.apply("b", status("b", old, dataclasses.replace(new, unhealthy=True), revision=2))
    assert table.resolve("echo").version == "1"
    assert table.resolve("echo", "2").version == "2"
    table.apply("b", status("b", dataclasses.replace(old, unhealthy=True), dataclasses.replace(new, unhealthy=True), revision=3))
    table.apply("a", None)
    assert table.resolve("echo").version == "2"


def test_a_lost_worker_neither_holds_a_version_back_nor_serves_the_previous_one():
    old, new = replica(version="1", replica_id=1), replica(version="2", replica_id=2)
    loading = dataclasses.replace(new, state=ReplicaState.LOADING)
    table = table_of(status("a", new), status("b", old, loading))

    assert table.resolve("echo").version == "1"
    assert table.reach("b", is_lost=True)
    assert table.resolve("echo").version == "2"
    assert not table.reach("b", is_lost=True)
    assert table.reach("b", is_lost=False)
    assert table.resolve("echo").version == "1"


def test_when_every_worker_is_lost_the_routes_stay_as_they_were():
    table = table_of(status("a", replica(version="1", replica_id=1), replica(version="2", replica_id=2)))
    table.reach("a", is_lost=True)

    assert table.resolve("echo").version == "2"


def test_new_files_of_the_serving_version_do_not_move_its_traffic_to_an_older_one():
    old, serving = replica(version="1", replica_id=1), replica(version="2", replica_id=2)
    reloading = dataclasses.replace(serving, replica_id=3, state=ReplicaState.LOADING, digest="new")
    table = table_of(status("a", old, serving, reloading))

    assert table.resolve("echo").version == "2"


def test_a_failed_newer_version_does_not_hold_the_old_one_back_nor_take_over():
    failed = replica(version="2", replica_id=2, state=ReplicaState.FAILED)
    table = table_of(status("a", replica(version="1"), failed))

    assert table.resolve("echo").version == "1"
    with pytest.raises(NoReadyReplica):
        table.resolve("echo", "2")


def test_an_older_revision_of_an_instance_is_ignored():
    table = table_of(status("a", replica(version="2"), revision=5))

    assert not table.apply("a", status("a", replica(version="1"), revision=4))
    assert table.resolve("echo").version == "2"


def test_a_restarted_worker_counts_from_the_start():
    table = table_of(status("a", replica(version="2"), revision=50))

    assert table.apply("a", status("a", replica(version="1"), revision=1, instance="a-again"))
    assert table.resolve("echo").version == "1"


def test_a_worker_that_is_gone_serves_nothing():
    table = table_of(status("a", replica()))
    table.apply("a", None)

    assert list(table.models()) == []
    with pytest.raises(NoReadyReplica):
        table.resolve("echo")


def test_a_loading_model_is_not_ready_and_says_when_to_come_back():
    table = table_of(status("a", replica(state=ReplicaState.LOADING)))

    with pytest.raises(NoReadyReplica) as refused:
        table.resolve("echo")
    assert refused.value.reason == "MODEL_LOADING"
    assert refused.value.retry_after_seconds


@pytest.mark.parametrize(("version", "kind"), [("9", VersionNotFound), ("../1", VersionNotFound)])
def test_unknown_versions_are_not_found(version: str, kind: type):
    with pytest.raises(kind):
        table_of(status("a", replica())).resolve("echo", version)


def test_a_name_that_could_not_be_a_models_is_invalid():
    with pytest.raises(InvalidInput):
        table_of().resolve("a/b")


def configured(version: str, replica_id: int, text: str = "") -> ReplicaStatus:
    return dataclasses.replace(replica(version=version, replica_id=replica_id), model_config=to_bytes(from_toml(text)))


def test_declared_weights_share_the_traffic():
    table = table_of(status("a", configured("1", 1), configured("2", 2, '[traffic]\n"1" = 9000\n"2" = 1000\n')))
    chosen = [table.resolve("echo", routing_key=b"user-%d" % n).version for n in range(2000)]

    assert 120 <= chosen.count("2") <= 280


def test_weights_of_versions_that_are_not_ready_are_not_followed():
    table = table_of(status("a", configured("2", 2, '[traffic]\n"1" = 9000\n"2" = 1000\n')))

    assert table.resolve("echo").version == "2"


def test_a_declared_alias_names_a_version():
    table = table_of(status("a", configured("1", 1), configured("2", 2, '[aliases]\nchampion = "1"\n')))

    assert table.resolve("echo", "champion").version == "1"


def test_a_version_goes_before_an_alias_of_its_name():
    table = table_of(status("a", configured("v1", 1), configured("v2", 2, '[aliases]\nv1 = "v3"\n')))

    assert table.resolve("echo", "v1").version == "v1"


def test_what_is_derived_from_a_deployment_survives_changes_of_other_models():
    table = table_of(status("a", replica()))
    before = table.resolve("echo")
    table.apply("a", status("a", replica(), replica(model="other", replica_id=9), revision=2))

    assert table.resolve("echo") is before


def test_replicas_with_other_files_do_not_mix():
    old = dataclasses.replace(replica(replica_id=1), digest="old", changed_time=1.0)
    new = dataclasses.replace(replica(replica_id=2), digest="new", changed_time=2.0)
    table = table_of(status("a", old), status("b", new))

    assert [one.replica_id for one in table.resolve("echo").replicas] == [2]


def test_a_replica_that_was_given_up_serves_nothing_whatever_later_statuses_say_until_its_worker_is_another():
    held = replica(version="1", replica_id=1)
    table = table_of(status("a", held))
    before = table.resolve("echo")

    assert table.give_up("a", 1)
    assert not table.give_up("a", 1)
    table.apply("a", status("a", held, replica("other", replica_id=2), revision=2))

    with pytest.raises(NoReadyReplica, match="DRAINING"):
        table.resolve("echo")
    assert table.newest(before).replicas == ()
    assert table.resolve("other").replicas
    table.apply("a", status("a", held, instance="a-2"))
    assert table.newest(before).replicas == table.resolve("echo").replicas


def test_a_given_up_replica_leaves_the_traffic_to_the_version_that_is_ready_elsewhere():
    table = table_of(status("a", replica(version="1", replica_id=1)), status("b", replica(version="2", replica_id=1)))

    table.give_up("b", 1)

    assert table.resolve("echo").version == "1"


def test_a_routed_version_that_no_worker_holds_is_to_come_and_an_unknown_one_is_told_on():
    asked = AskedVersions(lambda: 1.0)
    table = RouteTable({"echo": Plan(single("echo", "1", revision=1))}, asked)
    table.apply("a", status("a", replica(version="1", replica_id=1), replica(version="2", replica_id=2)))
    table.apply("a", status("a", revision=2))

    with pytest.raises(NoReadyReplica) as routed:
        table.resolve("echo")
    with pytest.raises(NoReadyReplica) as unloaded:
        table.resolve("echo", "2")
    with pytest.raises(ModelNotFound):
        table.resolve("echo", "3")
    with pytest.raises(InvalidInput):
        table.resolve("../echo", "1")

    assert routed.value.reason == unloaded.value.reason == "MODEL_LOADING"
    assert [(one.model, one.version) for one in asked.newest()] == [("echo", "2"), ("echo", "3")]
    table.apply("a", status("a", replica(version="2", replica_id=3), revision=3))
    assert [one.version for one in asked.newest()] == ["3"]
    assert table.resolve("echo", "2").version == "2"


def test_replicas_of_the_same_files_serve_together_while_their_configuration_is_rolled():
    old = dataclasses.replace(replica(replica_id=1), digest="old", changed_time=1.0, files_digest="f")
    new = dataclasses.replace(replica(replica_id=2), digest="new", changed_time=2.0, files_digest="f")
    other = dataclasses.replace(new, reject_non_finite=True)

    assert len(table_of(status("a", old), status("b", new)).resolve("echo").replicas) == 2
    assert len(table_of(status("a", old), status("b", other)).resolve("echo").replicas) == 1
    assert len(table_of(status("a", old), status("b", dataclasses.replace(new, files_digest="g"))).resolve("echo").replicas) == 1
