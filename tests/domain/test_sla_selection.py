"""Which policy applies to a ticket, and why it does or does not."""

from uuid import UUID

import pytest
from pydantic import ValidationError

from domain.calendars import Calendar
from domain.desk import Desk, DeskSettings
from domain.sla import Metric, Policy, Subject, explain, matched
from domain.states import Category, Channel, Priority
from tests.domain.lives import KIM, LEE, OFFICE, TEAM_A, TEAM_B, promise

FIX = Metric.RESOLUTION
TICKET = Subject(
    category=Category.OPEN,
    status="in_progress",
    priority=Priority.HIGH,
    channel=Channel.EMAIL,
    organization_id=KIM,
    team_id=TEAM_A,
    tier="gold",
    tags=("vip", "billing"),
    fields={"plan": "Gold", "seats": 40, "trial": False, "areas": ["eu", "us"]},
    subject="The printer burns",
)


def policy(conditions: object, number: int = 1) -> Policy:
    return promise(FIX, policy=number, conditions=conditions).policy


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ({"field": "priority", "op": "is", "value": "high"}, True),
        ({"field": "priority", "op": "at_least", "value": "normal"}, True),
        ({"field": "priority", "op": "above", "value": "high"}, False),
        ({"field": "priority", "op": "in", "value": ["low", "urgent"]}, False),
        ({"field": "category", "value": "open"}, True),
        ({"field": "status", "value": "In_Progress"}, True),
        ({"field": "channel", "op": "is_not", "value": "email"}, False),
        ({"field": "organization", "value": str(KIM)}, True),
        ({"field": "team", "op": "in", "value": [str(KIM)]}, False),
        ({"field": "tier", "op": "in", "value": ["vip", "Gold"]}, True),
        ({"field": "tier", "op": "unset"}, False),
        ({"field": "assignee", "op": "unset"}, True),
        ({"field": "tags", "op": "has", "value": "VIP"}, True),
        ({"field": "tags", "op": "has_not", "value": "vip"}, False),
        ({"field": "fields.plan", "value": "gold"}, True),
        ({"field": "fields.seats", "op": "above", "value": 39}, True),
        ({"field": "fields.seats", "op": "at_most", "value": 39.5}, False),
        ({"field": "fields.seats", "op": "above", "value": "many"}, False),
        ({"field": "fields.trial", "value": False}, True),
        ({"field": "fields.areas", "op": "has", "value": "eu"}, True),
        ({"field": "fields.gone", "op": "set"}, False),
        ({"field": "subject", "op": "has", "value": "PRINTER"}, True),
        ({"all": []}, True),
        ({"any": []}, False),
        ({"not": {"field": "type", "op": "set"}}, True),
    ],
)
def test_a_test_holds_or_does_not(test: object, expected: bool) -> None:
    made = policy(test)
    assert made.applies_to(TICKET) is expected
    verdict = matched(made, TICKET)
    assert verdict.holds is expected
    assert Policy.model_validate_json(made.model_dump_json()) == made


def test_every_condition_says_whether_and_why_it_held() -> None:
    nested = policy(
        {
            "all": [
                {"field": "priority", "op": "at_least", "value": "high"},
                {"any": [
                    {"field": "fields.plan", "value": "silver"},
                    {"not": {"field": "tags", "op": "has", "value": "vip"}},
                ]},
            ]
        }
    )  # fmt: skip
    assert list(matched(nested, TICKET).lines()) == [
        "no: all: 1 of 2 hold",
        "  yes: priority is high; asked: at least high",
        "  no: any: 0 of 2 hold",
        "    no: fields.plan is Gold; asked: is silver",
        "    no: not",
        "      yes: tags is vip, billing; asked: has vip",
    ]
    assert nested.conditions is not None
    assert explain(nested.conditions, TICKET) == matched(nested, TICKET)


def test_the_first_policy_whose_conditions_hold_wins() -> None:
    vip, silver, rest = (
        policy({"field": "tags", "op": "has", "value": "vip"}, 1),
        policy({"field": "fields.plan", "value": "silver"}, 2),
        policy(None, 3),
    )
    desk = Desk(
        tenant_id=KIM, slug="x", config_version=1, settings=DeskSettings(), statuses={},
        policies=(silver, vip, rest), calendars={(UUID(int=99), 1): OFFICE},
    )  # fmt: skip
    chosen = desk.terms(TICKET)
    assert chosen is not None
    assert chosen.policy is vip
    other = desk.terms(Subject(category=Category.NEW))
    assert other is not None
    assert other.policy is rest
    assert desk.terms_of(silver.id, 1) is not None
    assert desk.terms_of(silver.id, 2) is None


def test_a_team_and_a_customer_have_hours_of_their_own_by_policies_ahead_of_the_rest() -> None:
    nights = Calendar.model_validate(
        {"timezone": "Asia/Tokyo", "weekly": {"mon": [("22:00", "06:00")]}}
    )
    own = {"calendar_id": UUID(int=98)}
    policies = (
        policy({"field": "organization", "value": str(LEE)}, 1).model_copy(update=own),
        policy({"field": "team", "value": str(TEAM_B)}, 2).model_copy(update=own),
        policy(None, 3),
    )
    desk = Desk(
        tenant_id=KIM, slug="x", config_version=1, settings=DeskSettings(), statuses={},
        policies=policies, calendars={(UUID(int=99), 1): OFFICE, (UUID(int=98), 1): nights},
    )  # fmt: skip

    def hours(team: UUID, organization: UUID | None = None) -> Calendar:
        terms = desk.terms(
            Subject(category=Category.OPEN, team_id=team, organization_id=organization)
        )
        assert terms is not None
        return terms.calendar

    assert hours(TEAM_A) is OFFICE
    assert hours(TEAM_B) is nights
    assert hours(TEAM_A, LEE) is nights


def test_a_policy_with_conditions_applies_to_nothing_unknown() -> None:
    assert not policy({"field": "tags", "op": "unset"}).applies_to(None)


@pytest.mark.parametrize(
    "conditions",
    [
        {"field": "password"},
        {"field": "fields."},
        {"field": "event.exploded"},
        {"field": "tags", "op": "matches", "value": ".*"},
        {"field": "tags", "op": "has", "value": ["a"]},
        {"some": []},
        {"all": [{"field": "tags", "op": "set"}] * 201},
        "true",
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused(conditions: object) -> None:
    with pytest.raises(ValidationError):
        policy(conditions)


def test_a_condition_is_only_so_deep() -> None:
    deep: dict[str, object] = {"field": "tags", "op": "set"}
    for _ in range(9):
        deep = {"not": deep}
    with pytest.raises(ValidationError, match="levels deep"):
        policy(deep)
