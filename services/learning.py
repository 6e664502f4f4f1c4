"""A desk's own models: asked for, listed, asked about the past; how each question is answered."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from domain.errors import Conflict, Invalid, NotFound
from domain.learning import (
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
from models.session import Row, Statement, Work
from services import audit, jobs
from services.tickets import Origin

MOST_BACKTESTED: Final = 20_000


class ModelNotFound(NotFound):
    code = "model_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such model.")


class BacktestNotFound(NotFound):
    code = "backtest_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such backtest.")


# How each question is to be answered.


async def settings_of(work: Work) -> dict[TriageField, FieldSettings]:
    """How the desk wants each question answered, the usual where it has said nothing."""
    [rows] = await work.batch(field_settings(work.tenant_id))
    return read_settings(rows)


def field_settings(tenant_id: uuid.UUID) -> Statement:
    return (
        "select field, apply, wanted_precision, labels, threshold, withheld from triage_fields"
        " where tenant_id = %s",
        (tenant_id,),
    )


def champions(tenant_id: uuid.UUID) -> Statement:
    """The models that answer, with what their answers have earned."""
    return (
        "select id, field, version, sha256, measures, threshold, labels from triage_models"
        " where tenant_id = %s and state = 'champion'",
        (tenant_id,),
    )


def read_settings(rows: Sequence[Row]) -> dict[TriageField, FieldSettings]:
    said = {
        row["field"]: FieldSettings(
            apply=row["apply"],
            wanted_precision=row["wanted_precision"],
            labels=tuple(row["labels"]) if row["labels"] is not None else None,
            threshold=row["threshold"],
            withheld=row["withheld"],
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
    reached = measures.at(settings.threshold) if measures else None
    shipped = shipped_labels(name)
    return {
        "field": name,
        "apply": settings.apply,
        "wanted_precision": settings.wanted_precision,
        "labels": list(settings.labels or shipped or teams),
        "own_labels": settings.labels is not None,
        "model": f"{name}-{champion['version']}" if champion else None,
        "model_id": champion["id"] if champion else None,
        "threshold": (
            settings.threshold
            if settings.threshold is not None
            else (champion["threshold"] if champion else None)
        ),
        "threshold_by_hand": settings.threshold is not None,
        "answered": reached.answered if reached else None,
        "precision": reached.precision if reached else None,
        "coverage": reached.coverage if reached else None,
        "applied": is_applied(settings, measures),
        "withheld": settings.withheld,
    }


async def set_field(
    work: Work, name: TriageField, given: Mapping[str, object], *, now: datetime
) -> tuple[Row, dict[str, object]]:
    """The question as it is to be answered from now on. Raises Invalid.

    Whoever says `always` means it, so nothing is withheld any longer.
    """
    await alone(work, name)
    before = (await settings_of(work))[name]
    said = dict(given)
    labels = said.get("labels", before.labels)
    if not QUESTIONS[name].own_labels and labels is not None:
        raise Invalid(
            f"The labels of {name} are fixed: those of the desk itself.",
            fields={"/labels": "can be given for topics only"},
        )
    said["labels"] = _clean_labels(labels) if labels is not None else None
    if said.get("threshold") is not None:
        said["threshold"] = round(float(str(said["threshold"])), 2)
    if said.get("apply") == "always":
        said["withheld"] = None
    after = FieldSettings.model_validate({**before.model_dump(), **said})
    changes = await _store(work, name, before, after, now)
    return await question(work, name), changes


async def withhold(
    work: Work, name: TriageField, because: str | None, *, now: datetime
) -> dict[str, object]:
    """Answers are only suggested until a model was measured anew (None: it was); what changed."""
    before = (await settings_of(work))[name]
    after = before.model_copy(update={"withheld": because})
    return await _store(work, name, before, after, now)


async def _store(
    work: Work, name: TriageField, before: FieldSettings, after: FieldSettings, now: datetime
) -> dict[str, object]:
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    changes: dict[str, object] = {key: [old[key], new[key]] for key in old if old[key] != new[key]}
    if changes:
        await work.execute(
            "insert into triage_fields"
            " (tenant_id, field, apply, wanted_precision, labels, threshold, withheld, updated_at)"
            " values (:tenant, :field, :apply, :wanted_precision, :labels, :threshold, :withheld,"
            " :now) on conflict (tenant_id, field) do update set apply = excluded.apply,"
            " wanted_precision = excluded.wanted_precision, labels = excluded.labels,"
            " threshold = excluded.threshold, withheld = excluded.withheld,"
            " updated_at = excluded.updated_at",
            {
                "tenant": work.tenant_id,
                "field": name,
                "apply": after.apply,
                "wanted_precision": after.wanted_precision,
                "labels": list(after.labels) if after.labels is not None else None,
                "threshold": after.threshold,
                "withheld": after.withheld,
                "now": now,
            },
        )
    return changes


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
    await note(work, caller, origin, "triage_model.queued", job_id, {"field": field}, now)
    work.wake_relay()
    return await model(work, job_id)


async def cancel(
    work: Work, model_id: uuid.UUID, *, caller: Principal, origin: Origin, now: datetime
) -> Row:
    """The training stops; what answers now goes on."""
    row = await locked(work, model_id)
    if row["state"] not in ("queued", "training"):
        raise Conflict(f"This model is {row['state']}; there is no training to cancel.")
    await work.execute(
        "update triage_models set state = 'cancelled', detail = 'Somebody cancelled it.',"
        " finished_at = :now where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": model_id, "now": now},
    )
    await note(work, caller, origin, "triage_model.cancelled", model_id, {}, now)
    return await model(work, model_id)


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


# Parts.


def _teams(tenant_id: uuid.UUID) -> Statement:
    return ("select id from teams where tenant_id = %s and active order by id", (tenant_id,))


async def locked(work: Work, model_id: uuid.UUID) -> Row:
    """The model, which nobody else changes until the transaction ends. Raises ModelNotFound."""
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


async def note(
    work: Work,
    caller: Principal | None,
    origin: Origin | None,
    action: str,
    model_id: uuid.UUID,
    data: Mapping[str, object],
    now: datetime,
) -> None:
    """Puts what happened to a model into the audit log."""
    await audit.record(
        work, caller=caller, origin=origin, action=action, target_kind="triage_model",
        target_id=model_id, data=data, now=now,
    )  # fmt: skip
