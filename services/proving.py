"""Whether models that answer do what they were promoted for; those that surely do not, step back.

What people say of their answers is counted from the timeline, as a training does.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from psycopg.types.json import Jsonb

from domain.learning import COLUMNS, Measures, TriageField
from domain.proving import Fall, Lived, fallen, lived, was_right
from models.session import Database, Row, Work
from services import audit, learning, promoting
from services.alerting import notice
from services.labelling import Past, past_tickets

MOST_LOOKED_AT: Final = 2_000  # tickets of a desk, the newest: how it goes now, not a year ago

_ANSWERING: Final = (
    "select id, field, version, measures, compared, compared_with, promoted_at, live"
    " from triage_models where tenant_id = :tenant and state = 'champion'"
)


async def watch(
    relay_database: Database,
    database: Database,
    *,
    now: datetime,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Looks at every desk's models that answer; how many of them fell.

    A desk on which nothing has happened since the last look costs one question.
    """
    async with relay_database.transaction(None) as work:
        tenants = await work.rows(
            "select distinct tenant_id as id from triage_models where state = 'champion'"
        )
    fell = 0
    for tenant in tenants:
        fell += await look(database, tenant["id"], now=now, progress=partial(progress, fell))
        progress(fell)
    return fell


async def look(
    database: Database,
    tenant_id: uuid.UUID,
    *,
    now: datetime,
    progress: Callable[[], None] = lambda: None,
) -> int:
    """Likewise, of one desk."""
    async with database.transaction(tenant_id, reading=True) as work:
        answering = await work.rows(_ANSWERING, {"tenant": tenant_id})
        if not await _has_news(work, answering):
            return 0
    since = min(row["promoted_at"] for row in answering)
    counts: dict[TriageField, list[int]] = {row["field"]: [0, 0] for row in answering}
    looked_at = 0
    async for past in past_tickets(database, tenant_id, since=since):
        for one in past:
            for row in answering:
                right = _judged(one, row)
                if right is not None:
                    counts[row["field"]][0] += 1
                    counts[row["field"]][1] += right
        looked_at += len(past)
        progress()
        if looked_at >= MOST_LOOKED_AT:
            break
    fell = 0
    for row in answering:
        async with database.transaction(tenant_id) as work:
            fell += await _settle(work, row, lived(*counts[row["field"]]), now)
    return fell


async def _has_news(work: Work, answering: Sequence[Row]) -> bool:
    """Whether people decided or finished anything since all of these were looked at."""
    if not answering:
        return False
    looked: list[str] = [row["live"]["at"] for row in answering if row["live"]]
    if len(looked) < len(answering):
        return True
    row = await work.row(
        "select exists (select from tickets where tenant_id = :tenant and updated_at >= :since"
        " and (decided && cast(:columns as text[]) or category in ('resolved', 'closed')))"
        " as any_",
        {
            "tenant": work.tenant_id,
            "since": datetime.fromisoformat(min(looked)),
            "columns": [*COLUMNS.values()],
        },
    )
    return row is not None and bool(row["any_"])


def _judged(past: Past, model: Row) -> bool | None:
    """Whether people found right what this model answered since it was put in place."""
    field: TriageField = model["field"]
    version = f"{field}-{model['version']}"
    for verdict in reversed(past.verdicts):
        guess = verdict.guesses.get(field)
        if guess is None or verdict.at < model["promoted_at"]:
            continue
        if guess.get("model_version") == version and not guess["abstained"]:
            # A mood that was read on from later words did not stand to the end.
            stood = past.is_over and not (field == "sentiment" and past.read_on)
            return was_right(field, str(guess["label"]), past.labels.get(field), is_over=stood)
    return None


async def _settle(work: Work, model: Row, found: Lived, now: datetime) -> bool:
    """Writes down how a model does, and draws the consequence; whether it fell."""
    field: TriageField = model["field"]
    await learning.alone(work, field)
    row = await work.row(
        "update triage_models set live = :live where tenant_id = :tenant and id = :id"
        " and state = 'champion' returning id",
        {
            "tenant": work.tenant_id,
            "id": model["id"],
            "live": Jsonb(found.model_dump(mode="json") | {"at": now.isoformat()}),
        },
    )
    if row is None:
        return False  # somebody put another one in place meanwhile
    settings = (await learning.settings_of(work))[field]
    fall = fallen(
        found, settings, Measures.model_validate(model["measures"]),
        Measures.model_validate(model["compared"]) if model["compared"] else None,
        named=model["compared_with"] or "what answered before",
    )  # fmt: skip
    if fall is None or (not fall.back and settings.withheld is not None):
        return False
    await _fall(work, model, fall, now)
    return True


async def _fall(work: Work, model: Row, fall: Fall, now: datetime) -> None:
    field: TriageField = model["field"]
    said: dict[str, object] = {
        "field": field,
        "model": f"{field}-{model['version']}",
        "because": fall.because,
    }
    if fall.back:
        former = await promoting.step_back(
            work, field, because=fall.because, caller=None, origin=None, now=now
        )
        said["answers_now"] = f"{field}-{former['version']}" if former else "the model that ships"
    changes = await learning.withhold(work, field, fall.because, now=now)
    if changes:
        await audit.record(
            work, caller=None, origin=None, action="triage_field.changed",
            target_kind="triage_field", target_id=field, data={"changes": changes}, now=now,
        )  # fmt: skip
    await _tell_admins(work, "model_rolled_back" if fall.back else "model_withheld", said, now)


async def _tell_admins(work: Work, kind: str, said: Mapping[str, object], now: datetime) -> None:
    admins = await work.rows(
        "select id from users where tenant_id = :tenant and role = 'admin' and active",
        {"tenant": work.tenant_id},
    )
    if admins:
        await work.batch(*(notice(work.tenant_id, one["id"], kind, said, at=now) for one in admins))
