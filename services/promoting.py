"""Which of a desk's models answers: put in place, replaced, stepped back from."""

import uuid
from datetime import datetime

from domain.errors import Conflict, Invalid
from domain.learning import TriageField
from domain.permissions import Principal
from models.session import Row, Work
from services import learning
from services.tickets import Origin


class WorseModel(Conflict):
    """The gate: what was measured to be worse does not answer, unless somebody insists."""

    code = "worse_model"


async def promote(
    work: Work,
    model_id: uuid.UUID,
    *,
    anyway: bool,
    caller: Principal,
    origin: Origin,
    now: datetime,
    reason: str | None = None,
) -> Row:
    """The model answers from now on; what did is retired, and can come back.

    Raises WorseModel for one that was refused, that fell, or that a better one has replaced,
    unless `anyway`, which needs a reason; Invalid without it.
    """
    row = await learning.locked(work, model_id)
    if row["state"] == "champion":
        raise Conflict("This model answers already.")
    if row["sha256"] is None or row["state"] not in ("retired", "refused"):
        raise Conflict(f"This model is {row['state']} and has no file: it cannot answer.")
    objection = _objection(row)
    if objection is not None and not anyway:
        raise WorseModel(f"{objection} Say `anyway`, and why, if you insist.")
    if objection is not None and not reason:
        raise Invalid(
            f"{objection} Say why it is to answer all the same.",
            fields={"/reason": "is needed for a model that was measured to be worse"},
        )
    await retire(work, row["field"])
    await _crown(work, model_id, now, objection=_refusal(row))
    await learning.note(
        work, caller, origin, "triage_model.promoted", model_id,
        {
            "field": row["field"],
            "version": row["version"],
            "anyway": objection is not None,
            **({"objection": objection} if objection else {}),
            **({"reason": reason} if reason else {}),
        },
        now,
    )  # fmt: skip
    return await learning.model(work, model_id)


def _refusal(row: Row) -> str | None:
    """Why a model was refused or fell; it stays so wherever the model stands by now."""
    said: str | None = row["objection"]
    return said or ((row["detail"] or "No reason is known.") if row["state"] == "refused" else None)


def _objection(row: Row) -> str | None:
    """Why somebody has to insist before this model answers; None: nothing speaks against it."""
    refusal = _refusal(row)
    if refusal is not None:
        return f"It was refused. {refusal}"
    if row["replaced_by"] is not None:
        return f"Version {row['replaced_by']} was measured to be better and took its place."
    return None


async def roll_back(
    work: Work, field: TriageField, *, caller: Principal, origin: Origin, now: datetime
) -> Row:
    """The question as it was answered before: by the former model, or by the one that ships."""
    await learning.alone(work, field)
    await step_back(work, field, because=None, caller=caller, origin=origin, now=now)
    return await learning.question(work, field)


async def step_back(
    work: Work,
    field: TriageField,
    *,
    because: str | None,
    caller: Principal | None,
    origin: Origin | None,
    now: datetime,
) -> Row | None:
    """What answers is retired, and the former model answers, which is returned; None: what ships.

    Models that were refused, or that fell, are passed over, even where somebody had put them in
    place. `because`: what speaks against the one that answered, where that is known.
    """
    answering = await work.row(
        "select id, version from triage_models where tenant_id = :tenant and field = :field"
        " and state = 'champion' for update",
        {"tenant": work.tenant_id, "field": field},
    )
    if answering is None:
        raise Conflict(f"{field.title()} is answered by what ships; there is nothing before it.")
    former = await work.row(
        "select id, version from triage_models where tenant_id = :tenant and field = :field"
        " and state = 'retired' and objection is null and sha256 is not null"
        " and promoted_at is not null order by promoted_at desc limit 1 for update",
        {"tenant": work.tenant_id, "field": field},
    )
    await work.execute(
        # It counts as never promoted: the next step back leads past it.
        "update triage_models set state = case when coalesce(objection, :because) is null"
        " then 'retired' else 'refused' end, objection = coalesce(objection, :because),"
        " detail = rtrim(coalesce(detail, '') || ' Rolled back.'), promoted_at = null"
        " where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": answering["id"], "because": because},
    )
    if former is not None:
        await _crown(work, former["id"], now, objection=None)
    await learning.note(
        work, caller, origin, "triage_model.rolled_back", answering["id"],
        {
            "field": field,
            "from": answering["version"],
            "to": former["version"] if former else None,
            **({"because": because} if because else {}),
        },
        now,
    )  # fmt: skip
    return former


async def retire(work: Work, field: TriageField, *, replaced_by: int | None = None) -> None:
    """What answers no longer does. `replaced_by`: the version that was measured to be better.

    What was refused and put in place all the same is a refused one again.
    """
    await work.execute(
        "update triage_models set replaced_by = coalesce(:by, replaced_by),"
        " state = case when objection is null then 'retired' else 'refused' end"
        " where tenant_id = :tenant and field = :field and state = 'champion'",
        {"tenant": work.tenant_id, "field": field, "by": replaced_by},
    )


async def _crown(work: Work, model_id: uuid.UUID, now: datetime, *, objection: str | None) -> None:
    await work.execute(
        "update triage_models set state = 'champion', promoted_at = :now, problem = null,"
        " objection = :objection, replaced_by = null, live = null"
        " where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": model_id, "now": now, "objection": objection},
    )
