"""Models, their measures, what people say is right, and the report, over HTTP."""

import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from psycopg.types.json import Jsonb

from api.resources import Resources
from domain.learning import Outcome, measured
from domain.permissions import Role
from domain.tickets import MODEL, Event, Triaged
from domain.triage import Guess, Prediction, Verdict
from models.base import new_id
from models.session import Database
from services import people
from services.tickets import Step
from tests.api.conftest import House, MakeHouse, make_ticket


def guess(label: str, *, abstained: bool = False) -> Prediction:
    return Prediction(
        label=label, probability=0.91, abstained=abstained, top=((label, 0.91), ("other", 0.05)),
        words=(("fire", 1.84),), strangeness=0.1, out_of_scope=False, model_version="m-1",
    )  # fmt: skip


async def triaged(resources: Resources, house: House, number: int, **changed: Guess) -> None:
    verdict = Verdict(
        topic=guess("billing"), priority=guess("high"), sentiment=guess("negative"),
        model_version="m-1", input_sha256="ab" * 32,
    ).model_copy(update=changed)  # fmt: skip
    event = Event(
        key=f"triage/{number}", actor=MODEL, cause={"model": "m-1"},
        payload=Triaged(verdict, frozenset({"topic", "sentiment"})),
    )  # fmt: skip
    async with resources.database.transaction(house.tenant_id) as work:
        await resources.tickets.handle(work, Step(number, event))


async def a_model(
    database: Database, house: House, version: int, state: str, *, right: int = 45
) -> uuid.UUID:
    """A model as a training leaves it."""
    model_id = new_id()
    outcomes = [Outcome("billing", "billing", 0.9, True)] * right
    outcomes += [Outcome("orders", "billing", 0.6, True)] * (50 - right)
    now = datetime.now(UTC)
    async with database.transaction(house.tenant_id) as work:
        await work.execute(
            "insert into triage_models (tenant_id, id, field, version, state, detail, rows, labels,"
            " measures, sha256, size_bytes, created_at, promoted_at, taught_until) values (:t, :id,"
            " 'topic', :v, :state, 'So it is.', 200, :labels, :m, :sha, 9, :now, :promoted, :now)",
            {
                "t": house.tenant_id, "id": model_id, "v": version, "state": state,
                "labels": Jsonb({"billing": 150, "orders": 50}),
                "m": Jsonb(measured(outcomes).model_dump(mode="json")), "sha": f"{version:064}",
                "now": now, "promoted": None if state == "refused" else now + timedelta(0, version),
            },
        )  # fmt: skip
    return model_id


async def test_the_analysis_says_what_was_thought_what_was_done_and_who_decided_otherwise(
    client: httpx.AsyncClient, resources: Resources, house: House
) -> None:
    ticket = await make_ticket(resources.database, resources.tickets, house)
    await triaged(resources, house, ticket.number)
    path = f"/api/v1/tickets/{ticket.number}/analysis"
    before = (await client.get(path, headers=house.agent)).json()
    standing = {one["field"]: one for one in before["questions"]}
    assert standing["topic"]["value"] == "billing"
    assert (standing["topic"]["applied"], standing["priority"]["applied"]) == (True, False)
    assert standing["priority"]["suggestion"]["label"] == "high"
    assert standing["team"]["suggestion"] is None
    assert standing["topic"]["suggestion"]["words"] == [{"word": "fire", "weight": 1.84}]
    assert [one["label"] for one in standing["topic"]["suggestion"]["top"]] == ["billing", "other"]
    [verdict] = before["verdicts"]
    assert (verdict["model_version"], verdict["input_sha256"]) == ("m-1", "ab" * 32)
    assert verdict["applied"] == ["topic", "sentiment"]
    reasons = {one["name"]: one["points"] for one in before["score"]["contributions"]}
    assert reasons["priority"] == pytest.approx(26 * 0.91, abs=0.05)
    assert reasons["sentiment"] == pytest.approx(9.1)

    answer = await client.post(
        f"{path}/feedback",
        json={"topic": "outage", "priority": "urgent", "reason": "It burns."},
        headers=house.agent,
    )
    assert answer.status_code == 200, answer.text
    assert (answer.json()["topic"], answer.json()["priority"]) == ("outage", "urgent")
    after = (await client.get(path, headers=house.agent)).json()
    topic = next(one for one in after["questions"] if one["field"] == "topic")
    assert (topic["value"], topic["overridden"]) == ("outage", True)
    assert topic["decided_by_id"] == str(house.users[Role.AGENT])
    assert topic["decided_by_name"] == "Agent"
    assert after["score"]["value"] > before["score"]["value"]


async def test_spam_is_marked_by_a_person_listed_apart_and_taken_back(
    client: httpx.AsyncClient, resources: Resources, house: House
) -> None:
    ticket = await make_ticket(resources.database, resources.tickets, house)
    await triaged(resources, house, ticket.number, spam=guess("spam"), language=guess("de"))
    path = f"/api/v1/tickets/{ticket.number}"
    before = (await client.get(path, headers=house.agent)).json()
    assert (before["spam"], before["tags"], before["language"]) == (None, [], None)
    questions = (await client.get(f"{path}/analysis", headers=house.agent)).json()["questions"]
    said = {one["field"]: one for one in questions}
    assert said["spam"]["suggestion"]["label"] == "spam"
    assert (said["spam"]["applied"], said["language"]["suggestion"]["label"]) == (False, "de")
    marked = await client.post(
        f"{path}/analysis/feedback", json={"spam": "spam", "language": "en"}, headers=house.agent
    )
    assert marked.status_code == 200, marked.text
    assert (marked.json()["spam"], marked.json()["tags"]) == ("spam", ["spam"])
    assert marked.json()["language"] == "en"
    for wanted, numbers in (("true", [ticket.number]), ("false", []), ("any", [ticket.number])):
        listed = await client.get(f"/api/v1/tickets?spam={wanted}", headers=house.agent)
        assert [one["number"] for one in listed.json()["items"]] == numbers
    taken_back = await client.post(
        f"{path}/analysis/feedback", json={"spam": "not_spam"}, headers=house.agent
    )
    assert (taken_back.json()["spam"], taken_back.json()["tags"]) == ("not_spam", [])


async def test_a_list_sorted_by_score_says_what_the_analysis_says(
    client: httpx.AsyncClient, resources: Resources, house: House
) -> None:
    numbers = []
    for subject in ("One", "Two", "Three"):
        ticket = await make_ticket(resources.database, resources.tickets, house, subject=subject)
        numbers.append(ticket.number)
    await client.post(
        f"/api/v1/tickets/{numbers[1]}/analysis/feedback",
        json={"priority": "urgent", "sentiment": "negative"}, headers=house.agent,
    )  # fmt: skip
    listed = (await client.get("/api/v1/tickets?sort=-score", headers=house.agent)).json()["items"]
    assert listed[0]["number"] == numbers[1]
    assert [one["score"] for one in listed] == sorted((o["score"] for o in listed), reverse=True)
    for one in listed:
        path = f"/api/v1/tickets/{one['number']}/analysis"
        assert (await client.get(path, headers=house.agent)).json()["score"]["value"] == one[
            "score"
        ]
    assert listed[0]["score"] >= 50
    few = await client.get("/api/v1/tickets?score_from=50", headers=house.agent)
    assert [one["number"] for one in few.json()["items"]] == [numbers[1]]
    # Two other tickets of the same customer came before the third.
    third = (await client.get(f"/api/v1/tickets/{numbers[2]}/analysis", headers=house.agent)).json()
    reasons = {one["name"]: one["points"] for one in third["score"]["contributions"]}
    assert reasons["recent_tickets"] == 4


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"topic": "unheard of"}, "/topic"),
        ({"sentiment": "furious"}, "/sentiment"),
        ({}, "/topic"),
        ({}, "/language"),
        ({"reason": "because"}, "/sentiment"),
        ({"topic": None}, "/topic"),
        ({"priority": "high", "spam": None}, "/spam"),
        ({"team_id": str(uuid.UUID(int=5))}, "/team_id"),
        ({"spam": "maybe"}, "/spam"),
        ({"language": "German"}, "/language"),
        ({"language": "xx"}, "/language"),
        ({"reason": "a\0b", "topic": "billing"}, "/reason"),
    ],
)
async def test_feedback_that_says_nothing_true_is_refused(
    client: httpx.AsyncClient,
    resources: Resources,
    house: House,
    body: dict[str, object],
    pointer: str,
) -> None:
    ticket = await make_ticket(resources.database, resources.tickets, house)
    answer = await client.post(
        f"/api/v1/tickets/{ticket.number}/analysis/feedback", json=body, headers=house.agent
    )
    assert answer.status_code == 422, answer.text
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert pointer in pointers
    assert "" not in pointers
    untouched = await client.get(f"/api/v1/tickets/{ticket.number}", headers=house.agent)
    assert untouched.json()["seq"] == ticket.seq


async def test_a_ticket_that_is_not_there_is_404_whatever_is_said_of_it(
    client: httpx.AsyncClient, house: House
) -> None:
    for said in ({"topic": "unheard of"}, {"topic": "billing"}):
        answer = await client.post(
            "/api/v1/tickets/987654/analysis/feedback", json=said, headers=house.agent
        )
        assert answer.status_code == 404, answer.text


async def test_feedback_on_a_ticket_out_of_reach_is_404_and_on_one_only_seen_403(
    client: httpx.AsyncClient, resources: Resources, house: House
) -> None:
    async with resources.database.transaction(house.tenant_id) as work:
        other = await people.create_team(
            work, name="Second line", routing="manual", now=datetime.now(UTC)
        )
    ticket = await make_ticket(resources.database, resources.tickets, house, team_id=other)
    path = f"/api/v1/tickets/{ticket.number}/analysis"
    assert (await client.get(path, headers=house.agent)).status_code == 404
    said = {"sentiment": "negative"}
    refused = await client.post(f"{path}/feedback", json=said, headers=house.agent)
    assert refused.status_code == 404
    seen = await client.post(f"{path}/feedback", json=said, headers=house.headers[Role.VIEWER])
    assert seen.status_code == 403


async def test_how_a_question_is_answered_can_be_changed_and_is_audited(
    client: httpx.AsyncClient, house: House
) -> None:
    before = (await client.get("/api/v1/triage/fields", headers=house.admin)).json()
    assert {one["field"]: (one["apply"], one["applied"]) for one in before} == {
        "topic": ("earned", False),
        "priority": ("earned", False),
        "sentiment": ("earned", False),
        "team": ("earned", False),
        "spam": ("earned", False),
        "language": ("always", True),
    }
    assert next(one for one in before if one["field"] == "team")["labels"] == [str(house.team_id)]
    changed = await client.patch(
        "/api/v1/triage/fields/topic",
        json={"apply": "always", "wanted_precision": 0.95, "labels": ["network", "invoices"]},
        headers=house.admin,
    )
    assert changed.status_code == 200, changed.text
    said = changed.json()
    assert (said["apply"], said["wanted_precision"], said["labels"], said["applied"]) == (
        "always", 0.95, ["network", "invoices"], True,
    )  # fmt: skip
    audit = (await client.get("/api/v1/audit", headers=house.admin)).json()["items"]
    assert audit[0]["action"] == "triage_field.changed"
    back = await client.patch(
        "/api/v1/triage/fields/topic", json={"labels": None}, headers=house.admin
    )
    assert (back.json()["own_labels"], back.json()["wanted_precision"]) == (False, 0.95)


@pytest.mark.parametrize(
    ("field", "body", "status"),
    [
        ("topic", {"labels": ["one"]}, 422),
        ("topic", {"labels": ["one", " "]}, 422),
        ("topic", {"labels": [str(n) for n in range(151)]}, 422),
        ("priority", {"labels": ["soon", "later"]}, 422),
        ("topic", {"wanted_precision": 0.2}, 422),
        ("topic", {"wanted_precision": None}, 422),
        ("topic", {"threshold": 1.01}, 422),
        ("topic", {"threshold": -0.1}, 422),
        ("topic", {"threshold": "half"}, 422),
        ("topic", {"apply": "sometimes"}, 422),
        ("mood", {"wanted_precision": 0.9}, 422),
    ],
)
async def test_what_cannot_be_a_setting_is_refused(
    client: httpx.AsyncClient, house: House, field: str, body: dict[str, object], status: int
) -> None:
    answer = await client.patch(f"/api/v1/triage/fields/{field}", json=body, headers=house.admin)
    assert answer.status_code == status, answer.text


async def test_a_training_is_queued_once_and_can_be_cancelled(
    client: httpx.AsyncClient, resources: Resources, house: House
) -> None:
    body = {"field": "priority"}
    made = await client.post("/api/v1/triage/models", json=body, headers=house.admin)
    assert made.status_code == 202, made.text
    assert (made.json()["state"], made.json()["version"]) == ("queued", 1)
    again = await client.post("/api/v1/triage/models", json=body, headers=house.admin)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    async with resources.database.transaction(house.tenant_id) as work:
        told = await work.rows("select kind, ticket_id from outbox where kind = 'retrain'")
    assert [str(one["ticket_id"]) for one in told] == [made.json()["id"]]
    path = f"/api/v1/triage/models/{made.json()['id']}"
    stopped = await client.post(f"{path}/cancel", headers=house.admin)
    assert stopped.json()["state"] == "cancelled"
    assert (await client.post(f"{path}/cancel", headers=house.admin)).status_code == 409
    promoted = await client.post(f"{path}/promote", json={"anyway": True}, headers=house.admin)
    assert promoted.status_code == 409  # it has no file
    third = await client.post("/api/v1/triage/models", json=body, headers=house.admin)
    assert third.json()["version"] == 2


async def test_models_show_their_measures_and_change_places(
    client: httpx.AsyncClient, resources: Resources, house: House
) -> None:
    first = await a_model(resources.database, house, 1, "retired")
    second = await a_model(resources.database, house, 2, "champion", right=48)
    third = await a_model(resources.database, house, 3, "refused", right=30)
    listed = (await client.get("/api/v1/triage/models?field=topic", headers=house.admin)).json()
    assert {one["version"]: one["state"] for one in listed} == {
        1: "retired", 2: "champion", 3: "refused",
    }  # fmt: skip
    shown = (await client.get(f"/api/v1/triage/models/{second}", headers=house.admin)).json()
    assert shown["measures"]["accuracy"] == pytest.approx(0.96)
    assert shown["confusion"][0] == {"right": "billing", "guess": "billing", "rows": 48}
    assert sum(one["rows"] for one in shown["reliability"]) == 50
    assert shown["labels"] == {"billing": 150, "orders": 50}

    worse = f"/api/v1/triage/models/{third}/promote"
    refused = await client.post(worse, json={}, headers=house.admin)
    assert (refused.status_code, refused.json()["code"]) == (409, "worse_model")
    silent = await client.post(worse, json={"anyway": True}, headers=house.admin)
    assert silent.status_code == 422
    assert [one["pointer"] for one in silent.json()["errors"]] == ["/reason"]
    insisted = await client.post(
        worse, json={"anyway": True, "reason": "Its rows were odd."}, headers=house.admin
    )
    assert insisted.json()["state"] == "champion"
    audit = (await client.get("/api/v1/audit", headers=house.admin)).json()["items"]
    assert audit[0]["data"]["reason"] == "Its rows were odd."

    async def answers() -> str | None:
        fields = (await client.get("/api/v1/triage/fields", headers=house.admin)).json()
        model: str | None = fields[0]["model"]
        return model

    back = "/api/v1/triage/fields/topic/rollback"
    for wanted in ("topic-2", "topic-1", None):
        assert (await client.post(back, headers=house.admin)).json()["model"] == wanted
        assert await answers() == wanted
    assert (await client.post(back, headers=house.admin)).status_code == 409
    again = await client.post(
        f"/api/v1/triage/models/{first}/promote", json={}, headers=house.admin
    )
    assert again.json()["state"] == "champion"


async def test_no_way_leads_a_refused_model_back_into_force_but_insisting(
    client: httpx.AsyncClient, resources: Resources, house: House
) -> None:
    good = await a_model(resources.database, house, 1, "champion", right=48)
    bad = await a_model(resources.database, house, 2, "refused", right=30)
    insist = {"anyway": True, "reason": "To see."}

    async def post(path: str, body: object = None) -> httpx.Response:
        return await client.post(f"/api/v1/triage/{path}", json=body, headers=house.admin)

    async def of(model: uuid.UUID) -> tuple[str, str, str | None]:
        path = f"/api/v1/triage/models/{model}"
        found = (await client.get(path, headers=house.admin)).json()
        return found["state"], found["detail"], found["objection"]

    assert (await post(f"models/{bad}/promote", insist)).status_code == 200
    # Rolled back, and replaced by hand: it is refused again, and says why.
    assert (await post("fields/topic/rollback")).json()["model"] == "topic-1"
    assert await of(bad) == ("refused", "So it is. Rolled back.", "So it is.")
    again = await post(f"models/{bad}/promote", {})
    assert (again.status_code, again.json()["code"]) == (409, "worse_model")
    assert (await post(f"models/{bad}/promote", insist)).status_code == 200
    assert (await post(f"models/{good}/promote", {})).status_code == 200
    assert (await of(bad))[::2] == ("refused", "So it is.")
    assert (await post(f"models/{bad}/promote", {})).status_code == 409
    # Stepping back passes it over, though it has answered since.
    assert (await post("fields/topic/rollback")).json()["model"] is None
    assert (await of(bad))[0] == "refused"


async def test_a_model_that_a_better_one_replaced_needs_insisting_too(
    client: httpx.AsyncClient, resources: Resources, house: House
) -> None:
    first = await a_model(resources.database, house, 1, "retired", right=40)
    second = await a_model(resources.database, house, 2, "champion", right=48)
    async with resources.database.transaction(house.tenant_id) as work:
        await work.execute(
            "update triage_models set replaced_by = 2 where tenant_id = :t and version = 1",
            {"t": house.tenant_id},
        )
    path = f"/api/v1/triage/models/{first}/promote"
    refused = await client.post(path, json={}, headers=house.admin)
    assert (refused.status_code, refused.json()["code"]) == (409, "worse_model")
    assert "Version 2 was measured to be better" in refused.json()["detail"]
    # Stepping back to it is a decision of its own; then nothing better answers.
    back = await client.post("/api/v1/triage/fields/topic/rollback", headers=house.admin)
    assert back.json()["model"] == "topic-1"
    forth = await client.post(
        f"/api/v1/triage/models/{second}/promote", json={}, headers=house.admin
    )
    assert forth.status_code == 200


async def test_a_threshold_set_by_hand_shows_what_is_reached_there(
    client: httpx.AsyncClient, resources: Resources, house: House
) -> None:
    await a_model(resources.database, house, 1, "champion", right=45)  # .9 sure, five wrong at .6

    async def patched(**body: object) -> dict[str, object]:
        answer = await client.patch("/api/v1/triage/fields/topic", json=body, headers=house.admin)
        assert answer.status_code == 200, answer.text
        said: dict[str, object] = answer.json()
        return said

    before = await patched(wanted_precision=0.95)
    assert (before["threshold_by_hand"], before["precision"]) == (False, 0.9)
    assert before["applied"] is False
    above = await patched(threshold=0.7001)
    assert (above["threshold"], above["threshold_by_hand"]) == (0.7, True)
    assert (above["answered"], above["coverage"], above["precision"]) == (45, 0.9, 1.0)
    assert above["applied"] is True
    nobody = await patched(threshold=1)
    assert (nobody["answered"], nobody["applied"]) == (0, False)
    back = await patched(threshold=None)
    assert (back["threshold_by_hand"], back["applied"]) == (False, False)


async def test_when_models_learn_is_the_desks_own_choice_and_audited(
    client: httpx.AsyncClient, house: House
) -> None:
    path = "/api/v1/triage/schedule"
    before = (await client.get(path, headers=house.admin)).json()
    assert (before["enabled"], before["every_days"], before["hour"]) == (True, 1, 2)
    assert (before["zone"], before["least_new"], before["last"]) == ("UTC", 25, None)
    assert before["next"] is not None
    changed = await client.patch(
        path,
        json={"every_days": 7, "hour": 4, "zone": "Asia/Kolkata", "least_new": 60},
        headers=house.admin,
    )
    assert changed.status_code == 200, changed.text
    turn = datetime.fromisoformat(changed.json()["next"])
    assert datetime.now(UTC) < turn <= datetime.now(UTC) + timedelta(days=7)
    assert (turn.hour, turn.minute) == (22, 30)  # four in the morning there
    tenant = (await client.get("/api/v1/tenant", headers=house.admin)).json()
    assert tenant["settings"]["retraining"]["least_new"] == 60
    audit = (await client.get("/api/v1/audit", headers=house.admin)).json()["items"]
    assert audit[0]["action"] == "tenant.changed"
    assert audit[0]["data"]["changes"]["settings.retraining"][1]["hour"] == 4
    off = await client.patch(path, json={"enabled": False}, headers=house.admin)
    assert (off.json()["next"], off.json()["hour"]) == (None, 4)
    for wrong, pointer in (
        ({"hour": 24}, "/hour"),
        ({"zone": "Mars/Base"}, "/zone"),
        ({"least_new": 0}, "/least_new"),
        ({"enabled": None}, "/enabled"),
    ):
        refused = await client.patch(path, json=wrong, headers=house.admin)
        assert refused.status_code == 422
        assert [one["pointer"] for one in refused.json()["errors"]] == [pointer]
    for method in ("GET", "PATCH"):
        theirs = await client.request(method, path, json={"hour": 1}, headers=house.agent)
        assert theirs.status_code == 403


async def test_a_backtest_needs_a_model_that_can_be_asked(
    client: httpx.AsyncClient, resources: Resources, house: House
) -> None:
    path = "/api/v1/triage/backtests"
    model = await a_model(resources.database, house, 1, "retired")
    for body, status in (
        ({"field": "topic", "model_id": str(model)}, 202),
        ({"field": "topic"}, 202),
        ({"field": "priority", "model_id": str(model)}, 422),
        ({"field": "team"}, 422),
        ({"field": "topic", "model_id": str(uuid.UUID(int=3))}, 422),
        ({"field": "topic", "tickets": 0}, 422),
    ):
        answer = await client.post(path, json=body, headers=house.admin)
        assert answer.status_code == status, (body, answer.text)
    made = await client.post(path, json={"field": "topic"}, headers=house.admin)
    shown = await client.get(f"{path}/{made.json()['id']}", headers=house.admin)
    assert (shown.json()["state"], shown.json()["measures"]) == ("queued", None)


async def test_another_desks_model_is_not_there_by_any_path(
    client: httpx.AsyncClient, resources: Resources, house: House, make_house: MakeHouse
) -> None:
    theirs = await make_house()
    states = ("champion", "retired", "refused", "training")
    models = [
        await a_model(resources.database, theirs, version, state)
        for version, state in enumerate(states, start=1)
    ]
    own = await a_model(resources.database, house, 1, "champion")

    async def shown(of: House) -> object:
        answer = await client.get("/api/v1/triage/models", headers=of.admin)
        assert answer.status_code == 200
        return answer.json()

    before = await shown(theirs), await shown(house)
    for model in models:
        path = f"/api/v1/triage/models/{model}"
        for method, asked, body in (
            ("GET", path, None),
            ("POST", f"{path}/cancel", {}),
            ("POST", f"{path}/promote", {}),
            ("POST", f"{path}/promote", {"anyway": True}),
        ):
            answer = await client.request(method, asked, json=body, headers=house.admin)
            assert answer.status_code == 404, (asked, answer.text)
        about = {"field": "topic", "model_id": str(model)}
        asked_past = await client.post("/api/v1/triage/backtests", json=about, headers=house.admin)
        unknown = {"field": "topic", "model_id": str(uuid.UUID(int=4))}
        nobodys = await client.post("/api/v1/triage/backtests", json=unknown, headers=house.admin)
        # As if there were no such model at all: an answer of its own would say that there is.
        assert asked_past.status_code == nobodys.status_code == 422
        assert asked_past.json()["detail"] == nobodys.json()["detail"]
    backtest = await client.post(
        "/api/v1/triage/backtests", json={"field": "topic"}, headers=theirs.admin
    )
    path = f"/api/v1/triage/backtests/{backtest.json()['id']}"
    assert (await client.get(path, headers=house.admin)).status_code == 404
    assert (await shown(theirs), await shown(house)) == before
    # Rolling back goes to what ships, never to what another desk had before.
    back = await client.post("/api/v1/triage/fields/topic/rollback", headers=house.admin)
    assert back.json()["model"] is None
    assert [one["id"] for one in (await client.get(
        "/api/v1/triage/models", headers=house.admin)).json()] == [str(own)]  # fmt: skip


async def test_the_report_counts_answers_corrections_and_what_was_withheld(
    client: httpx.AsyncClient, resources: Resources, house: House
) -> None:
    numbers = [
        (await make_ticket(resources.database, resources.tickets, house)).number for _ in range(5)
    ]
    for number in numbers[:3]:
        await triaged(resources, house, number)
    await triaged(resources, house, numbers[3], topic=guess("billing", abstained=True))
    for number, topic in zip(numbers, ("billing", "outage", None, "billing"), strict=False):
        if topic:
            await client.post(
                f"/api/v1/tickets/{number}/analysis/feedback",
                json={"topic": topic},
                headers=house.admin,
            )
    report = (await client.get("/api/v1/reports/triage", headers=house.admin)).json()
    assert (report["tickets"], report["complete"]) == (4, True)
    topic = next(one for one in report["questions"] if one["field"] == "topic")
    assert (topic["asked"], topic["answered"], topic["coverage"]) == (4, 3, 0.75)
    assert (topic["judged"], topic["right"], topic["corrected"]) == (2, 1, 1)
    assert topic["precision"] == 0.5
    assert (topic["withheld_right"], topic["withheld_wrong"]) == (1, 0)
    assert sum(week["asked"] for week in topic["weeks"]) == 4
    agent = await client.get("/api/v1/reports/triage", headers=house.agent)
    assert agent.status_code == 403
    backwards = "/api/v1/reports/triage?start=2026-05-05T00:00:00Z&end=2026-05-04T00:00:00Z"
    assert (await client.get(backwards, headers=house.admin)).status_code == 422
