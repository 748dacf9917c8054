"""The tables of the catalogue; the columns of each are the fields of its value. `migrations` makes them, a test compares the two."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKeyConstraint, Index, Integer, LargeBinary, MetaData, String, Table, Text

from penstock.contracts.assignments import Assignment
from penstock.contracts.routes import Route
from services.controller.deployment_values import DeploymentStatus, Resources
from services.controller.model_values import VersionState
from services.controller.sql_types import Document, Word

metadata = MetaData()

_OBJECT = Mapping[str, object]


def _name(column: str, *, primary_key: bool = False) -> Column[str]:
    return Column(column, String(255), primary_key=primary_key, nullable=False)


def _text(column: str) -> Column[str]:
    return Column(column, Text, nullable=False)


def _time(column: str) -> Column[float]:
    return Column(column, Double, nullable=False)


def _number(column: str, *, primary_key: bool = False) -> Column[int]:
    return Column(column, BigInteger, primary_key=primary_key, autoincrement=False, nullable=False)


models = Table(
    "models",
    metadata,
    _name("name", primary_key=True),
    _text("description"),
    _text("framework"),
    _name("owner"),
    _number("revision"),
    _time("created_time"),
    _time("changed_time"),
)

versions = Table(
    "versions",
    metadata,
    _name("model", primary_key=True),
    _name("version", primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("state", Word(VersionState), nullable=False),
    Column("manifest", Document(_OBJECT), nullable=False),
    Column("signature", Document(_OBJECT), nullable=False),
    Column("metadata", Document(_OBJECT), nullable=False),
    Column("lineage", Document(_OBJECT), nullable=False),
    _name("feature_schema_hash"),
    _number("memory_bytes"),
    _name("created_by"),
    _time("created_time"),
    Column("healthy_time", Double),
    _text("reason"),
    Column("checked_time", Double),
    _text("damage"),
    Column("version_signature", LargeBinary),
    _name("signed_by"),
    ForeignKeyConstraint(["model"], ["models.name"]),
    Index("versions_by_digest", "digest"),
)

aliases = Table(
    "aliases",
    metadata,
    _name("model", primary_key=True),
    _name("alias", primary_key=True),
    _name("version"),
    _time("changed_time"),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
)

deployments = Table(
    "deployments",
    metadata,
    _name("id", primary_key=True),
    _name("model"),
    _name("version"),
    Column("digest", String(64), nullable=False),
    Column("status", Word(DeploymentStatus), nullable=False),
    _number("revision"),
    Column("replicas", Integer, nullable=False),
    _name("gpu_type"),
    Column("resources", Document(Resources), nullable=False),
    Column("config", Document(_OBJECT), nullable=False),
    Column("traffic_basis_points", Integer, nullable=False),
    _text("reason"),
    _name("created_by"),
    _time("created_time"),
    _time("changed_time"),
    Column("placed_time", Double),
    Column("ready_time", Double),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
    Index("deployments_by_model", "model", "status"),
)

routes = Table(
    "routes",
    metadata,
    _name("model", primary_key=True),
    _number("revision", primary_key=True),
    Column("route", Document(Route | None)),
    _name("action"),
    _name("actor"),
    _text("why"),
    _name("change_id"),
    _time("changed_time"),
    _number("writer_epoch"),
    _number("sequence"),
    Column("break_glass", Boolean, nullable=False),
    _number("rolled_back_from"),
    Index("routes_by_time", "changed_time"),
)

assignments = Table(
    "assignments",
    metadata,
    _name("worker_id", primary_key=True),
    _number("revision", primary_key=True),
    Column("assignment", Document(Assignment), nullable=False),
    Column("reasons", Document(tuple[str, ...]), nullable=False),
    _time("changed_time"),
    _number("sequence"),
)

tenants = Table(
    "tenants",
    metadata,
    _name("name", primary_key=True),
    _number("revision"),
    Column("settings", Document(_OBJECT), nullable=False),
    Column("frozen", Boolean, nullable=False),
    _time("created_time"),
    _time("changed_time"),
)

keys = Table(
    "keys",
    metadata,
    _name("key_id", primary_key=True),
    _name("tenant"),
    Column("hash", String(128), nullable=False, unique=True),
    _name("created_by"),
    _time("created_time"),
    Column("expires_time", Double),
    Column("revoked_time", Double),
    Column("last_used_time", Double),
    ForeignKeyConstraint(["tenant"], ["tenants.name"]),
    Index("keys_by_tenant", "tenant"),
)

settings = Table(
    "settings",
    metadata,
    _name("name", primary_key=True),
    Column("value", Document(object), nullable=False),
    _number("revision"),
    _time("changed_time"),
)

kept_answers = Table(
    "kept_answers",
    metadata,
    _name("scope", primary_key=True),
    _name("key", primary_key=True),
    Column("request_digest", String(64), nullable=False),
    _text("answer"),
    _time("created_time"),
    Index("kept_answers_by_time", "created_time"),
)

audit = Table(
    "audit",
    metadata,
    _number("number", primary_key=True),
    _time("time"),
    _name("actor"),
    _name("action"),
    Column("subject", Text, nullable=False),
    _name("outcome"),
    _text("before"),
    _text("after"),
    _text("why"),
    _name("change_id"),
    _number("revision"),
    _number("sequence"),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("audit_by_subject", "subject", "number"),
    Index("audit_by_time", "time"),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _number("number"),
    Column("hash", String(64), nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    _number("sequence", primary_key=True),
    _name("topic"),
    _name("key"),
    Column("value", LargeBinary),
    _time("created_time"),
    Column("published_time", Double),
    Index("outbox_waiting", "published_time", "sequence"),
)

lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _name("holder"),
    _number("epoch"),
    _time("expires_time"),
)
