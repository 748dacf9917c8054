"""The first tables.

Revision 0001; the audit refuses every change of what stands in it, whoever asks.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKeyConstraint, Integer, LargeBinary, String, Text

revision = "0001"
down_revision = None

_REFUSAL = "the audit only grows"


def upgrade() -> None:
    """Make the tables of an empty database."""
    _models()
    _deployments()
    _routes()
    _tenants()
    _audit()
    _ledger()
    _guard_audit()


def _models() -> None:
    op.create_table(
        "models",
        Column("name", String(255), primary_key=True),
        Column("description", Text, nullable=False),
        Column("framework", Text, nullable=False),
        Column("owner", String(255), nullable=False),
        Column("revision", BigInteger, nullable=False),
        Column("created_time", Double, nullable=False),
        Column("changed_time", Double, nullable=False),
    )
    op.create_table(
        "versions",
        Column("model", String(255), primary_key=True),
        Column("version", String(255), primary_key=True),
        Column("digest", String(64), nullable=False),
        Column("state", String(32), nullable=False),
        Column("manifest", Text, nullable=False),
        Column("signature", Text, nullable=False),
        Column("metadata", Text, nullable=False),
        Column("lineage", Text, nullable=False),
        Column("feature_schema_hash", String(255), nullable=False),
        Column("memory_bytes", BigInteger, nullable=False),
        Column("created_by", String(255), nullable=False),
        Column("created_time", Double, nullable=False),
        Column("healthy_time", Double),
        Column("reason", Text, nullable=False),
        ForeignKeyConstraint(["model"], ["models.name"]),
    )
    op.create_index("versions_by_digest", "versions", ["digest"])
    op.create_table(
        "aliases",
        Column("model", String(255), primary_key=True),
        Column("alias", String(255), primary_key=True),
        Column("version", String(255), nullable=False),
        Column("changed_time", Double, nullable=False),
        ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
    )


def _deployments() -> None:
    op.create_table(
        "deployments",
        Column("id", String(255), primary_key=True),
        Column("model", String(255), nullable=False),
        Column("version", String(255), nullable=False),
        Column("digest", String(64), nullable=False),
        Column("status", String(32), nullable=False),
        Column("revision", BigInteger, nullable=False),
        Column("replicas", Integer, nullable=False),
        Column("gpu_type", String(255), nullable=False),
        Column("resources", Text, nullable=False),
        Column("config", Text, nullable=False),
        Column("traffic_basis_points", Integer, nullable=False),
        Column("reason", Text, nullable=False),
        Column("created_by", String(255), nullable=False),
        Column("created_time", Double, nullable=False),
        Column("changed_time", Double, nullable=False),
        Column("placed_time", Double),
        Column("ready_time", Double),
        ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
    )
    op.create_index("deployments_by_model", "deployments", ["model", "status"])


def _routes() -> None:
    op.create_table(
        "routes",
        Column("model", String(255), primary_key=True),
        Column("revision", BigInteger, primary_key=True, autoincrement=False),
        Column("route", Text),
        Column("action", String(255), nullable=False),
        Column("actor", String(255), nullable=False),
        Column("why", Text, nullable=False),
        Column("change_id", String(255), nullable=False),
        Column("changed_time", Double, nullable=False),
        Column("writer_epoch", BigInteger, nullable=False),
        Column("sequence", BigInteger, nullable=False),
        Column("break_glass", Boolean, nullable=False),
        Column("rolled_back_from", BigInteger, nullable=False),
    )
    op.create_index("routes_by_time", "routes", ["changed_time"])
    op.create_table(
        "assignments",
        Column("worker_id", String(255), primary_key=True),
        Column("revision", BigInteger, primary_key=True, autoincrement=False),
        Column("assignment", Text, nullable=False),
        Column("reasons", Text, nullable=False),
        Column("changed_time", Double, nullable=False),
        Column("sequence", BigInteger, nullable=False),
    )


def _tenants() -> None:
    op.create_table(
        "tenants",
        Column("name", String(255), primary_key=True),
        Column("revision", BigInteger, nullable=False),
        Column("settings", Text, nullable=False),
        Column("frozen", Boolean, nullable=False),
        Column("created_time", Double, nullable=False),
        Column("changed_time", Double, nullable=False),
    )
    op.create_table(
        "keys",
        Column("key_id", String(255), primary_key=True),
        Column("tenant", String(255), nullable=False),
        Column("hash", String(128), nullable=False, unique=True),
        Column("created_by", String(255), nullable=False),
        Column("created_time", Double, nullable=False),
        Column("expires_time", Double),
        Column("revoked_time", Double),
        Column("last_used_time", Double),
        ForeignKeyConstraint(["tenant"], ["tenants.name"]),
    )
    op.create_index("keys_by_tenant", "keys", ["tenant"])
    op.create_table(
        "settings",
        Column("name", String(255), primary_key=True),
        Column("value", Text, nullable=False),
        Column("revision", BigInteger, nullable=False),
        Column("changed_time", Double, nullable=False),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("time", Double, nullable=False),
        Column("actor", String(255), nullable=False),
        Column("action", String(255), nullable=False),
        Column("subject", Text, nullable=False),
        Column("outcome", String(255), nullable=False),
        Column("before", Text, nullable=False),
        Column("after", Text, nullable=False),
        Column("why", Text, nullable=False),
        Column("change_id", String(255), nullable=False),
        Column("revision", BigInteger, nullable=False),
        Column("sequence", BigInteger, nullable=False),
        Column("previous_hash", String(64), nullable=False),
        Column("hash", String(64), nullable=False),
    )
    op.create_index("audit_by_subject", "audit", ["subject", "number"])
    op.create_index("audit_by_time", "audit", ["time"])
    op.create_table(
        "audit_head",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("number", BigInteger, nullable=False),
        Column("hash", String(64), nullable=False),
    )


def _ledger() -> None:
    op.create_table(
        "kept_answers",
        Column("scope", String(255), primary_key=True),
        Column("key", String(255), primary_key=True),
        Column("request_digest", String(64), nullable=False),
        Column("answer", Text, nullable=False),
        Column("created_time", Double, nullable=False),
    )
    op.create_index("kept_answers_by_time", "kept_answers", ["created_time"])
    op.create_table(
        "outbox",
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("topic", String(255), nullable=False),
        Column("key", String(255), nullable=False),
        Column("value", LargeBinary),
        Column("created_time", Double, nullable=False),
        Column("published_time", Double),
    )
    op.create_index("outbox_waiting", "outbox", ["published_time", "sequence"])
    op.create_table(
        "lease",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("holder", String(255), nullable=False),
        Column("epoch", BigInteger, nullable=False),
        Column("expires_time", Double, nullable=False),
    )
    op.execute("INSERT INTO lease (id, holder, epoch, expires_time) VALUES (1, '', 0, 0)")


def _guard_audit() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(f"CREATE TRIGGER audit_refuses_{event.lower()} BEFORE {event} ON audit BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END")
        return
    op.execute(f"CREATE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION '{_REFUSAL}'; END$$")
    op.execute("CREATE TRIGGER audit_refuses BEFORE UPDATE OR DELETE OR TRUNCATE ON audit EXECUTE FUNCTION audit_only_grows()")
