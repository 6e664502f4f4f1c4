"""A desk's own models: asked for, promoted, rolled back; how each question is to be answered."""

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from domain.errors import Conflict, Invalid, NotFound
from domain.learning import (
    COLUMNS,
    DEFAULTS,
    FIELDS,
    MOST_LABELS,
    QUESTIONS,
    FieldSettings,
    Measures,
    TriageField,
    is_applied,
    shipped_labels,
)
from domain.permissions import Principal
from models.base import new_id
from models.session import Database, Row, Statement, Work
from services import audit, jobs
from services.tickets import Origin

NEW_DECISIONS: Final = 25  # tickets that people judged since the last training, to train by itself
RETRIED_AFTER: Final = timedelta(hours=20)
MOST_BACKTESTED: Final = 20_000


class ModelNotFound(NotFound):
    code = "model_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such model.")


class BacktestNotFound(NotFound):
    code = "backtest_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such backtest.")


class WorseModel(Conflict):
    """The gate: what was measured to be worse does not answer, unless somebody insists."""

    code = "worse_model"


# How each question is to be answered.


async def settings_of(work: Work) -> dict[TriageField, FieldSettings]:
    """How the desk wants each question answered, the usual where it has said nothing."""
    [rows] = await work.batch(field_settings(work.tenant_id))
    return read_settings(rows)


def field_settings(tenant_id: uuid.UUID) -> Statement:
    return (
        "select field, apply, wanted_precision, labels from triage_fields where tenant_id = %s",
        (tenant_id,),
    )


def champions(tenant_id: uuid.UUID) -> Statement:
    """The models that answer, with what their answers have earned."""
    return (
        "select id, field, version, sha256, measures from triage_models"
        " where tenant_id = %s and state = 'champion'",
        (tenant_id,),
    )


def read_settings(rows: Sequence[Row]) -> dict[TriageField, FieldSettings]:
    said = {
        row["field"]: FieldSettings(
            apply=row["apply"],
            wanted_precision=row["wanted_precision"],
            labels=tuple(row["labels"]) if row["labels"] is not None else None,
        )
        for row in rows
    }
    return {field: said.get(field, DEFAULTS[field]) for field in FIELDS}


async def questions(work: Work) -> list[Row]:
    """Each question: what the desk has said, its labels, who answers, whether that is done."""
    said, answering, teams = await work.batch(
        field_settings(work.tenant_id), champions(work.tenant_id), _teams(work.tenant_id)
    )
    settings = read_settings(said)
    by_field = {row["field"]: row for row in answering}
    return [
        _question(field, settings[field], by_field.get(field), [str(row["id"]) for row in teams])
        for field in FIELDS
    ]


async def question(work: Work, name: TriageField) -> Row:
    """One question, as in `questions`."""
    return next(row for row in await questions(work) if row["field"] == name)


def _question(
    name: TriageField, settings: FieldSettings, champion: Row | None, teams: Sequence[str]
) -> Row:
    measures = Measures.model_validate(champion["measures"]) if champion else None
    shipped = shipped_labels(name)
    return {
        "field": name,
        "apply": settings.apply,
        "wanted_precision": settings.wanted_precision,
        "labels": list(settings.labels or shipped or teams),
        "own_labels": settings.labels is not None,
        "model": f"{name}-{champion['version']}" if champion else None,
        "model_id": champion["id"] if champion else None,
        "precision": measures.precision if measures else None,
        "coverage": measures.coverage if measures else None,
        "applied": is_applied(settings, measures),
    }


async def set_field(
    work: Work, name: TriageField, given: Mapping[str, object], *, now: datetime
) -> tuple[Row, dict[str, object]]:
    """The question as it is to be answered from now on. Raises Invalid."""
    await alone(work, name)
    before = (await settings_of(work))[name]
    labels = given.get("labels", before.labels)
    if not QUESTIONS[name].own_labels and labels is not None:
        raise Invalid(
            f"The labels of {name} are fixed: those of the desk itself.",
            fields={"/labels": "can be given for topics only"},
        )
    clean = _clean_labels(labels) if labels is not None else None
    after = FieldSettings.model_validate({**before.model_dump(), **given, "labels": clean})
    changes: dict[str, object] = {
        key: [was, new]
        for key, was in before.model_dump(mode="json").items()
        if was != (new := after.model_dump(mode="json")[key])
    }
    if changes:
        await work.execute(
            "insert into triage_fields"
            " (tenant_id, field, apply, wanted_precision, labels, updated_at)"
            " values (:tenant, :field, :apply, :wanted_precision, :labels, :now)"
            " on conflict (tenant_id, field) do update set apply = excluded.apply,"
            " wanted_precision = excluded.wanted_precision, labels = excluded.labels,"
            " updated_at = excluded.updated_at",
            {
                "tenant": work.tenant_id,
                "field": name,
                "apply": after.apply,
                "wanted_precision": after.wanted_precision,
                "labels": list(after.labels) if after.labels is not None else None,
                "now": now,
            },
        )
    return await question(work, name), changes


def _clean_labels(given: object) -> tuple[str, ...]:
    assert isinstance(given, Sequence)
    labels = tuple(dict.fromkeys(str(label).strip() for label in given))
    if not 2 <= len(labels) <= MOST_LABELS or not all(0 < len(label) <= 100 for label in labels):
        raise Invalid(
            f"Give 2 to {MOST_LABELS} different labels of 1 to 100 characters.",
            fields={"/labels": "are too few, too many, empty, or too long"},
        )
    return labels


async def check_label(work: Work, name: TriageField, label: str) -> None:
    """Passes for a label of this desk. Raises Invalid."""
    known = (await question(work, name))["labels"]
    if label not in known:
        raise Invalid(
            f"{label!r} is not a {name} of this desk.",
            fields={f"/{'team_id' if name == 'team' else name}": f"is one of {len(known)} others"},
        )


# Models.


async def models(work: Work, *, field: TriageField | None = None, limit: int = 100) -> list[Row]:
    """The desk's models, newest first; what is under way as well."""
    return await work.rows(
        "select m.* from triage_models m where m.tenant_id = :tenant"
        + (" and m.field = :field" if field else "")
        + " order by m.created_at desc, m.id desc limit :limit",
        {"tenant": work.tenant_id, "limit": limit, **({"field": field} if field else {})},
    )


async def model(work: Work, model_id: uuid.UUID) -> Row:
    """One of them. Raises ModelNotFound."""
    row = await work.row(
        "select m.* from triage_models m where m.tenant_id = :tenant and m.id = :id",
        {"tenant": work.tenant_id, "id": model_id},
    )
    if row is None:
        raise ModelNotFound
    return row


async def train(
    work: Work,
    field: TriageField,
    *,
    caller: Principal | None,
    origin: Origin | None,
    now: datetime,
) -> Row:
    """A model to be, committed; its workflow is started by the relay. One of a field at a time."""
    job_id = new_id()
    [made] = await work.batch(
        (
            "insert into triage_models (tenant_id, id, field, version, state, requested_by,"
            " created_at) select %s, %s, %s, coalesce(max(version), 0) + 1, 'queued', %s, %s"
            " from triage_models where tenant_id = %s and field = %s"
            " on conflict do nothing returning id",
            (
                work.tenant_id,
                job_id,
                field,
                caller.id if caller else None,
                now,
                work.tenant_id,
                field,
            ),
        )
    )
    if not made:
        raise Conflict(f"A model of {field} is being taught already. Wait for it, or cancel it.")
    await work.batch(jobs.told("retrain", work.tenant_id, job_id))
    await _audit(work, caller, origin, "triage_model.queued", job_id, {"field": field}, now)
    work.wake_relay()
    return await model(work, job_id)


async def cancel(
    work: Work, model_id: uuid.UUID, *, caller: Principal, origin: Origin, now: datetime
) -> Row:
    """The training stops; what answers now goes on."""
    row = await _locked(work, model_id)
    if row["state"] not in ("queued", "training"):
        raise Conflict(f"This model is {row['state']}; there is no training to cancel.")
    await work.execute(
        "update triage_models set state = 'cancelled', detail = 'Somebody cancelled it.',"
        " finished_at = :now where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": model_id, "now": now},
    )
    await _audit(work, caller, origin, "triage_model.cancelled", model_id, {}, now)
    return await model(work, model_id)


async def promote(
    work: Work,
    model_id: uuid.UUID,
    *,
    anyway: bool,
    caller: Principal,
    origin: Origin,
    now: datetime,
) -> Row:
    """The model answers from now on; what did is retired, and can come back.

    Raises WorseModel for one that the comparison refused, unless `anyway`.
    """
    row = await _locked(work, model_id)
    if row["state"] == "champion":
        raise Conflict("This model answers already.")
    if row["sha256"] is None or row["state"] not in ("retired", "refused"):
        raise Conflict(f"This model is {row['state']} and has no file: it cannot answer.")
    if row["state"] == "refused" and not anyway:
        raise WorseModel(f"It was refused. {row['detail']} Say `anyway` if you insist.")
    await retire(work, row["field"], now)
    await _crown(work, model_id, now)
    await _audit(
        work, caller, origin, "triage_model.promoted", model_id,
        {"field": row["field"], "version": row["version"], "anyway": anyway}, now,
    )  # fmt: skip
    return await model(work, model_id)


async def roll_back(
    work: Work, field: TriageField, *, caller: Principal, origin: Origin, now: datetime
) -> Row:
    """The question as it was answered before: by the former model, or by the one that ships."""
    await alone(work, field)
    answering = await work.row(
        "select id, version from triage_models where tenant_id = :tenant and field = :field"
        " and state = 'champion' for update",
        {"tenant": work.tenant_id, "field": field},
    )
    if answering is None:
        raise Conflict(f"{field.title()} is answered by what ships; there is nothing before it.")
    former = await work.row(
        "select id, version from triage_models where tenant_id = :tenant and field = :field"
        " and state = 'retired' and sha256 is not null and promoted_at is not null"
        " order by promoted_at desc limit 1 for update",
        {"tenant": work.tenant_id, "field": field},
    )
    await retire(work, field, now, rolled_back=True)
    if former is not None:
        await _crown(work, former["id"], now)
    await _audit(
        work, caller, origin, "triage_model.rolled_back", answering["id"],
        {
            "field": field,
            "from": answering["version"],
            "to": former["version"] if former else None,
        },
        now,
    )  # fmt: skip
    return await question(work, field)


async def retire(
    work: Work, field: TriageField, now: datetime, *, rolled_back: bool = False
) -> None:
    # Rolled back, it counts as never promoted: the next step back leads past it.
    await work.execute(
        "update triage_models set state = 'retired'"
        + (", promoted_at = null, detail = 'Rolled back.'" if rolled_back else "")
        + " where tenant_id = :tenant and field = :field and state = 'champion'",
        {"tenant": work.tenant_id, "field": field},
    )


async def _crown(work: Work, model_id: uuid.UUID, now: datetime) -> None:
    await work.execute(
        "update triage_models set state = 'champion', promoted_at = :now, problem = null"
        " where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": model_id, "now": now},
    )


# Backtests.


async def backtest(
    work: Work,
    field: TriageField,
    *,
    model_id: uuid.UUID | None,
    tickets: int,
    caller: Principal,
    origin: Origin,
    now: datetime,
) -> Row:
    """A backtest, committed; without a model, of the one that ships. Raises Invalid."""
    if model_id is not None:
        try:
            row = await model(work, model_id)
        except ModelNotFound as unknown:  # named in the body, so the request is what is wrong
            raise Invalid(unknown.detail, fields={"/model_id": "is not known"}) from unknown
        if row["field"] != field:
            raise Invalid(
                f"That model answers {row['field']}.", fields={"/model_id": "is of another field"}
            )
        if row["sha256"] is None:
            raise Conflict(f"This model is {row['state']} and has no file: it cannot be asked.")
    elif field == "team":
        raise Invalid(
            "No model that ships knows your teams.", fields={"/model_id": "is needed for team"}
        )
    job_id = new_id()
    await work.batch(
        (
            "insert into triage_backtests (tenant_id, id, field, model_id, state, requested_by,"
            " tickets, created_at) values (%s, %s, %s, %s, 'queued', %s, %s, %s)",
            (work.tenant_id, job_id, field, model_id, caller.id, tickets, now),
        ),
        jobs.told("backtest", work.tenant_id, job_id),
    )
    await audit.record(
        work, caller=caller, origin=origin, action="triage_backtest.queued",
        target_kind="triage_backtest", target_id=job_id, data={"field": field}, now=now,
    )  # fmt: skip
    work.wake_relay()
    return await get_backtest(work, job_id)


async def get_backtest(work: Work, backtest_id: uuid.UUID) -> Row:
    """How it stands. Raises BacktestNotFound."""
    row = await work.row(
        "select b.*, m.version from triage_backtests b left join triage_models m"
        " on m.tenant_id = b.tenant_id and m.id = b.model_id"
        " where b.tenant_id = :tenant and b.id = :id",
        {"tenant": work.tenant_id, "id": backtest_id},
    )
    if row is None:
        raise BacktestNotFound
    return row


# By itself.


async def train_where_due(
    relay_database: Database,
    database: Database,
    *,
    now: datetime,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Every desk whose people have judged enough since its last training trains; how many models.

    One of these is enough for all desks: each looks at an index of its own, and what is queued
    waits for its turn on the models' queue.
    """
    async with relay_database.transaction(None) as work:
        tenants = await work.rows("select id from tenants order by id")
    queued = 0
    for tenant in tenants:
        async with database.transaction(tenant["id"]) as work:
            for name in await _due(work, now):
                try:
                    await train(work, name, caller=None, origin=None, now=now)
                    queued += 1
                except Conflict:
                    continue  # somebody was quicker
        progress(queued)
    return queued


async def _due(work: Work, now: datetime) -> list[TriageField]:
    rows = await work.rows(
        "select f.field from unnest(cast(:fields as text[]), cast(:columns as text[]))"
        " f(field, col)"
        " left join lateral (select m.created_at, m.state from triage_models m"
        "  where m.tenant_id = :tenant and m.field = f.field order by m.version desc limit 1) l"
        "  on true"
        " where coalesce(l.state, '') not in ('queued', 'training')"
        " and (l.created_at is null or l.created_at < :before)"
        " and (select count(*) from (select from tickets t where t.tenant_id = :tenant"
        "  and t.updated_at > coalesce(l.created_at, '-infinity') and f.col = any(t.decided)"
        "  limit :enough) new) >= :enough",
        {
            "tenant": work.tenant_id,
            "fields": list(FIELDS),
            "columns": [COLUMNS[field] for field in FIELDS],
            "before": now - RETRIED_AFTER,
            "enough": NEW_DECISIONS,
        },
    )
    return [row["field"] for row in rows]


# Parts.


def _teams(tenant_id: uuid.UUID) -> Statement:
    return ("select id from teams where tenant_id = %s and active order by id", (tenant_id,))


async def _locked(work: Work, model_id: uuid.UUID) -> Row:
    row = await model(work, model_id)
    await alone(work, row["field"])
    await work.execute(
        "select 1 from triage_models where tenant_id = :tenant and id = :id for update",
        {"tenant": work.tenant_id, "id": model_id},
    )
    return await model(work, model_id)


async def alone(work: Work, field: TriageField) -> None:
    """One change at a time of who answers a question, until the transaction ends."""
    name = b"triage" + work.tenant_id.bytes + field.encode()
    key = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), signed=True)
    await work.batch(("select pg_advisory_xact_lock(%s)", (key,)))


async def _audit(
    work: Work,
    caller: Principal | None,
    origin: Origin | None,
    action: str,
    model_id: uuid.UUID,
    data: Mapping[str, object],
    now: datetime,
) -> None:
    await audit.record(
        work, caller=caller, origin=origin, action=action, target_kind="triage_model",
        target_id=model_id, data=data, now=now,
    )  # fmt: skip
