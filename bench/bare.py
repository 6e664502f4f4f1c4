"""What the door is measured against: FastAPI, psycopg, one INSERT, nothing else.

Its connections wait in a queue, without the checks of a pool. Served as the real application is:
`uvicorn --factory bench.bare:create_app`, one process, uvloop, httptools. The table has no
row-level security, no foreign key and one index.
"""

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator

import psycopg
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.types import ASGIApp, Receive, Scope, Send

from models.base import new_id

SETUP = """
create table if not exists bare_tickets (
    id uuid primary key, subject text not null, body text not null, email text not null,
    created_at timestamptz not null default now()
);
grant select, insert on bare_tickets to holdfast_app;
"""
_INSERT = "insert into bare_tickets (id, subject, body, email) values (%s, %s, %s, %s)"


class BareRequester(BaseModel):
    email: str
    name: str


class BareTicket(BaseModel):
    subject: str
    text: str
    requester: BareRequester


class Made(BaseModel):
    id: uuid.UUID


def create_app() -> ASGIApp:
    """`/bare`: a transaction with one INSERT; `/pooled`: the same through SQLAlchemy;
    `/autocommit`: the INSERT by itself; `/nothing`: what the load client itself can do."""
    url, size = os.environ["DATABASE_URL"], int(os.environ.get("DATABASE_POOL_SIZE", "24"))
    idle: asyncio.LifoQueue[psycopg.AsyncConnection[tuple[object, ...]]] = asyncio.LifoQueue()
    alone: asyncio.LifoQueue[psycopg.AsyncConnection[tuple[object, ...]]] = asyncio.LifoQueue()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for queue, autocommit in ((idle, False), (alone, True)):
                for _number in range(size):
                    connection = await psycopg.AsyncConnection.connect(
                        url, autocommit=autocommit, prepare_threshold=2
                    )
                    stack.push_async_callback(connection.close)
                    queue.put_nowait(connection)
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.post("/bare", status_code=201)
    async def create(ticket: BareTicket) -> Made:
        made = new_id()
        connection = await idle.get()
        try:
            async with connection.transaction():
                await connection.execute(
                    _INSERT, (made, ticket.subject, ticket.text, ticket.requester.email)
                )
        finally:
            idle.put_nowait(connection)
        return Made(id=made)

    @app.post("/autocommit", status_code=201)
    async def create_autocommitted(ticket: BareTicket) -> Made:
        made = new_id()
        connection = await alone.get()
        try:
            await connection.execute(
                _INSERT, (made, ticket.subject, ticket.text, ticket.requester.email)
            )
        finally:
            alone.put_nowait(connection)
        return Made(id=made)

    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1), pool_size=size, max_overflow=0
    )

    @app.post("/pooled", status_code=201)
    async def create_pooled(ticket: BareTicket) -> Made:
        made = new_id()
        async with engine.begin() as connection:
            await connection.exec_driver_sql(
                _INSERT, (made, ticket.subject, ticket.text, ticket.requester.email)
            )
        return Made(id=made)

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/nothing":
            headers = [(b"content-length", b"2"), (b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 201, "headers": headers})
            await send({"type": "http.response.body", "body": b"{}"})
            return
        await app(scope, receive, send)

    return served
