"""Summaries by a language model over HTTP, against a server that speaks its protocol."""

import json

import httpx
import pytest

from api.resources import Resources
from domain.permissions import Role
from models.base import new_id
from tests.api.conftest import House, MakeHouse, make_ticket
from tests.api.test_drafting import KEY, Server, inside, server, set_up, write

__all__ = ["inside", "server"]  # the fixtures this file takes from there

pytestmark = pytest.mark.slow  # a server that is asked, and waited for

GOOD = {
    "problem": "[[NAME_1]] has a printer fire that does not stop [S2].",
    "tried": "The agent asked to unplug it for 30 seconds [S3].",
    "state": "",
}


async def a_conversation(
    client: httpx.AsyncClient, resources: Resources, house: House, server: Server
) -> int:
    ticket = await make_ticket(resources.database, resources.tickets, house)
    await write(
        resources, house, ticket.number, ticket.requester_id,
        "The fire does not stop. I am Customer, customer@example.org, +49 171 2345678.",
    )  # fmt: skip
    for kind, text in (
        ("replies", "Please unplug it for 30 seconds. Supervisor will call you."),
        ("notes", "SECRETNOTE this customer is a difficult one, do not refund."),
    ):
        made = await client.post(
            f"/api/v1/tickets/{ticket.number}/{kind}", json={"text": text}, headers=house.agent
        )
        assert made.status_code < 300, made.text
    server.content = json.dumps(GOOD)
    return ticket.number


async def test_a_summary_names_its_messages_and_nobody_outside_learns_who_it_is(
    inside: httpx.AsyncClient, resources: Resources, house: House, server: Server
) -> None:
    await set_up(inside, house, server, input_price=2.0, output_price=10.0)
    number = await a_conversation(inside, resources, house, server)
    answer = await inside.post(f"/api/v1/tickets/{number}/summaries", headers=house.agent)
    made = answer.json()
    assert (answer.status_code, made["state"]) == (201, "drafted"), made
    assert "[[" not in json.dumps(made)
    assert made["parts"]["problem"]["text"].startswith("Customer has a printer fire")
    assert (made["prompt_version"], made["cost"]) == (
        "summary-1", pytest.approx((321 * 2 + 45 * 10) / 1e6)
    )  # fmt: skip
    listed = await inside.get(f"/api/v1/tickets/{number}/messages", headers=house.agent)
    ids = [one["id"] for one in listed.json()["items"]]
    assert made["parts"]["problem"]["message_ids"] == [ids[1]]
    assert made["parts"]["tried"]["message_ids"] == [ids[2]]
    for secret in ("SECRETNOTE", "customer@example.org", "2345678", "Customer,", "Supervisor", KEY):
        assert secret not in server.words()

    path = f"/api/v1/tickets/{number}/summary"
    short = (await inside.get(path, headers=house.headers[Role.VIEWER])).json()
    assert short["problem"], "the ticket's own sentences stand beside it"
    assert short["written"]["problem"] == made["parts"]["problem"]
    assert short["written"]["since"] == 0
    drafts = await inside.get(f"/api/v1/tickets/{number}/drafts", headers=house.agent)
    assert drafts.json() == []  # it is no reply
    judged = await inside.post(
        f"/api/v1/tickets/{number}/drafts/{made['id']}/feedback",
        json={"verdict": "accepted"}, headers=house.agent,
    )  # fmt: skip
    assert judged.status_code == 404
    used = (await inside.get("/api/v1/language-model", headers=house.admin)).json()["used_today"]
    assert used["tokens"] == 366  # of the one budget
    actions = (await inside.get("/api/v1/audit", headers=house.admin)).json()["items"]
    assert "summary.asked" in {one["action"] for one in actions}

    more = await inside.post(
        f"/api/v1/tickets/{number}/replies", json={"text": "Is it out?"}, headers=house.agent
    )
    assert more.status_code < 300
    assert (await inside.get(path, headers=house.agent)).json()["written"]["since"] == 1


@pytest.mark.parametrize(
    ("server_does", "state"),
    [
        ({"status": 500}, "failed"),
        ({"delay": 5.0}, "failed"),
        ({"content": json.dumps({**GOOD, "problem": "It is on fire."})}, "refused"),
        ({"content": json.dumps({**GOOD, "state": "Refund 5000 now [S2]."})}, "refused"),
    ],
)
async def test_what_goes_wrong_leaves_the_tickets_own_sentences(
    inside: httpx.AsyncClient, resources: Resources, house: House, server: Server,
    server_does: dict[str, object], state: str,
) -> None:  # fmt: skip
    await set_up(inside, house, server, timeout_seconds=1)
    number = await a_conversation(inside, resources, house, server)
    for name, value in server_does.items():
        setattr(server, name, value)
    answer = await inside.post(f"/api/v1/tickets/{number}/summaries", headers=house.agent)
    made = answer.json()
    assert (answer.status_code, made["state"], made["parts"]) == (201, state, None), made
    assert made["detail"]
    short = (await inside.get(f"/api/v1/tickets/{number}/summary", headers=house.agent)).json()
    assert short["written"] is None
    assert short["problem"]


async def test_without_a_model_without_a_budget_and_in_another_desk_nothing_is_summed_up(
    inside: httpx.AsyncClient, resources: Resources, house: House, server: Server,
    make_house: MakeHouse,
) -> None:  # fmt: skip
    number = await a_conversation(inside, resources, house, server)
    path = f"/api/v1/tickets/{number}/summaries"
    none = await inside.post(path, headers=house.agent)
    assert (none.status_code, none.json()["code"]) == (409, "no_language_model")
    await set_up(inside, house, server, daily_tokens=10)
    spent = await inside.post(path, headers=house.agent)
    assert (spent.status_code, spent.json()["code"]) == (409, "budget_spent")
    assert server.asked == []
    viewer = await inside.post(path, headers=house.headers[Role.VIEWER])
    assert viewer.status_code == 403
    await set_up(inside, house, server)
    key = {"Idempotency-Key": str(new_id())}
    first, again = [await inside.post(path, headers={**house.agent, **key}) for _ in range(2)]
    assert first.json() == again.json()
    assert len(server.asked) == 1
    other = await make_house()
    await set_up(inside, other, server)
    theirs = await inside.post(f"/api/v1/tickets/{number + 1000}/summaries", headers=other.agent)
    assert theirs.status_code == 404
    mine = await make_ticket(resources.database, resources.tickets, other)
    shown = await inside.get(f"/api/v1/tickets/{mine.number}/summary", headers=other.agent)
    assert shown.json()["written"] is None
