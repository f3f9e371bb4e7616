"""Alembic's environment: it migrates the connection that `models.schema` hands over, and no other."""

from alembic import context

from models import (
    agent,
    approval,
    audit,
    branch,
    compensation,
    event,
    gateway,
    hook,
    operation,
    outbox,
    price,
    retention,
    run,
    schedule,
    signal,
    slots,
    step,
    webhook,
    workflow,
    workspace,
)
from models.base import Base

# Named so that every table is in the metadata that a new revision is compared with.
TABLES = (
    *(agent, approval, audit, branch, compensation, event, gateway, hook, operation, outbox, price),
    *(retention, run, schedule, signal, slots, step, webhook, workflow, workspace),
)

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    include_object=context.config.attributes["include_object"],
    compare_type=True,
    compare_server_default=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
