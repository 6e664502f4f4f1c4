"""What might answer a ticket, and what is like it: found by words, scored, shown with the reasons.

Nothing here is ever sent by itself. Everything is of the caller's tenant and within what they may
see: articles that are published, canned responses of their teams, replies in tickets of theirs.
"""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from domain import lexical, placeholders
from domain.desk import Desk
from domain.errors import NotFound, TicketNotFound
from domain.languages import language_of
from domain.lexical import Scorer, Spread
from domain.permissions import Permission, Principal
from domain.triage import own_words, words_of
from models.base import new_id
from models.session import Row, Statement, Work
from services import lexical as keys
from services.views import visible

Kind = Literal["article", "canned", "reply"]
Verdict = Literal["accepted", "edited", "rejected"]

LEAST_SCORE = 0.12
"""Below this, what two texts share is chance."""

_MOST_READ = {"article": 30, "canned": 30, "reply": 30}  # candidates whose texts are looked at
_MOST_TEXT = 6_000
_TELLING = 600  # characters that show the language of a reply
_LATEST = 3  # of the customer's messages that say what is wanted now
_ANSWERING = 60  # characters from which a reply is more than "you are welcome"

_MOST_SIMILAR = 60
_OF_REQUESTER = 20
_SAME_WITHIN = timedelta(days=7)
_SAME_SCORE = 0.2  # of the same requester: asked again
_COPIED = 0.8


class SuggestionNotFound(NotFound):
    code = "suggestion_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such suggestion.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Something that may answer the ticket.

    `score` is 0 to 1, what verdicts made of it included: `boost` is that part, a factor.
    """

    kind: Kind
    source_id: uuid.UUID
    title: str
    text: str
    snippet: str = ""
    language: str | None
    same_language: bool
    score: float
    why: tuple[str, ...]
    boost: float
    verdicts: Mapping[str, int]
    number: int | None = None
    slug: str | None = None
    audience: str | None = None
    missing: tuple[str, ...] = ()
    written_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggested:
    """The best of each kind, what is in the ticket's language first."""

    language: str | None
    items: list[Suggestion]


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """Another ticket that says much the same."""

    ticket: Row
    score: float
    why: tuple[str, ...]
    same_requester: bool
    identical: bool

    @property
    def duplicate(self) -> bool:
        """Whether it is likely the same matter, told twice."""
        return self.identical or self.same_requester


@dataclass(frozen=True, slots=True)
class Asking:
    """A ticket as a question."""

    id: uuid.UUID
    number: int
    subject: str
    language: str | None
    requester_id: uuid.UUID
    created_at: datetime
    first_words: str
    latest: tuple[str, ...]
    names: Mapping[str, str | None]


async def suggestions(
    work: Work, caller: Principal, number: int, *, desk: Desk, limit: int = 5
) -> Suggested:
    """At most `limit` of each kind for a ticket as its conversation stands. Raises TicketNotFound.

    Five round trips, whatever the size of the desk.
    """
    asking = await asking_of(work, caller, number)
    query = lexical.asked(
        work.tenant_id, words_of(asking.subject, ""), *(own_words(text) for text in asking.latest)
    )
    knows = caller.scope(Permission.KNOWLEDGE_VIEW) is not None
    spreads = await keys.spreads(work, query, "tickets", "articles", "canned")
    replies, articles, canned = await work.batch(
        _replies(work, caller, asking, spreads["tickets"]),
        _articles(work, spreads["articles"], allowed=knows),
        _canned(work, caller, spreads["canned"], allowed=knows),
    )
    agent = desk.agents.get(caller.id) if caller.id else None
    names = {**asking.names, "agent.name": agent.name if agent else None}
    for row in canned:
        row["text"], row["missing"] = placeholders.rendered(row["text"], names)
    groups: dict[Kind, tuple[Scorer, list[Row]]] = {
        "reply": (spreads["tickets"].scorer(), replies),
        "article": (spreads["articles"].scorer(), articles),
        "canned": (spreads["canned"].scorer(), canned),
    }
    counts = await _verdicts(work, {kind: rows for kind, (_, rows) in groups.items()})

    def best() -> list[Suggestion]:
        items: list[Suggestion] = []
        for kind, (scorer, rows) in groups.items():
            of_kind = [_suggestion(kind, row, scorer, asking, counts) for row in rows]
            kept = [one for one in of_kind if one.score >= LEAST_SCORE]
            items += sorted(_distinct(kept), key=_rank)[:limit]
        shown = [replace(one, snippet=lexical.snippet(one.text, one.why)) for one in items]
        return sorted(shown, key=_rank)

    # Some fifty milliseconds for long texts: other requests go on meanwhile.
    return Suggested(language=asking.language, items=await asyncio.to_thread(best))


async def similar(work: Work, caller: Principal, number: int, *, limit: int = 10) -> list[Similar]:
    """Tickets that say what this one says, likely duplicates first. Raises TicketNotFound.

    Also looks at the requester's newest tickets, which may be too new to be found by words.
    """
    asking = await asking_of(work, caller, number)
    said = keys.question(asking.subject, asking.first_words)
    query = lexical.asked(work.tenant_id, said)
    spread = (await keys.spreads(work, query, "tickets"))["tickets"]
    found, theirs = await work.batch(
        _alike(work, caller, asking, spread), _of_requester(work, caller, asking)
    )
    scorer = spread.scorer()
    rows = {row["id"]: row for row in [*found, *theirs]}
    items = await asyncio.to_thread(
        lambda: [_similar(row, scorer, asking, said) for row in rows.values()]
    )
    kept = [one for one in items if one.score >= LEAST_SCORE or one.identical]
    kept.sort(key=lambda one: (not one.duplicate, -one.score, -one.ticket["number"]))
    return kept[:limit]


async def judge(
    work: Work,
    caller: Principal,
    number: int,
    *,
    kind: Kind,
    source_id: uuid.UUID,
    verdict: Verdict,
    now: datetime,
) -> Mapping[str, int]:
    """Records what the caller did with a suggestion; all verdicts on its source so far.

    One per person, ticket and source: the last counts. Raises TicketNotFound, SuggestionNotFound.
    """
    scope, parameters = visible(caller)
    knows = caller.scope(Permission.KNOWLEDGE_VIEW) is not None
    common = {**parameters, "tenant": work.tenant_id, "source": source_id}
    tickets, known = await work.batch(
        (
            "select t.id from tickets t where t.tenant_id = %(tenant)s and t.number = %(number)s"
            f" and {scope}",
            {**common, "number": number},
        ),
        _known(kind, scope, caller, common, knows=knows),
    )
    if not tickets:
        raise TicketNotFound
    if not known:
        raise SuggestionNotFound
    await work.batch(
        (
            "insert into suggestion_verdicts"
            " (tenant_id, id, ticket_id, user_id, kind, source_id, verdict, created_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s)"
            " on conflict (tenant_id, ticket_id, user_id, kind, source_id)"
            " do update set verdict = excluded.verdict, created_at = excluded.created_at",
            (
                work.tenant_id, new_id(), tickets[0]["id"], caller.id, kind, source_id, verdict,
                now,
            ),
        )
    )  # fmt: skip
    return (await _verdicts(work, {kind: [{"id": source_id}]})).get((kind, source_id), {})


# One ticket, as a question.


async def asking_of(work: Work, caller: Principal, number: int) -> Asking:
    """The ticket as a question, in the customer's latest words. Raises TicketNotFound."""
    scope, parameters = visible(caller)
    parameters |= {"tenant": work.tenant_id, "number": number, "latest": _LATEST}
    mine = f"t.tenant_id = %(tenant)s and t.number = %(number)s and {scope}"
    said = (
        "select m.body_text, m.author_kind from messages m"
        " where m.tenant_id = %(tenant)s and m.visibility = 'public'"
        f" and m.ticket_id = (select t.id from tickets t where {mine})"
    )
    tickets, first, latest = await work.batch(
        (
            "select t.id, t.number, t.subject, t.language, t.requester_id, t.created_at, c.name,"
            " (select i.value from customer_identities i where i.tenant_id = t.tenant_id"
            " and i.customer_id = t.requester_id and i.kind = 'email'"
            " order by i.created_at, i.id limit 1) as email"
            " from tickets t join customers c on c.tenant_id = t.tenant_id"
            f" and c.id = t.requester_id where {mine}",
            parameters,
        ),
        (f"{said} order by m.created_at, m.id limit 1", parameters),
        (
            f"{said} and m.author_kind = 'customer'"
            " order by m.created_at desc, m.id desc limit %(latest)s",
            parameters,
        ),
    )
    if not tickets:
        raise TicketNotFound
    row = tickets[0]
    first_words = first[0]["body_text"] if first else ""
    words = tuple(one["body_text"] for one in latest) or (first_words,)
    return Asking(
        id=row["id"],
        number=row["number"],
        subject=row["subject"],
        language=row["language"] or _guessed(row["subject"], *words),
        requester_id=row["requester_id"],
        created_at=row["created_at"],
        first_words=first_words,
        latest=words,
        names={
            "customer.name": row["name"],
            "customer.first_name": placeholders.first_name(row["name"]),
            "customer.email": row["email"],
            "ticket.number": str(row["number"]),
            "ticket.subject": row["subject"],
        },
    )


def _guessed(*texts: str) -> str | None:
    guess = language_of(lexical.together(own_words(text) for text in texts))
    return None if guess.abstained else guess.label


async def names_for(
    work: Work, caller: Principal, number: int, *, desk: Desk
) -> Mapping[str, str | None]:
    """What placeholders stand for in a ticket, said by the caller. Raises TicketNotFound."""
    asking = await asking_of(work, caller, number)
    agent = desk.agents.get(caller.id) if caller.id else None
    return {**asking.names, "agent.name": agent.name if agent else None}


# Candidates: each is bounded before its text is read.

# The newest reply that says something; where none does, the longest.
_BEST_REPLY = (
    f"select m.id, left(m.body_text, {_MOST_TEXT}) as body_text, m.created_at from messages m"
    " where m.tenant_id = t.tenant_id and m.ticket_id = t.id and m.visibility = 'public'"
    f" and m.author_kind = 'user' order by (length(m.body_text) >= {_ANSWERING}) desc,"
    f" case when length(m.body_text) >= {_ANSWERING} then m.created_at end desc nulls last,"
    " length(m.body_text) desc, m.id limit 1"
)
_FIRST_WORDS = (
    f"(select left(m.body_text, {_MOST_TEXT}) from messages m where m.tenant_id = t.tenant_id"
    " and m.ticket_id = t.id and m.visibility = 'public'"
    " order by m.created_at, m.id limit 1) as first_words"
)


def _replies(work: Work, caller: Principal, asking: Asking, spread: Spread) -> Statement:
    scope, parameters = visible(caller)
    source, probes = keys.found("tickets", spread)
    chosen = (
        "select t.tenant_id, t.id, t.number, t.subject, t.language, f.score"
        f" from {source} f join tickets t on t.id = f.id"
        " where t.tenant_id = %(tenant)s and t.id <> %(own)s and t.agent_at is not null"
        f" and t.category in ('resolved', 'closed') and {scope}"
        f" order by f.score desc, t.id desc limit {_MOST_READ['reply']}"
    )
    return (
        "select r.id, t.number, t.subject as title, t.language, r.body_text as text,"
        f" r.created_at, {_FIRST_WORDS} from ({chosen}) t cross join lateral ({_BEST_REPLY}) r"
        " order by t.score desc, t.id desc",
        {**parameters, **probes, "tenant": work.tenant_id, "own": asking.id},
    )


def _articles(work: Work, spread: Spread, *, allowed: bool) -> Statement:
    source, probes = keys.found("articles", spread)
    return (
        "select a.id, a.slug, a.audience, a.language, v.title,"
        f" left(v.body_text, {_MOST_TEXT}) as text, array_to_string(v.keywords, ' ') as keywords,"
        f" a.published_at as created_at from {source} f join articles a on a.id = f.id"
        " join article_versions v on v.tenant_id = a.tenant_id and v.article_id = a.id"
        " and v.version = a.published_version where a.tenant_id = %(tenant)s and %(allowed)s"
        f" order by f.score desc, a.id desc limit {_MOST_READ['article']}",
        {**probes, "tenant": work.tenant_id, "allowed": allowed},
    )


def _canned(work: Work, caller: Principal, spread: Spread, *, allowed: bool) -> Statement:
    source, probes = keys.found("canned", spread)
    return (
        "select c.id, c.name as title, c.body as text, c.language, c.updated_at as created_at"
        f" from {source} f join canned_responses c on c.id = f.id"
        " where c.tenant_id = %(tenant)s and c.active and %(allowed)s"
        " and (c.team_id is null or c.team_id = any(%(teams)s))"
        f" order by f.score desc, c.id desc limit {_MOST_READ['canned']}",
        {
            **probes,
            "tenant": work.tenant_id,
            "allowed": allowed,
            "teams": sorted(caller.team_ids),
        },
    )


_SHOWN = (
    "t.id, t.number, t.subject, t.status, t.category, t.created_at, t.requester_id,"
    " exists (select from relations r where r.tenant_id = t.tenant_id and"
    " ((r.source_id = t.id and r.target_id = %(own)s)"
    " or (r.source_id = %(own)s and r.target_id = t.id))) as linked"
)


def _alike(work: Work, caller: Principal, asking: Asking, spread: Spread) -> Statement:
    scope, parameters = visible(caller)
    source, probes = keys.found("tickets", spread)
    chosen = (
        f"select t.tenant_id, {_SHOWN} from {source} f join tickets t on t.id = f.id"
        " where t.tenant_id = %(tenant)s and t.id <> %(own)s and t.category <> 'merged'"
        f" and {scope} order by f.score desc, t.id desc limit {_MOST_SIMILAR}"
    )
    return (
        f"select t.*, {_FIRST_WORDS} from ({chosen}) t",
        {**parameters, **probes, "tenant": work.tenant_id, "own": asking.id},
    )


def _of_requester(work: Work, caller: Principal, asking: Asking) -> Statement:
    scope, parameters = visible(caller)
    chosen = (
        f"select t.tenant_id, {_SHOWN} from tickets t where t.tenant_id = %(tenant)s"
        " and t.requester_id = %(requester)s and t.id <> %(own)s and t.category <> 'merged'"
        f" and {scope} order by t.created_at desc limit {_OF_REQUESTER}"
    )
    return (
        f"select t.*, {_FIRST_WORDS} from ({chosen}) t",
        {
            **parameters,
            "tenant": work.tenant_id,
            "own": asking.id,
            "requester": asking.requester_id,
        },
    )


# Scores.


def _suggestion(
    kind: Kind,
    row: Row,
    scorer: Scorer,
    asking: Asking,
    counts: Mapping[tuple[str, uuid.UUID], Mapping[str, int]],
) -> Suggestion:
    asked_then = own_words(row.get("first_words") or "")
    # A past reply is found by what was asked then; what was answered counts beside it.
    text = lexical.together((asked_then, row["text"], row.get("keywords") or ""))
    score = scorer.score(row["title"], text)
    verdicts = counts.get((kind, row["id"]), {})
    factor = lexical.boost(verdicts)
    language = row["language"] or (_guessed(row["text"][:_TELLING]) if kind == "reply" else None)
    return Suggestion(
        kind=kind,
        source_id=row["id"],
        title=row["title"],
        text=row["text"],
        language=language,
        same_language=lexical.in_language(asking.language, language),
        score=round(min(1.0, score.value * factor), 4),
        why=score.why,
        boost=factor,
        verdicts=verdicts,
        number=row.get("number"),
        slug=row.get("slug"),
        audience=row.get("audience"),
        missing=tuple(row.get("missing") or ()),
        written_at=row["created_at"],
    )


def _rank(one: Suggestion) -> tuple[bool, float, str]:
    return (not one.same_language, -one.score, str(one.source_id))


def _distinct(items: Sequence[Suggestion]) -> list[Suggestion]:
    """Of texts that are copies of each other, the best: the same answer is sent many times."""
    kept: dict[str, Suggestion] = {}
    for one in sorted(items, key=_rank):
        kept.setdefault(" ".join(lexical.words_in(one.text[:500])), one)
    return list(kept.values())


def _similar(row: Row, scorer: Scorer, asking: Asking, said: str) -> Similar:
    theirs = keys.question(row["subject"], row["first_words"])
    score = scorer.score(row["subject"], theirs)
    near = abs(row["created_at"] - asking.created_at) <= _SAME_WITHIN
    return Similar(
        ticket=row,
        score=score.value,
        why=score.why,
        same_requester=row["requester_id"] == asking.requester_id
        and near
        and score.value >= _SAME_SCORE,
        identical=lexical.resemblance(said, theirs) >= _COPIED,
    )


# Verdicts.


def _known(
    kind: Kind, scope: str, caller: Principal, common: Mapping[str, object], *, knows: bool
) -> Statement:
    """Whether the caller could have been shown that source."""
    values = {**common, "knows": knows, "teams": sorted(caller.team_ids)}
    match kind:
        case "article":
            sql = (
                "select 1 as one from articles where tenant_id = %(tenant)s and id = %(source)s"
                " and published_version is not null and %(knows)s"
            )
        case "canned":
            sql = (
                "select 1 as one from canned_responses where tenant_id = %(tenant)s"
                " and id = %(source)s and %(knows)s"
                " and (team_id is null or team_id = any(%(teams)s))"
            )
        case "reply":
            sql = (
                "select 1 as one from messages m join tickets t on t.tenant_id = m.tenant_id"
                " and t.id = m.ticket_id where m.tenant_id = %(tenant)s and m.id = %(source)s"
                f" and m.visibility = 'public' and m.author_kind = 'user' and {scope}"
            )
    return (sql, values)


async def _verdicts(
    work: Work, rows: Mapping[Kind, Sequence[Mapping[str, object]]]
) -> dict[tuple[str, uuid.UUID], dict[str, int]]:
    [found] = await work.batch(
        (
            "select kind, source_id, verdict, count(*) as n from suggestion_verdicts"
            " where tenant_id = %s and source_id = any(%s) group by kind, source_id, verdict",
            (work.tenant_id, [row["id"] for of_kind in rows.values() for row in of_kind]),
        )
    )
    counts: dict[tuple[str, uuid.UUID], dict[str, int]] = {}
    for row in found:
        counts.setdefault((row["kind"], row["source_id"]), {})[row["verdict"]] = row["n"]
    return counts


__all__ = [
    "LEAST_SCORE",
    "Asking",
    "Kind",
    "Similar",
    "Suggested",
    "Suggestion",
    "SuggestionNotFound",
    "Verdict",
    "asking_of",
    "judge",
    "names_for",
    "similar",
    "suggestions",
]
