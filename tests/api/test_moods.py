"""How a customer sounds over a conversation: in the analysis, in lists, in the score."""

import uuid

import httpx

from api.resources import Resources
from domain.frustration import frustration_of
from domain.states import Channel
from domain.tickets import MODEL, CustomerReplied, Event, MoodRead
from services.tickets import Step
from tests.api.conftest import House, make_ticket
from tests.api.test_triage import guess, triaged
from tests.making import happens, words

FURIOUS = "Third time I write and still no answer. Unacceptable!!"


async def writes(resources: Resources, house: House, number: int, text: str) -> int:
    """The customer's next message; the event that brought it."""
    async with resources.database.transaction(house.tenant_id) as work:
        row = await work.row(
            "select requester_id from tickets where tenant_id = :t and number = :n",
            {"t": house.tenant_id, "n": number},
        )
    assert row is not None
    reply = CustomerReplied(words(text), row["requester_id"], Channel.EMAIL)
    ticket = await happens(resources.database, resources.tickets, house.tenant_id, number, reply)
    assert ticket.mood_due == ticket.seq
    return ticket.seq


async def is_read(resources: Resources, house: House, number: int, seq: int, text: str) -> None:
    said = MoodRead(
        of_seq=seq, message_id=uuid.UUID(int=seq), sentiment=guess("negative"),
        frustration=frustration_of(text), model_version="sentiment-2", input_sha256="cd" * 32,
    )  # fmt: skip
    async with resources.database.transaction(house.tenant_id) as work:
        event = Event(
            key=f"mood/{number}/{seq}", actor=MODEL, payload=said, cause={"model": "sentiment-2"}
        )
        await resources.tickets.handle(work, Step(number, event))


async def test_the_analysis_has_every_reading_with_its_words_and_which_message_it_read(
    client: httpx.AsyncClient, resources: Resources, house: House
) -> None:
    ticket = await make_ticket(resources.database, resources.tickets, house)
    await triaged(resources, house, ticket.number)
    path = f"/api/v1/tickets/{ticket.number}"
    before = (await client.get(f"{path}/analysis", headers=house.agent)).json()
    assert (before["frustration"], before["mood_pending"]) == (None, False)
    seq = await writes(resources, house, ticket.number, FURIOUS)
    waiting = (await client.get(f"{path}/analysis", headers=house.agent)).json()
    assert waiting["mood_pending"] is True
    await is_read(resources, house, ticket.number, seq, FURIOUS)

    after = (await client.get(f"{path}/analysis", headers=house.agent)).json()
    assert after["mood_pending"] is False
    assert after["frustration"]["level"] == "high"
    assert {sign["words"] for sign in after["frustration"]["signs"]} >= {"unacceptable", "still no"}
    mood, first = after["verdicts"]
    assert (first["kind"], first["message_seq"], mood["kind"]) == ("all", 1, "mood")
    assert first["message_id"] is not None
    assert (mood["message_seq"], mood["message_id"]) == (seq, str(uuid.UUID(int=seq)))
    assert (mood["model_version"], mood["input_sha256"]) == ("sentiment-2", "cd" * 32)
    assert [one["field"] for one in mood["opinions"]] == ["sentiment"]
    assert mood["frustration"]["rules"] == "frustration-1"
    questions = {one["field"]: one for one in after["questions"]}
    assert questions["topic"]["suggestion"]["label"] == "billing"  # as the first verdict said
    assert questions["sentiment"]["applied"] is True
    reasons = {one["name"] for one in after["score"]["contributions"]}
    assert {"sentiment", "frustration"} <= reasons


async def test_lists_can_be_narrowed_to_customers_who_are_frustrated(
    client: httpx.AsyncClient, resources: Resources, house: House
) -> None:
    calm = await make_ticket(resources.database, resources.tickets, house)
    angry = await make_ticket(resources.database, resources.tickets, house)
    for ticket in (calm, angry):
        await triaged(resources, house, ticket.number)
    for ticket, text in ((calm, "All fine."), (angry, FURIOUS)):
        seq = await writes(resources, house, ticket.number, text)
        await is_read(resources, house, ticket.number, seq, text)
    found = await client.get(
        "/api/v1/tickets", params={"frustration": ["some", "high"]}, headers=house.agent
    )
    assert [(one["number"], one["frustration"]) for one in found.json()["items"]] == [
        (angry.number, "high")
    ]
    none = await client.get("/api/v1/tickets", params={"frustration": "none"}, headers=house.agent)
    assert [one["number"] for one in none.json()["items"]] == [calm.number]
    wrong = await client.get(
        "/api/v1/tickets", params={"frustration": "furious"}, headers=house.agent
    )
    assert wrong.status_code == 422
