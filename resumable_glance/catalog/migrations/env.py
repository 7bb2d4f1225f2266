"""Alembic runs this; the connection is given by database.migrate()."""

from alembic import context

from resumable_glance.catalog.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
