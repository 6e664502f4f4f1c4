"""Another staffing tried on the past: who was there, what there was to do, a chunk at a time."""

import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import orjson
from pydantic import TypeAdapter, ValidationError

from domain.calendars import Calendar
from domain.comparison import Comparison, Load, Modelled, Turned
from domain.crew import MOST_CHANGES, Person, TeamChange, today, under
from domain.errors import Invalid
from domain.floor import Answered, Floor, Member
from domain.workload import NOBODY, Estimate, Heard, Histogram, Job, Promise, job_of
from models.session import Row, Work

CHUNK = 5000  # tickets
WARM = timedelta(days=7)  # of work before the time asked for: nobody begins with an empty desk
_CHANGES = TypeAdapter(list[TeamChange])

Told = tuple[int, str | None, str | None]  # number, timeline, promises
_READ = (
    "select t.number, t.id, t.created_at,"
    " (select json_agg(json_build_array(e.type, e.actor_kind, e.actor_id, e.changes,"
    "  (e.data ->> 'as_requester') = 'true', (e.data ->> 'automatic') = 'true',"
    "  extract(epoch from e.occurred_at)::float8) order by e.seq) from events e"
    "  where e.tenant_id = t.tenant_id and e.ticket_id = t.id)::text as timeline,"
    " (select json_agg(json_build_array(c.metric, extract(epoch from c.started_at)::float8,"
    "  extract(epoch from c.due_at)::float8, case when c.outcome in ('met', 'missed')"
    "   and c.stopped_at >= :since and c.stopped_at < :until then c.outcome end,"
    "  extract(epoch from c.stopped_at)::float8) order by c.cycle) from clocks c"
    "  where c.tenant_id = t.tenant_id and c.ticket_id = t.id"
    "  and c.metric in ('first_reply', 'resolution'))::text as promises"
    " from tickets t where t.tenant_id = :tenant and t.created_at >= :warm"
    " and t.created_at < :until"
)


async def changes_of(work: Work, request: Mapping[str, object]) -> list[TeamChange]:
    """The changes of a request, their calendars filled in. Raises Invalid."""
    try:
        changes = _CHANGES.validate_python(request.get("staffing"), strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        where = "/".join(str(part) for part in first["loc"])
        raise Invalid(
            f"That is no staffing: {first['msg']}.", fields={f"/staffing/{where}": first["msg"]}
        ) from error
    if len(changes) > MOST_CHANGES:
        raise Invalid(f"At most {MOST_CHANGES} changes.", fields={"/staffing": "are too many"})
    rows = await work.rows(
        "select id, 'team' as kind, null::jsonb as body from teams where tenant_id = :tenant"
        " union all select id, 'user', null from users where tenant_id = :tenant"
        " union all select c.id, 'calendar', v.body from calendars c join calendar_versions v"
        "  on v.tenant_id = c.tenant_id and v.calendar_id = c.id and v.version = c.version"
        " where c.tenant_id = :tenant",
        {"tenant": work.tenant_id},
    )
    known: dict[str, dict[uuid.UUID, object]] = {"team": {}, "user": {}, "calendar": {}}
    for each in rows:
        known[each["kind"]][each["id"]] = each["body"]
    made = []
    for place, asked in enumerate(changes):
        change = asked
        if change.team_id is not None and change.team_id not in known["team"]:
            raise _unknown(place, "team_id", "team")
        if not set(change.without) <= known["user"].keys():
            raise _unknown(place, "without", "user")
        if change.calendar_id is not None:
            if change.calendar_id not in known["calendar"]:
                raise _unknown(place, "calendar_id", "calendar")
            hours = Calendar.model_validate(known["calendar"][change.calendar_id])
            change = change.model_copy(update={"calendar": hours})
        made.append(change)
    return made


def _unknown(place: int, name: str, kind: str) -> Invalid:
    return Invalid(
        f"There is no such {kind}.", fields={f"/staffing/{place}/{name}": "is not known"}
    )


async def basis_of(work: Work, row: Row) -> bytes:
    """Who there was and when they did what, and the changes: the same for every chunk."""
    changes = await changes_of(work, row["request"])
    tenant, since = work.tenant_id, row["since"] - WARM
    people, members, hours, calendars = await work.batch(
        ("select id, capacity, skills, calendar_id from users where tenant_id = %s", (tenant,)),
        ("select user_id, team_id from team_members where tenant_id = %s", (tenant,)),
        (
            "select actor_id, floor(extract(epoch from occurred_at) / 3600)::int as hour,"
            " count(*) filter (where type = 'agent_replied') as answers from events"
            " where tenant_id = %s and actor_kind = 'user' and actor_id is not null"
            " and occurred_at >= %s and occurred_at < %s group by 1, 2 order by 1, 2",
            (tenant, since, row["until"]),
        ),
        (
            "select c.id, v.body from calendars c join calendar_versions v"
            " on v.tenant_id = c.tenant_id and v.calendar_id = c.id and v.version = c.version"
            " where c.tenant_id = %s",
            (tenant,),
        ),
    )
    bodies = {each["id"]: each["body"] for each in calendars}
    teams: dict[uuid.UUID, list[str]] = {}
    for each in members:
        teams.setdefault(each["user_id"], []).append(str(each["team_id"]))
    seen: dict[uuid.UUID, list[tuple[int, int]]] = {}
    for each in hours:
        seen.setdefault(each["actor_id"], []).append((each["hour"], each["answers"]))
    told = [
        {
            "id": str(one["id"]),
            "teams": [*sorted(teams.get(one["id"], [])), NOBODY],
            "capacity": one["capacity"],
            "skills": sorted(one["skills"]),
            "calendar": bodies.get(one["calendar_id"]),
            "hours": seen[one["id"]],
        }
        for one in people
        if any(answers for _, answers in seen.get(one["id"], ()))
    ]
    said = {
        "since": row["since"].timestamp(),
        "warm": since.timestamp(),
        "until": row["until"].timestamp(),
        "zone": str(row["request"].get("zone") or "UTC"),
        "people": told,
        "changes": [change.model_dump(mode="json", exclude={"calendar_id"}) for change in changes],
    }
    return zlib.compress(orjson.dumps(said), 1)


async def read(work: Work, row: Row, carry: "Carry", *, limit: int) -> list[Row]:
    """The next tickets in the order they were made."""
    where, values = "", {}
    if carry.after is not None:
        where = " and (t.created_at, t.id) > (cast(:at as timestamptz), cast(:id as uuid))"
        values = {"at": carry.after[0], "id": carry.after[1]}
    return await work.rows(
        f"{_READ}{where} order by t.created_at, t.id limit :limit",
        {
            "tenant": work.tenant_id, "since": row["since"], "until": row["until"],
            "warm": row["since"] - WARM, "limit": limit, **values,
        },
    )  # fmt: skip


@dataclass(slots=True)
class Carry:
    """What a chunk leaves to the next: how both floors stand, and what only one has done yet."""

    floors: list[bytes | None]
    waiting: dict[str, tuple[int, list[object]]]  # by promise: whose floor, and how it was kept
    after: tuple[str, str] | None = None

    @classmethod
    def of(cls, packed: bytes | None) -> "Carry":
        if packed is None:
            return cls([None, None], {})
        size = int.from_bytes(packed[:4], "big")
        said = orjson.loads(packed[4 : 4 + size])
        floors: list[bytes | None] = []
        at = 4 + size
        for length in said["floors"]:
            floors.append(packed[at : at + length])
            at += length
        after = said["after"]
        return cls(floors, said["waiting"], tuple(after) if after else None)

    def packed(self) -> bytes:
        floors = [floor or b"" for floor in self.floors]
        said = orjson.dumps(
            {"floors": [len(f) for f in floors], "waiting": self.waiting, "after": self.after}
        )
        return b"".join((len(said).to_bytes(4, "big"), said, *floors))


@dataclass(frozen=True, slots=True)
class Passed:
    """What one floor did with a chunk."""

    floor: bytes
    kept: list[list[object]]
    asked: list[float]
    done: list[float]
    there: list[float]
    jobs: int


def advance(
    basis: bytes, which: int, floor: bytes | None, told: Sequence[Told], until: float | None
) -> Passed:
    """Lets the floor live through the tickets up to `until`; to the end where there is none."""
    known = _known(basis)
    crew = known.crews[which]
    load = Load(known.zone)
    model = Floor(crew, load)
    estimate = Estimate(known.pace)
    if floor:
        said = orjson.loads(zlib.decompress(floor))
        model.restore(said["model"])
        for team, bins in said["usual"].items():
            counts = {int(place): times for place, times in bins.items()}
            estimate.usual[team] = Histogram(counts, sum(counts.values()))
    else:
        for member in crew:
            load.stay(member.shifts, known.since, known.until)
    jobs = 0
    for number, timeline, promises in told:
        job = _job(number, timeline, promises, estimate)
        if job is not None:
            jobs += 1
            model.arrive(job)
    done = model.run(known.until if until is None else until)
    if until is None:
        done += model.end(known.until)
    usual = {team: {str(p): n for p, n in one.bins.items()} for team, one in estimate.usual.items()}
    packed = orjson.dumps({"model": model.state(), "usual": usual})
    return Passed(
        zlib.compress(packed, 1), [_kept(each) for each in done], load.asked, load.done,
        load.there, jobs,
    )  # fmt: skip


def compare(
    comparison: Comparison, carry: Carry, passed: Sequence[Passed], basis: bytes
) -> list[Turned]:
    """Counts what both floors have done by now; whose verdict turned."""
    known = _known(basis)
    zone = ZoneInfo(known.zone)
    turned = []
    for which, one in enumerate(passed):
        for kept in one.kept:
            key = f"{kept[0]}/{kept[1]}"
            other = carry.waiting.get(key)
            if other is None:
                carry.waiting[key] = (which, kept)
                continue
            if other[0] == which:
                continue
            del carry.waiting[key]
            both = (other[1], kept) if which else (kept, other[1])
            before, after = (Modelled(*each) for each in both)  # type: ignore[arg-type]
            found = comparison.add(before, after, since=known.since, until=known.until, zone=zone)
            if found is not None:
                turned.append(found)
    return turned


def load_after(before: object, passed: Sequence[Passed]) -> dict[str, object]:
    """Seconds by hour of the week, with those of a chunk: asked for, worked, there; by floor."""
    said = before if isinstance(before, Mapping) else {}

    def added(name: str, which: int, more: Sequence[float]) -> list[float]:
        was = said.get(name)
        sums = was[which] if isinstance(was, list) else [0.0] * len(more)
        return [round(a + b, 3) for a, b in zip(sums, more, strict=True)]

    return {
        "asked": [added("asked", n, one.asked) for n, one in enumerate(passed)],
        "done": [added("done", n, one.done) for n, one in enumerate(passed)],
        "there": [added("there", n, one.there) for n, one in enumerate(passed)],
    }


@dataclass(frozen=True, slots=True)
class _Known:
    crews: tuple[list[Member], list[Member]]
    pace: Mapping[str, Mapping[int, int]]
    since: float
    until: float
    zone: str


@lru_cache(maxsize=4)
def _known(basis: bytes) -> _Known:
    """The basis, understood once in each process."""
    said = orjson.loads(zlib.decompress(basis))
    people = [
        Person(
            id=one["id"],
            teams=tuple(one["teams"]),
            capacity=one["capacity"],
            skills=frozenset(one["skills"]),
            calendar=Calendar.model_validate(one["calendar"]) if one["calendar"] else None,
            hours=[hour for hour, _ in one["hours"]],
            answers=sum(answers for _, answers in one["hours"]),
        )
        for one in said["people"]
    ]
    changes = _CHANGES.validate_python(said["changes"], strict=False)
    return _Known(
        (
            today(people),
            under(people, changes, since=said["warm"], until=said["until"]),
        ),
        {one["id"]: dict(one["hours"]) for one in said["people"]},
        said["since"],
        said["until"],
        said["zone"],
    )


def _job(number: int, timeline: str | None, promises: str | None, estimate: Estimate) -> Job | None:
    heard = [Heard(*each) for each in orjson.loads(timeline or "[]")]
    kept: dict[str, Promise] = {}
    for each in orjson.loads(promises or "[]"):  # the last cycle of each
        kept[each[0]] = Promise(*each)
    return job_of(number, heard, tuple(kept.values()), estimate)


def _kept(each: Answered) -> list[object]:
    job, promise = each.job, each.promise
    return [
        job.number, promise.metric, job.team, promise.started, promise.due, promise.verdict,
        promise.done, each.at,
    ]  # fmt: skip
