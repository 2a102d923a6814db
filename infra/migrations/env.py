"""Alembic runs here with the connection that ``infra.database`` already holds a write transaction on."""

from alembic import context

from infra.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
