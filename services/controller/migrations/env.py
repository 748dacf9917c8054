"""What alembic runs: the migrations, on the connection and in the transaction that `sql_migrations` gives it."""

from __future__ import annotations

from alembic import context

from services.controller.sql_schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
