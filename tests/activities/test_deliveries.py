"""A mail goes out once; where that cannot be known, a person is told."""

import uuid
from dataclasses import dataclass, field

import pytest
from temporalio.exceptions import ApplicationError

from activities.deliveries import DeliveryActivities
from domain.lifecycle import Effect, EffectInput, TicketRef
from domain.mail import MailRefused, MailUnreachable, OutgoingMail
from domain.tickets import AgentReplied
from models.session import Database
from services.desks import Desks
from services.tickets import Tickets
from tests.making import happens, make_agent, make_ticket, words

pytestmark = pytest.mark.slow  # mail servers that hang


@dataclass
class Mailbox:
    """Takes mail, or fails as told."""

    taken: list[OutgoingMail] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    async def send(self, mail: OutgoingMail) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.taken.append(mail)


@dataclass
class Case:
    """A reply whose mail is queued."""

    database: Database
    tenant: uuid.UUID
    asked: EffectInput
    mailbox: Mailbox

    async def attempt(self) -> str:
        return (await DeliveryActivities(self.database, self.mailbox).deliver(self.asked)).state

    async def row(self) -> dict[str, object]:
        async with self.database.transaction(self.tenant) as work:
            [row] = await work.rows(
                "select state, attempts, error, key, sent_at from deliveries where id = :i",
                {"i": uuid.UUID(self.asked.effect.id)},
            )
        return row


@pytest.fixture
async def case(database: Database, tenant: uuid.UUID) -> Case:
    tickets = Tickets(Desks())
    async with database.transaction(tenant) as work:
        agent = await make_agent(work)
    ticket = await make_ticket(database, tickets, tenant, subject="Broken lamp")
    await happens(
        database, tickets, tenant, ticket.number, AgentReplied(words("We send another.")), by=agent
    )
    async with database.transaction(tenant) as work:
        [row] = await work.rows("select id from deliveries where tenant_id = :t", {"t": tenant})
    ref = TicketRef(tenant_id=tenant, slug="t", number=ticket.number)
    asked = EffectInput(ticket=ref, effect=Effect(kind="mail", id=str(row["id"])), run_id="r")
    return Case(database, tenant, asked, Mailbox())


async def test_a_mail_goes_out_once_however_often_it_is_asked_for(case: Case) -> None:
    assert [await case.attempt() for _ in range(3)] == ["sent"] * 3
    [mail] = case.mailbox.taken
    row = await case.row()
    assert (row["state"], row["attempts"], row["key"]) == ("sent", 1, mail.message_id)
    assert row["sent_at"] is not None
    assert mail.subject.endswith("Broken lamp")
    assert mail.text == "We send another."


async def test_a_server_that_does_not_answer_is_tried_again_under_the_same_message_id(
    case: Case,
) -> None:
    case.mailbox.errors = [MailUnreachable("451 later")]
    with pytest.raises(ApplicationError):
        await case.attempt()
    row = await case.row()
    assert (row["state"], row["error"]) == ("queued", "451 later")
    assert await case.attempt() == "sent"
    assert (await case.row())["attempts"] == 2
    assert case.mailbox.taken[0].message_id == row["key"]


async def test_what_the_server_refuses_for_good_failed(case: Case) -> None:
    case.mailbox.errors = [MailRefused("550 no such user")]
    assert await case.attempt() == "failed"
    assert (await case.row())["error"] == "550 no such user"
    assert await case.attempt() == "failed"
    assert case.mailbox.taken == []


async def test_broken_off_while_sending_it_is_unknown_and_never_sent_again(case: Case) -> None:
    case.mailbox.errors = [ConnectionResetError()]
    assert await case.attempt() == "unknown"
    assert await case.attempt() == "unknown"
    assert case.mailbox.taken == []


async def test_a_worker_killed_between_sending_and_recording_leaves_it_unknown(case: Case) -> None:
    class Killed(BaseException):
        pass

    class Dies(Mailbox):
        async def send(self, mail: OutgoingMail) -> None:
            await super().send(mail)
            raise Killed

    case.mailbox = Dies()
    with pytest.raises(Killed):
        await case.attempt()
    assert (await case.row())["state"] == "sending"
    case.mailbox = Mailbox()
    assert await case.attempt() == "unknown"
    assert case.mailbox.taken == []
    assert "broke off" in str((await case.row())["error"])


async def test_a_delivery_that_is_gone_is_no_error(case: Case) -> None:
    gone = case.asked.model_copy(update={"effect": Effect(kind="mail", id=str(uuid.uuid4()))})
    case.asked = gone
    assert await case.attempt() == "gone"
