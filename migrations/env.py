"""Runs revisions as the owner; gives up soon where a lock is held, so as not to stall the desk."""

from alembic import context
from sqlalchemy import create_engine, pool, text

import models.accounts
import models.assistance
import models.customers
import models.delivery
import models.knowledge
import models.learning
import models.promises
import models.sla
import models.tickets  # noqa: F401
from models.base import Base

engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool)
with engine.connect() as connection:
    connection.execute(text("set lock_timeout = '5s'"))
    connection.commit()
    context.configure(
        connection=connection, target_metadata=Base.metadata, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
