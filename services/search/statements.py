"""What Postgres is asked for words, with the caller's permission in every question."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.permissions import Principal
from models.session import Statement, Work
from services.views import visible, with_requester

_MATCHING = 1000
# Facts the index has not heard yet are searched in Postgres; more than this and it is behind.
WAITING = 500
_HEADLINE = (
    'StartSel="\ue000", StopSel="\ue001", MaxFragments=1, MaxWords=24, MinWords=8,'
    ' FragmentDelimiter=" … "'
)
# As beginnings of words, and as the parser of Postgres reads the text (addresses, versions, ...).
_WANTED = "(to_tsquery('simple', %(prefixes)s) || websearch_to_tsquery('simple', %(text)s))"
_SAID = "to_tsvector('simple', left(m.body_text, 100000))"
_OPEN_TO_CALLER = "(%(internal)s or m.visibility = 'public')"


@dataclass(slots=True)
class Asked:
    """What one search is asked."""

    query: str
    limit: int
    number: int
    internal: bool
    words: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.words = re.findall(r"\w+", self.query)

    @property
    def skip(self) -> int:
        return (self.number - 1) * self.limit


def exact(work: Work, caller: Principal, asked: Asked) -> Statement:
    """Tickets that the text names outright: by their number, by their customer's address."""
    scope, parameters = visible(caller)
    text = asked.query.strip().lower()
    number = re.fullmatch(r"#?([0-9]{1,18})", text)
    if number is None and "@" not in text:
        return ("select null::uuid as id where false", ())
    parameters |= {
        "tenant": work.tenant_id,
        "number": int(number[1]) if number else 0,
        "address": text if "@" in text else "",
        "limit": asked.limit,
    }
    inner = (
        "select t.* from tickets t where t.tenant_id = %(tenant)s and (t.number = %(number)s"
        " or t.requester_id = any(array(select i.customer_id from customer_identities i"
        " where i.tenant_id = %(tenant)s and i.kind = 'email' and i.value = %(address)s)))"
        f" and {scope} order by t.updated_at desc, t.id desc limit %(limit)s"
    )
    return (
        with_requester(inner, order="t.updated_at desc, t.id desc"),
        parameters,
    )


def fresh(work: Work, caller: Principal, asked: Asked) -> Statement:
    """Fitting tickets of which the index has not heard the newest yet."""
    scope, parameters = visible(caller)
    inner = (
        "select t.* from tickets t where t.tenant_id = %(tenant)s and t.id in"
        " (select o.ticket_id from outbox o where o.tenant_id = %(tenant)s"
        f" and o.destination = 'index' order by o.id desc limit {WAITING})"
        f" and {scope} and (to_tsvector('simple', t.subject) @@ {_WANTED}"
        " or exists (select from messages m where m.tenant_id = t.tenant_id"
        f" and m.ticket_id = t.id and {_OPEN_TO_CALLER} and {_SAID} @@ {_WANTED}))"
        " order by t.updated_at desc, t.id desc limit %(limit)s"
    )
    return (
        _with_snippets(inner, order="f.updated_at desc, f.id desc"),
        _parameters(work, asked, parameters),
    )


def matching(work: Work, caller: Principal, asked: Asked) -> Statement:
    """A page, and one ticket more, of what Postgres finds itself."""
    if not asked.words:
        return ("select null::uuid as id, 0 as total where false", ())
    scope, parameters = visible(caller)
    inner = (
        "select t.*, count(*) over () as total from tickets t"
        f" join holdfast_matching({_WANTED}, %(internal)s, {_MATCHING}) as fits on fits = t.id"
        f" where t.tenant_id = %(tenant)s and {scope}"
        " order by t.updated_at desc, t.id desc limit %(limit)s + 1 offset %(skip)s"
    )
    return (
        _with_snippets(inner, order="f.updated_at desc, f.id desc"),
        _parameters(work, asked, parameters),
    )


def _with_snippets(inner: str, *, order: str) -> str:
    """The rows of `inner` with the subject and the newest fitting message, words marked."""
    return (
        f"select f.*, ts_headline('simple', f.subject, {_WANTED}, %(headline)s) as in_subject,"
        f" (select ts_headline('simple', left(m.body_text, 20000), {_WANTED}, %(headline)s)"
        " from messages m where m.tenant_id = f.tenant_id and m.ticket_id = f.id"
        f" and {_OPEN_TO_CALLER} and {_SAID} @@ {_WANTED}"
        " order by m.created_at desc, m.id desc limit 1) as in_message"
        f" from ({with_requester(inner)}) f order by {order}"
    )


def _parameters(work: Work, asked: Asked, scope: Mapping[str, object]) -> dict[str, object]:
    return {
        **scope,
        "tenant": work.tenant_id,
        "text": asked.query,
        "prefixes": " & ".join(f"{word}:*" for word in asked.words),
        "internal": asked.internal,
        "limit": asked.limit,
        "skip": asked.skip,
        "headline": _HEADLINE,
    }
