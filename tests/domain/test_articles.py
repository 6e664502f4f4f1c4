"""An article's life and address."""

import pytest

from domain.articles import State, StepNotAllowed, slug_of, step
from domain.permissions import GRANTS, Permission, Role


@pytest.mark.parametrize(
    ("before", "after", "needed"),
    [
        (State.DRAFT, State.REVIEW, Permission.KNOWLEDGE_WRITE),
        (State.REVIEW, State.DRAFT, Permission.KNOWLEDGE_WRITE),
        (State.DRAFT, State.PUBLISHED, Permission.KNOWLEDGE_PUBLISH),
        (State.REVIEW, State.PUBLISHED, Permission.KNOWLEDGE_PUBLISH),
        (State.PUBLISHED, State.ARCHIVED, Permission.KNOWLEDGE_PUBLISH),
        (State.ARCHIVED, State.DRAFT, Permission.KNOWLEDGE_PUBLISH),
    ],
)
def test_what_each_step_takes(before: State, after: State, needed: Permission) -> None:
    assert step(before, after) is needed


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (State.PUBLISHED, State.PUBLISHED),
        (State.PUBLISHED, State.DRAFT),
        (State.ARCHIVED, State.PUBLISHED),
        (State.DRAFT, State.DRAFT),
    ],
)
def test_what_is_no_step_is_refused_with_the_ways_there_are(before: State, after: State) -> None:
    with pytest.raises(StepNotAllowed, match=f"from {before.value} to"):
        step(before, after)


def test_whatever_is_shown_to_readers_was_let_through_by_a_publisher() -> None:
    for before in State:
        for after in (State.PUBLISHED, State.ARCHIVED):
            try:
                assert step(before, after) is Permission.KNOWLEDGE_PUBLISH
            except StepNotAllowed:
                continue
    assert Permission.KNOWLEDGE_PUBLISH not in GRANTS[Role.AGENT]
    assert Permission.KNOWLEDGE_WRITE not in GRANTS[Role.VIEWER]


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Restart your router", "restart-your-router"),
        ("  Größe & Straße?! ", "grosse-strasse"),
        ("Été à l'école", "ete-a-l-ecole"),
        ("密码", "article"),
        ("../../etc/passwd", "etc-passwd"),
        ("x" * 300, "x" * 80),
    ],
)
def test_an_address_is_made_from_a_title(title: str, slug: str) -> None:
    assert slug_of(title) == slug
