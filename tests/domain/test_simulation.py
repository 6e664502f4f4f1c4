"""Which policy would have timed a ticket, had the order of policies been another."""

from uuid import UUID

from domain.simulation import Order, ordered
from domain.sla import Policy, Subject
from domain.states import Category, Priority

OPEN = Subject(category=Category.OPEN)
URGENT = Subject(category=Category.OPEN, priority=Priority.URGENT)


def policy(number: int, *, urgent: bool = False, version: int = 1) -> Policy:
    condition = {"field": "priority", "op": "is", "value": "urgent"} if urgent else None
    return Policy.model_validate(
        {"id": UUID(int=number), "version": version, "name": str(number),
         "calendar_id": UUID(int=99), "calendar_version": 1, "conditions": condition}
    )  # fmt: skip


FIRST, SECOND, THIRD = policy(1, urgent=True, version=3), policy(2, version=2), policy(3)
STORED = [(FIRST, True), (SECOND, True), (THIRD, False)]


def names(order: Order) -> list[int]:
    return [each.id.int for each in order.present]


def test_drafts_stand_where_they_say_and_new_ones_behind_all_others() -> None:
    new = policy(4)
    behind = ordered(STORED, [(new, None)], changed=frozenset({new.id}))
    assert names(behind) == [1, 2, 4]
    ahead = ordered(STORED, [(new, 1), (policy(5), 3)], changed=frozenset({new.id}))
    assert names(ahead) == [4, 1, 5, 2]
    moved = ordered(STORED, [(FIRST, 9), (THIRD, None)], changed=frozenset({FIRST.id}))
    assert names(moved) == [2, 3, 1]
    gone = ordered(STORED, [], changed=frozenset({FIRST.id}), retired=frozenset({FIRST.id}))
    assert names(gone) == [2]


def test_what_no_draft_concerns_stays_as_it_was_down_to_the_version() -> None:
    new = policy(4, urgent=True)
    order = ordered(STORED, [(new, 2)], changed=frozenset({new.id}))
    # In version 1 the second policy was for everybody urgent too: it is not asked again.
    assert order.choose((SECOND.id, 1), OPEN) == (SECOND.id, 1)
    assert order.choose((FIRST.id, 1), URGENT) == (FIRST.id, 1)
    assert order.choose((SECOND.id, 1), URGENT) == (new.id, 1)
    assert order.choose((THIRD.id, 1), URGENT) == (new.id, 1)
    assert order.choose(None, URGENT) == (new.id, 1)
    assert order.choose(None, OPEN) is None


def test_what_a_draft_lets_go_falls_to_those_that_stood_behind_it() -> None:
    """Those ahead were asked when it was recorded, and did not apply."""
    nobody = policy(2).model_copy(update={"conditions": FIRST.conditions})
    last = policy(6)
    stored = [(policy(1), True), (SECOND, True), (last, True)]
    order = ordered(stored, [(nobody, None)], changed=frozenset({nobody.id}))
    assert order.choose((SECOND.id, 2), OPEN) == (last.id, 1)
    assert order.choose((SECOND.id, 2), URGENT) == (nobody.id, 1)
