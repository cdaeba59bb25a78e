"""Alembic runs this; the connection comes from `database.migrate`."""

from alembic import context

from tumorlens.services.store.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,  # SQLite cannot alter most things in place
)
with context.begin_transaction():
    context.run_migrations()
