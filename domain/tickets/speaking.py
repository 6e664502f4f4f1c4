"""What customers and agents write to each other, and what it does to the ticket."""

from domain.errors import StaleReply
from domain.states import ActorKind, Category, Visibility
from domain.thanks import nothing_but_thanks
from domain.tickets.draft import Draft
from domain.tickets.events import AgentReplied, CustomerReplied, NewMessage
from domain.tickets.handing import pass_on
from domain.tickets.state import Actor
from domain.tickets.statuses import enter_category, go
from domain.tickets.triaging import unread

# What reopens when the customer writes again; a new ticket stays new until somebody works on it.
REOPENED_BY_CUSTOMER = frozenset({Category.PENDING, Category.ON_HOLD, Category.RESOLVED})


def customer_replied(draft: Draft, reply: CustomerReplied) -> None:
    """It reopens what waited for it, unless a machine wrote it or it says nothing but thanks."""
    was = draft.category
    draft.say(
        reply.message,
        visibility=Visibility.PUBLIC,
        channel=reply.channel,
        author=Actor(ActorKind.CUSTOMER, reply.customer_id),
        as_customer=False if reply.automatic else None,
    )
    if reply.automatic:  # neither starts, satisfies nor resumes anything
        draft.record(
            "customer_replied",
            data={"message_id": reply.message.id, "channel": reply.channel, "automatic": True},
        )
        draft.observe(customer_message=True, automatic=True)
        return
    unread(draft)
    if was is Category.RESOLVED and _only_thanks(draft, reply.message):
        draft.set("waiting_since", draft.was.waiting_since)  # nobody waits for an answer to thanks
        draft.set("unanswered", draft.was.unanswered)
        if draft.assignee_id is not None:
            draft.tell([draft.assignee_id], "customer_replied", {"thanks": True})
        draft.record(
            "customer_replied",
            data={
                "message_id": reply.message.id,
                "channel": reply.channel,
                "thanks": "It says nothing but thanks, so the ticket stays resolved.",
            },
        )
        draft.observe(customer_message=True)
        return
    if was in REOPENED_BY_CUSTOMER or was is Category.CLOSED:
        enter_category(draft, Category.OPEN)
    if draft.get("snoozed") in ("reply", "either"):
        draft.wake()
    if draft.assignee_id is not None:
        draft.tell([draft.assignee_id], "customer_replied")
    draft.record(
        "customer_replied", data={"message_id": reply.message.id, "channel": reply.channel}
    )
    draft.observe(customer_message=True)
    pass_on(draft)


def _only_thanks(draft: Draft, message: NewMessage) -> bool:
    """Whether a message closes a conversation, on a desk that wants to hear the difference."""
    if not draft.desk.settings.thanks_keep_resolved or message.attachments:
        return False
    names = (agent.name for agent in draft.desk.agents.values())
    return nothing_but_thanks(message.text, names=names)


def agent_replied(draft: Draft, reply: AgentReplied) -> None:
    """An answer that is mailed. Raises StaleReply where the customer has written meanwhile."""
    ticket = draft.was
    if reply.seen is not None and ticket.message_seq > reply.seen:
        raise StaleReply(
            f"Ticket {ticket.number} has a newer message than you have read."
            " Read it, then send again.",
            fields={"/seen": f"the last public message came with event {ticket.message_seq}"},
        )
    draft.say(
        reply.message,
        visibility=Visibility.PUBLIC,
        channel=reply.channel,
        author=draft.event.actor,
        as_customer=True if reply.as_requester else None,
    )
    if reply.as_requester:
        _requester_wrote(draft, reply)
        return
    if reply.status is not None:
        go(draft, reply.status, actor=draft.event.actor)
        draft.decided("status")
    elif draft.category is Category.NEW:
        enter_category(draft, Category.OPEN)
    draft.mails.append(reply.message.id)
    draft.record("agent_replied", data={"message_id": reply.message.id, "channel": reply.channel})
    draft.observe(agent_reply=draft.event.actor.kind is ActorKind.USER)


def _requester_wrote(draft: Draft, reply: AgentReplied) -> None:
    """An agent who is the requester is a customer on the ticket: a question, no answer."""
    unread(draft)
    if reply.status is not None:
        go(draft, reply.status, actor=draft.event.actor)
        draft.decided("status")
    elif draft.category in REOPENED_BY_CUSTOMER:
        enter_category(draft, Category.OPEN)
    draft.record(
        "agent_replied",
        data={"message_id": reply.message.id, "channel": reply.channel, "as_requester": True},
    )
    draft.observe(customer_message=True)
