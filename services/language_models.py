"""A desk's language model: how it is reached, what it may cost, and one question to it.

A question is three steps, so that no transaction waits for another system: what is asked and the
most it can cost is written down; the model is asked; what came of it is written down. Where the
second step never ends, the first has counted.
"""

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

from psycopg.types.json import Jsonb

from adapters.language_model import Completion, Endpoint, LanguageModels, ModelAway
from domain import drafting
from domain.drafting import Limits, NoLanguageModel, Used
from domain.errors import Invalid
from domain.redaction import Redactor, Unusable
from models.session import Database, Row, Work
from services.sealing import Seal, Unsealable
from services.webhooks import checked_url

Kind = Literal["reply", "summary"]

_DAY: Final = timedelta(days=1)
_SETTINGS = (
    "enabled, base_url, model, sealed_key, timeout_seconds, daily_tokens, monthly_tokens,"
    " daily_cost, monthly_cost, input_price, output_price, updated_at"
)


# Of a desk that has said nothing.
_NOTHING: Final[Mapping[str, object]] = {
    "enabled": False, "base_url": None, "model": None, "sealed_key": None, "timeout_seconds": 20,
    "daily_tokens": 0, "monthly_tokens": 0, "daily_cost": None, "monthly_cost": None,
    "input_price": 0.0, "output_price": 0.0, "updated_at": None,
}  # fmt: skip


class Asking(Protocol):
    """Whoever asks a language model; `adapters.language_model.LanguageModels`."""

    async def complete(
        self,
        endpoint: Endpoint,
        messages: Sequence[Mapping[str, str]],
        *,
        most_tokens: int,
        seconds: float,
    ) -> Completion: ...


# How it is reached.


def models(*, allow_private: bool) -> Asking:
    """Whoever asks; `allow_private`: also on this machine and private networks."""
    return LanguageModels(allow_private=allow_private)


async def settings_of(work: Work, *, now: datetime) -> Row:
    """What the desk has said, without its key, with what was used so far."""
    row = await _settings(work) or dict(_NOTHING)
    today, month = await _used(work, now)
    has_key = row.pop("sealed_key") is not None
    return {
        **row,
        "has_key": has_key,
        "used_today": {"tokens": today.tokens, "cost": today.cost},
        "used_this_month": {"tokens": month.tokens, "cost": month.cost},
    }


async def put(
    work: Work,
    given: Mapping[str, object],
    *,
    key: str | None,
    seal: Seal,
    allow_private: bool,
    now: datetime,
) -> tuple[Row, list[str]]:
    """The settings as they are from now on, and what changed by name. Raises Invalid.

    A key that is left out stays, unless the address leads to another server: nobody who may
    change the address gets to see a key that somebody else has put in.
    """
    await _alone(work)
    before = await _settings(work)
    try:
        url = checked_url(str(given["base_url"]), allow_private=allow_private).rstrip("/")
    except Invalid as refusal:
        raise Invalid(
            "That is no address of a language model.",
            fields={"/base_url": next(iter(refusal.fields.values()))},
        ) from refusal
    if urlsplit(url).query:
        raise Invalid(
            "That is no address of a language model.", fields={"/base_url": "holds a query"}
        )
    sealed = before["sealed_key"] if before else None
    if key is not None:
        sealed = seal.sealed(key, place=_place(work.tenant_id)) if key else None
    elif sealed is not None and before is not None and _origin(before["base_url"]) != _origin(url):
        raise Invalid(
            "The key was given for another server. Give one for this, or an empty one.",
            fields={"/key": "is needed, the address leads elsewhere"},
        )
    values = {**given, "base_url": url, "sealed_key": sealed, "updated_at": now}
    names = [*values]
    await work.batch(
        (
            f"insert into language_models (tenant_id, {', '.join(names)})"
            f" values ({', '.join(['%s'] * (len(names) + 1))}) on conflict (tenant_id) do update"
            f" set {', '.join(f'{name} = excluded.{name}' for name in names)}",
            [work.tenant_id, *values.values()],
        )
    )
    changed = [
        "key" if name == "sealed_key" else name
        for name in names
        if name != "updated_at" and (before is None or before[name] != values[name])
    ]
    return await settings_of(work, now=now), changed


async def remove(work: Work) -> bool:
    """Forgets the language model and its key; whether there was one. Past drafts stay."""
    gone = await work.row(
        "delete from language_models where tenant_id = :tenant returning tenant_id",
        {"tenant": work.tenant_id},
    )
    return gone is not None


# One question.


@dataclass(frozen=True, slots=True)
class Question:
    """What is about to be asked, redacted, with what it takes to read the answer."""

    id: uuid.UUID
    row: Row  # as it was written down
    endpoint: Endpoint | None = None  # None: its key cannot be read
    messages: tuple[Mapping[str, str], ...] = ()  # none: there is nothing to ask
    redactor: Redactor | None = None
    limits: Limits | None = None
    seconds: float = 1.0
    most_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """What may be shown of an answer: its text, the marks it rests on, its parts if it has any."""

    text: str
    cited: frozenset[str]
    parts: Mapping[str, object] | None = None


async def enabled(work: Work) -> Row:
    """The settings of a desk that has a language model. Raises NoLanguageModel."""
    settings = await _settings(work)
    if settings is None or not settings["enabled"]:
        raise NoLanguageModel
    return settings


async def asked_before(work: Work, question_id: uuid.UUID) -> Row | None:
    """What a question of that id has come to already."""
    [rows] = await work.batch(
        ("select * from drafts where tenant_id = %s and id = %s", (work.tenant_id, question_id))
    )
    return rows[0] if rows else None


async def reserve(
    work: Work,
    question_id: uuid.UUID,
    settings: Row,
    *,
    kind: Kind,
    ticket_id: uuid.UUID,
    user_id: uuid.UUID | None,
    messages: Sequence[Mapping[str, str]],
    sources: Sequence[Mapping[str, object]],
    prompt_version: str,
    most_tokens: int,
    redactor: Redactor,
    seal: Seal,
    now: datetime,
) -> Question:
    """Writes down what is asked and the most it can take; without `messages`, that nothing is.

    Raises BudgetSpent.
    """
    limits = _limits(settings)
    await _alone(work)
    known = await asked_before(work, question_id)
    if known is not None:
        return Question(question_id, known)
    reserved = (drafting.tokens_of(messages), most_tokens) if messages else (0, 0)
    if messages:
        asks = Used(sum(reserved), limits.cost(*reserved))
        today, month = await _used(work, now)
        drafting.refuse_over(limits, today=today, month=month, asks=asks)
    [[row]] = await work.batch(
        (
            "insert into drafts (tenant_id, id, kind, ticket_id, user_id, state, detail, sources,"
            " model, prompt_version, input_tokens, output_tokens, cost, redacted, created_at,"
            " finished_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " returning *",
            (
                work.tenant_id, question_id, kind, ticket_id, user_id,
                "asked" if messages else "refused",
                None if messages else "Nothing was found that could answer this.",
                Jsonb([dict(one) for one in sources]), settings["model"], prompt_version,
                *reserved, limits.cost(*reserved), redactor.count, now,
                None if messages else now,
            ),
        )
    )  # fmt: skip
    if not messages:
        return Question(question_id, row)
    return Question(
        question_id,
        row,
        endpoint=_endpoint(work.tenant_id, settings, seal),
        messages=tuple(messages),
        redactor=redactor,
        limits=limits,
        seconds=float(settings["timeout_seconds"]),
        most_tokens=most_tokens,
    )


async def answered(
    database: Database,
    tenant_id: uuid.UUID,
    question: Question,
    models: Asking,
    read: Callable[[str], Shown],
    *,
    now: Callable[[], datetime],
) -> Row:
    """The row, once the model was asked; no transaction is open meanwhile.

    `read` says what of the answer may be shown, and raises Unusable where nothing may.
    """
    if question.row["state"] != "asked" or not question.messages:
        return question.row
    assert question.limits is not None
    state, shown = "failed", Shown("", frozenset())
    detail: str | None = None
    spent = (question.row["input_tokens"], question.row["output_tokens"])
    if question.endpoint is None:
        detail, spent = "Its key cannot be read any more. Give it again.", (0, 0)
    else:
        try:
            said = await models.complete(
                question.endpoint,
                question.messages,
                most_tokens=question.most_tokens,
                seconds=question.seconds,
            )
        except ModelAway as away:
            # Whether it was charged nobody knows: what was reserved stays counted.
            detail = str(away)
        else:
            spent = (
                spent[0] if said.input_tokens is None else said.input_tokens,
                spent[1] if said.output_tokens is None else said.output_tokens,
            )
            try:
                shown = read(said.text)
            except Unusable as unusable:
                state, detail = "refused", str(unusable)
            else:
                state = "drafted"
    sources = [{**one, "cited": one["mark"] in shown.cited} for one in question.row["sources"]]
    async with database.transaction(tenant_id) as work:
        [[row]] = await work.batch(
            (
                "update drafts set state = %s, detail = %s, text = %s, parts = %s, sources = %s,"
                " input_tokens = %s, output_tokens = %s, cost = %s, finished_at = %s"
                " where tenant_id = %s and id = %s returning *",
                (
                    state, detail, shown.text if state == "drafted" else None,
                    Jsonb(dict(shown.parts)) if shown.parts is not None else None,
                    Jsonb(sources), *spent, question.limits.cost(*spent),
                    now(), tenant_id, question.id,
                ),
            )
        )  # fmt: skip
    return row


# Parts.


async def _settings(work: Work) -> Row | None:
    [rows] = await work.batch(
        (f"select {_SETTINGS} from language_models where tenant_id = %s", (work.tenant_id,))
    )
    return rows[0] if rows else None


async def _used(work: Work, now: datetime) -> tuple[Used, Used]:
    """What was used today and this month, in UTC."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    [[row]] = await work.batch(
        (
            "select coalesce(sum(input_tokens + output_tokens), 0)::bigint as month,"
            " coalesce(sum(cost), 0) as month_cost,"
            " coalesce(sum(input_tokens + output_tokens) filter (where created_at >= %(day)s), 0)"
            "  ::bigint as day,"
            " coalesce(sum(cost) filter (where created_at >= %(day)s), 0) as day_cost"
            " from drafts where tenant_id = %(tenant)s and created_at >= %(month)s"
            " and created_at < %(ends)s",
            {
                "tenant": work.tenant_id,
                "day": day,
                "month": day.replace(day=1),
                "ends": day + _DAY,
            },
        )
    )
    return Used(row["day"], row["day_cost"]), Used(row["month"], row["month_cost"])


def _limits(settings: Row) -> Limits:
    return Limits(
        daily_tokens=settings["daily_tokens"],
        monthly_tokens=settings["monthly_tokens"],
        daily_cost=settings["daily_cost"],
        monthly_cost=settings["monthly_cost"],
        input_price=settings["input_price"],
        output_price=settings["output_price"],
    )


def _endpoint(tenant_id: uuid.UUID, settings: Row, seal: Seal) -> Endpoint | None:
    endpoint = Endpoint(settings["base_url"], settings["model"])
    if settings["sealed_key"] is None:
        return endpoint
    try:
        key = seal.opened(bytes(settings["sealed_key"]), place=_place(tenant_id))
    except Unsealable:  # the server's own key is another now
        return None
    return replace(endpoint, key=key)


def _place(tenant_id: uuid.UUID) -> str:
    return f"language_models/{tenant_id}"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


async def _alone(work: Work) -> None:
    """One question of a desk at a time is counted: together two would pass one limit."""
    name = b"language model" + work.tenant_id.bytes
    key = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), signed=True)
    await work.batch(("select pg_advisory_xact_lock(%s)", (key,)))


__all__ = [
    "Asking",
    "Kind",
    "Question",
    "Shown",
    "answered",
    "asked_before",
    "enabled",
    "models",
    "put",
    "remove",
    "reserve",
    "settings_of",
]
