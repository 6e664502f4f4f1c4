"""What the models' worker reads and writes while it teaches a model or asks one about the past."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg.types.json import Jsonb
from pydantic import BaseModel

from domain.learning import (
    FieldSettings,
    Judgement,
    Measures,
    TriageField,
    has_earned,
)
from models.session import Database, Row, Work
from services import audit, learning, promoting

KEPT_FILES: Final = 5  # of models that do not answer, for each question: enough to go back


@dataclass(frozen=True, slots=True)
class Job:
    """A training or a backtest that is to be carried out."""

    tenant_id: uuid.UUID
    id: uuid.UUID
    field: TriageField
    settings: FieldSettings
    version: int = 0
    champion: Row | None = None  # of trainings: what answers now
    model: Row | None = None  # of backtests: what is asked; none: what ships
    tickets: int = 0
    labels: frozenset[str] = frozenset()  # a row of any other label teaches nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What came of a training, before it is decided what becomes of it."""

    sha256: str
    size_bytes: int
    rows: int
    labels: Mapping[str, int]
    wanted_precision: float
    threshold: float
    measures: Measures
    compared_with: str
    compared: Measures
    taught_until: datetime
    judgement: Judgement


class Trainings:
    """Short transactions around long work; every one may be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, tenant_id: uuid.UUID, job_id: uuid.UUID, *, now: datetime) -> Job | str:
        """The training to carry out, or the state it has ended in."""
        async with self._database.transaction(tenant_id) as work:
            row = await work.row(
                "update triage_models set state = 'training', started_at = coalesce(started_at,"
                " :now), progress = 0 where tenant_id = :tenant and id = :id"
                " and state in ('queued', 'training') returning field, version",
                {"tenant": tenant_id, "id": job_id, "now": now},
            )
            if row is None:
                return await _state(work, job_id, "triage_models")
            field: TriageField = row["field"]
            settings = (await learning.settings_of(work))[field]
            asked = await learning.question(work, field)
            [answering] = await work.batch(learning.champions(tenant_id))
        return Job(
            tenant_id, job_id, field, settings, row["version"],
            champion=next((one for one in answering if one["field"] == field), None),
            labels=frozenset(asked["labels"]),
        )  # fmt: skip

    async def begin_backtest(self, tenant_id: uuid.UUID, job_id: uuid.UUID) -> Job | str:
        """The backtest to carry out, or the state it has ended in."""
        async with self._database.transaction(tenant_id) as work:
            row = await work.row(
                "update triage_backtests set state = 'running' where tenant_id = :tenant"
                " and id = :id and state in ('queued', 'running')"
                " returning field, model_id, tickets",
                {"tenant": tenant_id, "id": job_id},
            )
            if row is None:
                return await _state(work, job_id, "triage_backtests")
            field: TriageField = row["field"]
            settings = (await learning.settings_of(work))[field]
            asked = await learning.question(work, field)
            model = await learning.model(work, row["model_id"]) if row["model_id"] else None
        return Job(
            tenant_id, job_id, field, settings, model=model, tickets=row["tickets"],
            labels=frozenset(asked["labels"]),
        )  # fmt: skip

    async def goes_on(self, job: Job, progress: float) -> bool:
        """Writes how far it is. False where somebody has cancelled it meanwhile."""
        async with self._database.transaction(job.tenant_id) as work:
            row = await work.row(
                "update triage_models set progress = :progress where tenant_id = :tenant"
                " and id = :id and state = 'training' returning id",
                {"tenant": job.tenant_id, "id": job.id, "progress": progress},
            )
        return row is not None

    async def backtest_goes_on(self, job: Job, progress: float) -> bool:
        """Likewise, of a backtest."""
        async with self._database.transaction(job.tenant_id) as work:
            row = await work.row(
                "update triage_backtests set progress = :progress where tenant_id = :tenant"
                " and id = :id and state = 'running' returning id",
                {"tenant": job.tenant_id, "id": job.id, "progress": progress},
            )
        return row is not None

    async def settle(self, job: Job, learnt: Learnt, *, now: datetime) -> str:
        """Promotes the challenger or refuses it, and writes both models' measures down.

        Where another model answers by now than the one it was compared with, it is refused: it
        was never compared with that.
        """
        async with self._database.transaction(job.tenant_id) as work:
            await learning.alone(work, job.field)
            row = await work.row(
                "select (select id from triage_models where tenant_id = :tenant"
                "  and field = :field and state = 'champion') as champion,"
                " state from triage_models where tenant_id = :tenant and id = :id for update",
                {"tenant": job.tenant_id, "id": job.id, "field": job.field},
            )
            if row is None:
                return "gone"
            if row["state"] != "training":
                return str(row["state"])
            compared_id = job.champion["id"] if job.champion else None
            promoted, because = learnt.judgement
            if promoted and row["champion"] != compared_id:
                promoted = False
                because = (
                    "Another model was put in place while this one learnt; it was not compared"
                    f" with that. {because}"
                )
            if promoted:
                await promoting.retire(work, job.field, replaced_by=job.version)
                await learning.withhold(work, job.field, None, now=now)  # it was measured anew
            elif job.champion is not None and row["champion"] == compared_id:
                await _measured_anew(work, job, learnt, now)
            await work.execute(
                "update triage_models set state = :state, detail = :detail,"
                " objection = :objection, progress = 1,"
                " rows = :rows, labels = :labels, wanted_precision = :wanted_precision,"
                " threshold = :threshold,"
                " measures = :measures, compared_with = :compared_with, compared = :compared,"
                " taught_until = :taught_until, sha256 = :sha256, size_bytes = :size_bytes,"
                " finished_at = :now, promoted_at = :promoted_at"
                " where tenant_id = :tenant and id = :id",
                {
                    "tenant": job.tenant_id,
                    "id": job.id,
                    "state": "champion" if promoted else "refused",
                    "detail": because,
                    "objection": None if promoted else because,
                    "rows": learnt.rows,
                    "labels": Jsonb(dict(learnt.labels)),
                    "wanted_precision": learnt.wanted_precision,
                    "threshold": learnt.threshold,
                    "measures": _json(learnt.measures),
                    "compared_with": learnt.compared_with,
                    "compared": _json(learnt.compared),
                    "taught_until": learnt.taught_until,
                    "sha256": learnt.sha256,
                    "size_bytes": learnt.size_bytes,
                    "now": now,
                    "promoted_at": now if promoted else None,
                },
            )
            await audit.record(
                work, caller=None, origin=None,
                action=f"triage_model.{'promoted' if promoted else 'refused'}",
                target_kind="triage_model", target_id=job.id,
                data={"field": job.field, "version": job.version, "because": because}, now=now,
            )  # fmt: skip
        return "champion" if promoted else "refused"

    async def end(
        self, tenant_id: uuid.UUID, job_id: uuid.UUID, state: str, detail: str, *, now: datetime
    ) -> str:
        """The training ends without a model; what answers now goes on. How it stands then."""
        async with self._database.transaction(tenant_id) as work:
            row = await work.row(
                "update triage_models set state = :state, detail = :detail, finished_at = :now"
                " where tenant_id = :tenant and id = :id and state in ('queued', 'training')"
                " returning state",
                {"tenant": tenant_id, "id": job_id, "state": state, "detail": detail, "now": now},
            )
            return str(row["state"]) if row else await _state(work, job_id, "triage_models")

    async def end_backtest(
        self,
        tenant_id: uuid.UUID,
        job_id: uuid.UUID,
        state: str,
        *,
        now: datetime,
        detail: str | None = None,
        measures: Measures | None = None,
        unseen: Measures | None = None,
        recorded: Measures | None = None,
    ) -> str:
        """The backtest has ended, with what it found."""
        async with self._database.transaction(tenant_id) as work:
            row = await work.row(
                "update triage_backtests set state = :state, detail = :detail,"
                " measures = :measures, unseen = :unseen, recorded = :recorded, progress = 1,"
                " finished_at = :now where tenant_id = :tenant and id = :id"
                " and state in ('queued', 'running') returning state",
                {
                    "tenant": tenant_id,
                    "id": job_id,
                    "state": state,
                    "detail": detail,
                    "measures": _json(measures),
                    "unseen": _json(unseen),
                    "recorded": _json(recorded),
                    "now": now,
                },
            )
            return str(row["state"]) if row else await _state(work, job_id, "triage_backtests")

    async def surplus(self, tenant_id: uuid.UUID, field: TriageField) -> Sequence[str]:
        """Files that nobody goes back to; their models stay as rows, without a file.

        The rows go first: a file without a row is a few megabytes, a row without a file is a model
        that cannot be promoted and does not say so.
        """
        async with self._database.transaction(tenant_id) as work:
            old = await work.rows(
                "select id, sha256 from triage_models where tenant_id = :tenant"
                " and field = :field and state in ('retired', 'refused') and sha256 is not null"
                " order by coalesce(promoted_at, created_at) desc offset :kept for update",
                {"tenant": tenant_id, "field": field, "kept": KEPT_FILES},
            )
            await work.batch(
                (
                    "update triage_models set sha256 = null where tenant_id = %s and id = any(%s)",
                    (tenant_id, [row["id"] for row in old]),
                )
            )
            # Two trainings from the same rows may have made the same file.
            used = await work.rows(
                "select distinct sha256 from triage_models where tenant_id = :tenant"
                " and sha256 is not null",
                {"tenant": tenant_id},
            )
        return sorted({row["sha256"] for row in old} - {row["sha256"] for row in used})


async def _measured_anew(work: Work, job: Job, learnt: Learnt, now: datetime) -> None:
    """What goes on answering was asked about newer decisions than it was promoted on.

    What it may do by itself goes by those from now on: nothing is withheld any longer where they
    reach the bar.
    """
    assert job.champion is not None
    if learnt.compared_with != version_of(job.champion):
        return  # its file could not be read: something else was asked in its place
    await work.execute(
        "update triage_models set measures = :measures where tenant_id = :tenant and id = :id",
        {
            "tenant": work.tenant_id,
            "id": job.champion["id"],
            "measures": _json(learnt.compared),
        },
    )
    settings = (await learning.settings_of(work))[job.field]
    if settings.withheld is not None and has_earned(settings, learnt.compared):
        await learning.withhold(work, job.field, None, now=now)


def version_of(champion: Row) -> str:
    """A desk's own model in the words of a comparison."""
    return f"version {champion['version']}"


async def _state(work: Work, job_id: uuid.UUID, table: str) -> str:
    row = await work.row(
        f"select state from {table} where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": job_id},
    )
    return str(row["state"]) if row else "gone"


async def champions_of_all(relay_database: Database) -> list[Row]:
    """Every desk's models that answer, for who looks after their files."""
    async with relay_database.transaction(None) as work:
        return await work.rows(
            "select m.tenant_id, t.slug, m.field, m.version, m.sha256, m.problem"
            " from triage_models m join tenants t on t.id = m.tenant_id"
            " where m.state = 'champion' order by t.slug, m.field"
        )


async def report_problem(
    database: Database, tenant_id: uuid.UUID, model_id: uuid.UUID, problem: str | None
) -> None:
    """The model's row says why its file cannot be used; None: it can be again."""
    async with database.transaction(tenant_id) as work:
        await work.execute(
            "update triage_models set problem = :problem where tenant_id = :tenant and id = :id"
            " and problem is distinct from :problem",
            {"tenant": tenant_id, "id": model_id, "problem": problem},
        )


def _json(value: BaseModel | None) -> Jsonb | None:
    return Jsonb(value.model_dump(mode="json")) if value is not None else None
