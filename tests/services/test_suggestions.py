"""What may answer a ticket and what is like it, over a real Postgres."""

import uuid
from datetime import UTC, datetime

import pytest

from domain.articles import Audience, State
from domain.desk import Desk
from domain.errors import TicketNotFound
from domain.permissions import GRANTS, Principal, Role, Scope, grants_of
from domain.states import Category
from domain.tickets import AgentReplied, Changed, CustomerReplied, NewMessage, Ticket
from models.base import new_id
from models.session import Database
from services import canned, desks, knowledge, lexical, suggestions
from services.desks import Desks
from services.suggestions import Suggested, Suggestion, SuggestionNotFound
from services.tickets import Tickets
from tests.conftest import MakeTenant, Urls
from tests.making import happens, make_agent, make_team, make_ticket

pytestmark = pytest.mark.slow  # hundreds of tickets

NOW = datetime.now(UTC)
KINDS: tuple[suggestions.Kind, ...] = ("article", "canned", "reply")


@pytest.fixture(scope="module")
def tickets() -> Tickets:
    return Tickets(Desks())


class House:
    """A tenant at work."""

    def __init__(self, database: Database, urls: Urls, tickets: Tickets, tenant: uuid.UUID) -> None:
        self.database = database
        self.urls = urls
        self.tickets = tickets
        self.tenant = tenant

    def caller(
        self, role: Role = Role.ADMIN, *, user: uuid.UUID | None = None,
        teams: frozenset[uuid.UUID] = frozenset(), scope: Scope = Scope.TEAM,
    ) -> Principal:  # fmt: skip
        return Principal(
            tenant_id=self.tenant, tenant_slug="t", kind="user", id=user or uuid.uuid4(),
            role=role, team_ids=teams, grants=grants_of(role, agent_scope=scope),
        )  # fmt: skip

    async def agent(self, name: str = "Ada") -> uuid.UUID:
        async with self.database.transaction(self.tenant) as work:
            return await make_agent(work, name)

    async def ask(self, subject: str, text: str, *, email: str = "kim@example.com") -> Ticket:
        return await make_ticket(
            self.database, self.tickets, self.tenant, subject=subject, text=text, email=email
        )

    async def answered(
        self, subject: str, question: str, answer: str, *, email: str = "lee@example.com",
        over: bool = True,
    ) -> Ticket:  # fmt: skip
        """A ticket that somebody answered, and (unless told otherwise) resolved."""
        ticket = await self.ask(subject, question, email=email)
        agent = await self.agent()
        await self.says(ticket, answer, by=agent)
        if over:
            await happens(
                self.database, self.tickets, self.tenant, ticket.number,
                Changed(status="resolved"), by=agent,
            )  # fmt: skip
        return ticket

    async def says(self, ticket: Ticket, text: str, *, by: uuid.UUID | None = None) -> None:
        message = NewMessage(new_id(), text)
        payload = (
            AgentReplied(message)
            if by
            else CustomerReplied(message, ticket.requester_id, ticket.channel)
        )
        await happens(self.database, self.tickets, self.tenant, ticket.number, payload, by=by)

    async def article(
        self, title: str, body: str, *, language: str = "en", publish: bool = True,
        audience: Audience = Audience.PUBLIC,
    ) -> uuid.UUID:  # fmt: skip
        caller = self.caller()
        async with self.database.transaction(self.tenant) as work:
            row = await knowledge.create_article(
                work, caller, title=title, body=body, keywords=[], language=language,
                audience=audience, section_id=None, slug=None, translation_of=None, now=NOW,
            )  # fmt: skip
            if publish:
                await knowledge.take_step(work, caller, row["id"], State.PUBLISHED, now=NOW)
        return uuid.UUID(str(row["id"]))

    async def keyed(self) -> int:
        async with self.database.transaction(self.tenant) as work:
            row = await work.row(
                "select count(*) as n from ticket_keys where tenant_id = :t", {"t": self.tenant}
            )
        assert row is not None
        return int(row["n"])

    async def index(self) -> int:
        """How many of this tenant's tickets got their keys; the database has others' too."""
        before = await self.keyed()
        relay = Database(self.urls.relay, pool_size=1)
        try:
            await lexical.catch_up(relay, self.database)
        finally:
            await relay.close()
        return await self.keyed() - before

    async def suggested(
        self, ticket: Ticket, caller: Principal | None = None, *, limit: int = 5
    ) -> Suggested:
        async with self.database.transaction(self.tenant, reading=True) as work:
            desk: Desk = await desks.load(work)
            return await suggestions.suggestions(
                work, caller or self.caller(), ticket.number, desk=desk, limit=limit
            )

    async def similar(
        self, ticket: Ticket, caller: Principal | None = None
    ) -> list[suggestions.Similar]:
        async with self.database.transaction(self.tenant, reading=True) as work:
            return await suggestions.similar(work, caller or self.caller(), ticket.number)

    async def judge(
        self, ticket: Ticket, one: Suggestion, verdict: suggestions.Verdict,
        user: uuid.UUID | None = None,
    ) -> dict[str, int]:  # fmt: skip
        caller = self.caller(user=user or await self.agent())
        async with self.database.transaction(self.tenant) as work:
            return dict(
                await suggestions.judge(
                    work,
                    caller,
                    ticket.number,
                    kind=one.kind,
                    source_id=one.source_id,
                    verdict=verdict,
                    now=NOW,
                )
            )


@pytest.fixture
async def house(database: Database, urls: Urls, tickets: Tickets, make_tenant: MakeTenant) -> House:
    return House(database, urls, tickets, await make_tenant())


ANSWER = "Please unplug the router, wait ten seconds, and plug it in again. Then it connects."


async def test_a_past_reply_is_suggested_with_its_source_and_its_reasons(house: House) -> None:
    past = await house.answered("Router keeps restarting", "It restarts every night.", ANSWER)
    await house.answered("Wrong invoice", "You billed me twice.", "We have sent the money back.")
    assert await house.index() == 2
    ticket = await house.ask("My rooter restarts", "Every night the rooter restarts, help!")
    found = await house.suggested(ticket)
    [one] = found.items
    assert (one.kind, one.number, one.title) == ("reply", past.number, past.subject)
    assert one.text == ANSWER
    assert 0.12 <= one.score <= 1
    assert {"rooter", "restarts"} & set(one.why)
    assert one.snippet


async def test_only_tickets_that_are_over_teach(house: House) -> None:
    await house.answered("Router restarts", "It restarts every night.", ANSWER, over=False)
    await house.ask("Router restarts again", "It restarts every night.")  # nobody answered
    await house.index()
    ticket = await house.ask("Router restarts", "Again it restarts every night.")
    assert (await house.suggested(ticket)).items == []


async def test_notes_and_customers_words_are_never_suggested(house: House) -> None:
    past = await house.answered("Router restarts", "It restarts every night.", ANSWER)
    await house.says(past, "The secret router restarts are solved, thanks to all of you there!")
    await happens(
        house.database, house.tickets, house.tenant, past.number, Changed(status="resolved"),
        by=await house.agent(),
    )  # fmt: skip
    await house.index()
    ticket = await house.ask("Router restarts", "It restarts every night.")
    [one] = (await house.suggested(ticket)).items
    assert one.text == ANSWER


async def test_suggestions_follow_the_conversation(house: House) -> None:
    await house.answered("Router restarts", "It restarts every night.", ANSWER)
    refund = "We have refunded the amount to your credit card; it takes three working days."
    await house.answered("Refund for an invoice", "I want a refund on my card.", refund)
    await house.index()
    ticket = await house.ask("Question", "My router restarts every night.")
    assert [one.text for one in (await house.suggested(ticket)).items] == [ANSWER]
    await house.says(ticket, "That works now. But please refund the invoice to my card.")
    assert refund in [one.text for one in (await house.suggested(ticket)).items]


async def test_an_agent_is_shown_only_what_they_may_see(house: House) -> None:
    async with house.database.transaction(house.tenant) as work:
        ours, theirs = await make_team(work, "Ours"), await make_team(work, "Theirs")
    past = await house.answered("Router restarts", "It restarts every night.", ANSWER)
    async with house.database.transaction(house.tenant) as work:
        await work.execute(
            "update tickets set team_id = :team where tenant_id = :tenant and id = :id",
            {"team": theirs, "tenant": house.tenant, "id": past.id},
        )
    await house.index()
    ticket = await house.ask("Router restarts", "It restarts every night.")
    outside = house.caller(Role.AGENT, teams=frozenset({ours}))
    inside = house.caller(Role.AGENT, teams=frozenset({theirs}))
    assert (await house.suggested(ticket, outside)).items == []
    assert await house.similar(ticket, outside) == []
    assert len((await house.suggested(ticket, inside)).items) == 1
    assert len(await house.similar(ticket, inside)) == 1


async def test_another_tenants_tickets_teach_nobody_here(
    house: House, make_tenant: MakeTenant
) -> None:
    other = House(house.database, house.urls, house.tickets, await make_tenant())
    await other.answered("Router restarts", "It restarts every night.", ANSWER)
    await other.article("Router restarts", "It restarts every night.")
    await other.index()
    ticket = await house.ask("Router restarts", "It restarts every night.")
    assert (await house.suggested(ticket)).items == []
    assert await house.similar(ticket) == []
    with pytest.raises(TicketNotFound):
        await house.suggested(await other.ask("A", "B"))


async def test_articles_are_suggested_once_they_are_published(house: House) -> None:
    draft = await house.article("Router restarts", "Unplug the router.", publish=False)
    ticket = await house.ask("Router restarts", "It restarts every night.")
    assert (await house.suggested(ticket)).items == []
    async with house.database.transaction(house.tenant) as work:
        await knowledge.take_step(work, house.caller(), draft, State.PUBLISHED, now=NOW)
    [one] = (await house.suggested(ticket)).items
    assert (one.kind, one.source_id, one.slug) == ("article", draft, "router-restarts")
    async with house.database.transaction(house.tenant) as work:
        await knowledge.change_article(
            work, house.caller(), draft, {"body": "Nobody has read this yet."}, now=NOW
        )
    [one] = (await house.suggested(ticket)).items
    assert one.text == "Unplug the router."
    async with house.database.transaction(house.tenant) as work:
        await knowledge.take_step(work, house.caller(), draft, State.ARCHIVED, now=NOW)
    assert (await house.suggested(ticket)).items == []


async def test_what_is_in_the_tickets_language_comes_first(house: House) -> None:
    english = await house.article("Router Neustart", "Router Neustart Router Neustart Nacht")
    german = await house.article(
        "Router startet neu", "Ziehen Sie den Stecker und warten Sie.", language="de"
    )
    ticket = await house.ask(
        "Router Neustart", "Mein Router macht jede Nacht einen Neustart und ich kann nicht mehr."
    )
    found = await house.suggested(ticket)
    assert found.language == "de"
    assert [one.source_id for one in found.items] == [german, english]
    assert found.items[0].score < found.items[1].score


async def test_canned_responses_are_filled_in_and_of_ones_own_teams(house: House) -> None:
    async with house.database.transaction(house.tenant) as work:
        ours, theirs = await make_team(work, "Ours"), await make_team(work, "Theirs")
        agent = await make_agent(work, "Grace", teams=(ours,))
        for name, team in (("Router restart", ours), ("Router restart (theirs)", theirs)):
            await canned.create(
                work, house.caller(), name=name, team_id=team, language=None, now=NOW,
                body=f"Hi {{{{customer.first_name|there}}}}, restart the router. {team}"
                " {{agent.name}}",
            )  # fmt: skip
    ticket = await house.ask("Router", "How do I restart the router?")
    caller = house.caller(Role.AGENT, user=agent, teams=frozenset({ours}))
    [one] = (await house.suggested(ticket, caller)).items
    assert one.text == f"Hi Kim, restart the router. {ours} Grace"
    assert one.missing == ()


async def test_verdicts_move_the_ranking_and_are_explained(house: House) -> None:
    first = await house.article("Router restarts at night", "Unplug the router. One.")
    second = await house.article("Router restarts at night", "Unplug the router. Two.")
    ticket = await house.ask("Router restarts at night", "It restarts.")
    before = (await house.suggested(ticket)).items
    assert {one.source_id for one in before} == {first, second}
    loser, winner = before
    for _ in range(3):
        counts = await house.judge(ticket, winner, "accepted")
        await house.judge(ticket, loser, "rejected")
    assert counts == {"accepted": 3}
    after = (await house.suggested(ticket)).items
    assert [one.source_id for one in after] == [winner.source_id, loser.source_id]
    assert after[0].boost > 1 > after[1].boost
    assert after[1].verdicts == {"rejected": 3}


async def test_a_person_has_one_verdict_on_a_source_in_a_ticket(house: House) -> None:
    await house.article("Router restarts", "Unplug the router.")
    ticket = await house.ask("Router restarts", "It restarts.")
    [one] = (await house.suggested(ticket)).items
    agent = await house.agent()
    await house.judge(ticket, one, "accepted", agent)
    assert await house.judge(ticket, one, "rejected", agent) == {"rejected": 1}


async def test_a_verdict_on_what_nobody_was_shown_is_refused(
    house: House, make_tenant: MakeTenant
) -> None:
    other = House(house.database, house.urls, house.tickets, await make_tenant())
    theirs = await other.article("Router restarts", "Unplug the router.")
    draft = await house.article("Router restarts", "Unplug the router.", publish=False)
    ticket = await house.ask("Router restarts", "It restarts.")
    caller = house.caller(user=await house.agent())
    for source in (theirs, draft, uuid.uuid4()):
        for kind in KINDS:
            async with house.database.transaction(house.tenant) as work:
                with pytest.raises(SuggestionNotFound):
                    await suggestions.judge(
                        work, caller, ticket.number, kind=kind, source_id=source,
                        verdict="accepted", now=NOW,
                    )  # fmt: skip


async def test_without_the_permission_for_knowledge_replies_alone_are_suggested(
    house: House,
) -> None:
    await house.article("Router restarts", "Unplug the router.")
    await house.answered("Router restarts", "It restarts every night.", ANSWER)
    await house.index()
    ticket = await house.ask("Router restarts", "It restarts every night.")
    caller = house.caller()
    scoped = Principal(
        tenant_id=house.tenant, tenant_slug="t", kind="user", id=uuid.uuid4(), role=Role.ADMIN,
        grants={p: s for p, s in GRANTS[Role.ADMIN].items() if p.value == "tickets.view"},
    )  # fmt: skip
    assert {one.kind for one in (await house.suggested(ticket, caller)).items} == {
        "article", "reply"
    }  # fmt: skip
    assert {one.kind for one in (await house.suggested(ticket, scoped)).items} == {"reply"}


async def test_the_same_answer_sent_often_is_suggested_once(house: House) -> None:
    for n in range(4):
        await house.answered("Router restarts", f"It restarts, {n}", ANSWER, email=f"{n}@a.org")
    await house.index()
    ticket = await house.ask("Router restarts", "It restarts every night.")
    assert len((await house.suggested(ticket)).items) == 1


# Similar tickets.


async def test_similar_tickets_are_named_with_duplicates_first(house: House) -> None:
    text = "The printer in room twelve prints green stripes on every page since Monday."
    alike = await house.ask("Printer stripes", "Our printer shows stripes.", email="a@x.org")
    copy = await house.ask("Green stripes", text, email="b@x.org")
    again = await house.ask("Printer again", "Green stripes from the printer, again!")
    await house.ask("Holiday request", "May I have Friday off?", email="c@x.org")
    await house.index()
    ticket = await house.ask("Green stripes", text)
    found = {one.ticket["number"]: one for one in await house.similar(ticket)}
    assert set(found) == {alike.number, copy.number, again.number}
    assert (found[copy.number].identical, found[copy.number].same_requester) == (True, False)
    assert (found[again.number].identical, found[again.number].same_requester) == (False, True)
    assert not found[alike.number].duplicate
    assert list(found)[-1] == alike.number
    assert all(one.why for one in found.values())


async def test_a_requesters_second_ticket_is_seen_before_it_has_keys(house: House) -> None:
    first = await house.ask("Printer stripes", "Green stripes from the printer.")
    second = await house.ask("Printer", "There are green stripes from the printer.")
    await house.article("Printer stripes", "green stripes")  # so that the words are known
    assert [one.ticket["number"] for one in await house.similar(second)] == []
    await house.index()
    assert [one.ticket["number"] for one in await house.similar(second)] == [first.number]


async def test_a_merged_ticket_is_not_similar_any_more(house: House) -> None:
    gone = await house.ask("Printer stripes", "Green stripes from the printer.", email="a@x.org")
    ticket = await house.ask("Printer stripes", "Green stripes from the printer.")
    await house.index()
    assert len(await house.similar(ticket)) == 1
    async with house.database.transaction(house.tenant) as work:
        await work.execute(
            "update tickets set category = :c, merged_into = :into, deadline_at = null,"
            " status = 'merged' where tenant_id = :t and id = :id",
            {"c": Category.MERGED.value, "into": ticket.id, "t": house.tenant, "id": gone.id},
        )
    assert await house.similar(ticket) == []


# The keys.


async def test_catching_up_is_repeatable_and_takes_what_came_late(house: House) -> None:
    early = await house.ask("One", "first words")
    late = await house.ask("Two", "second words")
    async with house.database.transaction(house.tenant) as work:  # as if committed before `early`
        await work.execute(
            "insert into ticket_keys (tenant_id, ticket_id, keys) values (:tenant, :id, '{}')",
            {"tenant": house.tenant, "id": late.id},
        )
    newest = await house.ask("Three", "third words")
    assert await house.index() == 2
    assert await house.index() == 0
    async with house.database.transaction(house.tenant) as work:
        rows = await work.rows(
            "select ticket_id from ticket_keys where tenant_id = :tenant and keys <> '{}'",
            {"tenant": house.tenant},
        )
    assert {row["ticket_id"] for row in rows} == {early.id, newest.id}


async def test_odd_texts_are_taken(house: House) -> None:
    texts = ("🙂🙂🙂", "a " * 50_000, "\u202e\u200b", "密码" * 3000, "'; drop table tickets; --")
    made = [await house.ask(f"- {text[:100]}", text) for text in texts]
    assert await house.index() == len(texts)
    for ticket in made:
        await house.suggested(ticket)
        await house.similar(ticket)
