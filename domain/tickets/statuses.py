"""What it takes for a ticket to get into a status, and what that brings along."""

from domain.desk import Status
from domain.errors import Invalid, NeedsAssignee, StatusNotAllowed
from domain.states import ActorKind, Category
from domain.tickets.draft import Draft
from domain.tickets.state import Actor


def enter(draft: Draft, status: Status, *, actor: Actor, restoring: bool = False) -> None:
    """The ticket takes `status`, with all that its category brings along.

    `restoring` puts back what was true once, whatever a person would be asked for today.
    """
    before = draft.category
    category = status.category
    if category is Category.RESOLVED and draft.assignee_id is None and not restoring:
        _take_on_resolve(draft, actor)
    missing = [
        key for key in status.required_fields if draft.get("fields").get(key) in (None, "", [])
    ]
    if missing and actor.kind is ActorKind.USER and not restoring:
        raise Invalid(
            f"{status.name} needs {', '.join(missing)}.",
            fields={f"/fields/{key}": f"is needed for {status.name}" for key in missing},
        )
    draft.set("status", status.key)
    draft.set("category", category)
    if category is before:
        return
    if category is Category.RESOLVED:
        draft.answered()
        draft.set("resolved_at", draft.now)
        after = draft.desk.settings.auto_close_after
        draft.set("auto_close_at", draft.now + after if after is not None else None)
    else:
        draft.set("auto_close_at", None)
        if category is not Category.CLOSED:
            draft.set("resolved_at", None)
    draft.set("closed_at", draft.now if category is Category.CLOSED else None)
    if category.is_over or category is Category.RESOLVED:
        draft.wake()
    if category.is_over:
        draft.set("remind_at", None)
        draft.set("reminder", None)


def enter_category(draft: Draft, category: Category) -> None:
    """The ticket takes the desk's first status of that category."""
    enter(draft, draft.desk.status_for(category), actor=draft.event.actor)


def go(draft: Draft, key: str, *, actor: Actor) -> None:
    """A person (or a rule) asks for the status `key`: checked, then entered."""
    status = draft.desk.statuses.get(key)
    if status is None or not status.active:
        known = ", ".join(s.key for s in draft.desk.statuses.values() if s.active)
        raise Invalid(f"There is no status {key!r}.", fields={"/status": f"is one of {known}"})
    if key == draft.get("status"):
        return
    current = draft.desk.statuses.get(str(draft.get("status")))
    if status.category is Category.MERGED:
        raise StatusNotAllowed("A ticket becomes merged by merging it, not by its status.")
    if status.category is Category.NEW and draft.category is not Category.NEW:
        raise StatusNotAllowed("A ticket that was worked on cannot become new again.")
    if (
        current is not None
        and current.transitions is not None
        and key not in current.transitions
        and actor.kind is ActorKind.USER
    ):
        names = ", ".join(sorted(current.transitions)) or "nothing"
        raise StatusNotAllowed(f"From {current.name} a ticket may go to: {names}.")
    enter(draft, status, actor=actor)


def _take_on_resolve(draft: Draft, actor: Actor) -> None:
    if actor.kind is ActorKind.IMPORT:
        return  # it was resolved where it comes from, by whom we may never know
    if actor.kind is not ActorKind.USER or not draft.desk.settings.assign_on_resolve:
        raise NeedsAssignee(draft.was.number)
    assert actor.id is not None
    team = draft.desk.teams.get(draft.team_id) if draft.team_id else None
    if team is not None and actor.id not in team.members:
        own = [t.id for t in draft.desk.teams.values() if t.active and actor.id in t.members]
        draft.set("team_id", min(own) if own else None)
    draft.set("assignee_id", actor.id)
