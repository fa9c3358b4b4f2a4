"""Alembic's way in; `penstock_auth.schema` hands it the connection. Not for the command line."""

from alembic import context

from penstock_auth.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=connection.dialect.name == "sqlite")
with context.begin_transaction():
    context.run_migrations()
if connection.in_transaction():
    connection.commit()
