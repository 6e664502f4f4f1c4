"""Whose a namespace of Temporal is: two desks in one would end each other's workflows."""

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

# Every desk has this schedule; its memo says in which database that desk keeps its tickets.
MARKED = "reconcile"
_DATABASE = "database"
RETENTION = timedelta(days=3)
# Servers hear of a new namespace when they refresh what they remember of all of them.
KNOWN_WITHIN = timedelta(seconds=30)


def mark(database: str | None) -> Mapping[str, str]:
    """The memo of a schedule of a desk with that database."""
    return {} if database is None else {_DATABASE: database}


async def owner(client: Client) -> str | None:
    """The database of the desk that works in the client's namespace; None where nobody says so.

    Raises RPCError where Temporal does not answer.
    """
    try:
        described = await client.get_schedule_handle(MARKED).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    found: object = await described.memo_value(_DATABASE, None)
    return found if isinstance(found, str) else None


async def make(client: Client, namespace: str) -> None:
    """The namespace exists afterwards and takes work. Raises RPCError where it may not be made."""
    retention = Duration()
    retention.FromTimedelta(RETENTION)
    try:
        await client.workflow_service.register_namespace(
            RegisterNamespaceRequest(
                namespace=namespace, workflow_execution_retention_period=retention
            )
        )
    except RPCError as error:
        if error.status != RPCStatusCode.ALREADY_EXISTS:
            raise
    inside = Client(
        client.service_client, namespace=namespace, data_converter=client.data_converter
    )
    deadline = time.monotonic() + KNOWN_WITHIN.total_seconds()
    while True:
        try:
            await inside.count_workflows()
            return
        except RPCError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
