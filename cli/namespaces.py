"""A namespace of Temporal that no other desk works in."""

from temporalio.service import RPCError

from adapters import namespaces
from adapters.temporal import connect_from
from cli.output import Mistake
from cli.place import database
from services.places import database_id
from settings import Settings


async def away_from_others(settings: Settings) -> str | None:
    """The namespace to use instead of the one set, where that is another desk's; else None.

    It is this database's own, and the same at every start. Raises Mistake where it cannot be made.
    """
    async with database(settings) as opened:
        ours = await database_id(opened)
    if ours is None:
        return None
    try:
        client = await connect_from(settings, patient=False)
        owner = await namespaces.owner(client)
    except (RPCError, RuntimeError):
        return None  # it is away: nobody can say
    if owner in (None, ours):
        return None
    own = f"holdfast-{ours}"
    try:
        await namespaces.make(client, own)
    except RPCError as error:
        raise Mistake(
            f"Another desk works in the namespace {client.namespace} of the Temporal at"
            f" {settings.temporal_address}, and a namespace for this one could not be made"
            f" ({error.message}). Make one, and set TEMPORAL_NAMESPACE."
        ) from error
    return own
