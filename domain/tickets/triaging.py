"""What models say about a ticket, and what people say is right."""

from domain.states import Priority
from domain.tickets.draft import Draft
from domain.tickets.events import Keep, Labelled, Triaged
from domain.tickets.handing import assign, hand_out
from domain.tickets.shapes import clean_tags
from domain.triage import Spam, Verdict

SPAM_TAG = "spam"
# What a verdict simply fills in; the rest has rules of its own.
_FILLED = ("topic", "sentiment", "spam", "language")


def triaged(draft: Draft, said: Triaged) -> None:
    """A model's verdict counts only where nobody has decided meanwhile."""
    verdict = said.verdict
    draft.set("triage", "done")
    draft.set("verdict", verdict.model_dump(mode="json"))
    applied: list[str] = []
    for name in _FILLED:
        guess = getattr(verdict, name)
        if (
            guess is None
            or guess.abstained
            or name not in said.apply
            or name in draft.decisions
            or (name == "language" and draft.get(name) is not None)  # as the customer has said
        ):
            continue
        _fill(draft, name, guess.label)
        applied.append(name)
    if (
        "priority" in said.apply
        and not verdict.priority.abstained
        and draft.get("priority") is None
        and "priority" not in draft.decisions
        and draft.category.is_active
    ):
        draft.set("priority", Priority(verdict.priority.label))
        applied.append("priority")
    if "team" in said.apply and _sent_by_model(draft, verdict):
        applied.append("team")
    draft.record(
        "triaged",
        data={
            "model_version": verdict.model_version,
            "applied": applied,
            "topic": [verdict.topic.label, round(verdict.topic.probability, 3)],
            "priority": [verdict.priority.label, round(verdict.priority.probability, 3)],
            "sentiment": [verdict.sentiment.label, round(verdict.sentiment.probability, 3)],
            "verdict": verdict.model_dump(mode="json"),
        },
    )
    draft.observe()


def _sent_by_model(draft: Draft, verdict: Verdict) -> bool:
    """The ticket has the team that a model named: one that is still there, where nobody chose."""
    guess = verdict.team
    if guess is None or guess.abstained or draft.team_id or not draft.category.is_active:
        return False
    if draft.is_spam or {"team_id", "assignee_id"} & set(draft.decisions):
        return False
    team = next((t for t in draft.desk.teams.values() if str(t.id) == guess.label), None)
    if team is None or not team.active:
        return False
    assign(draft, team_id=team.id, assignee_id=Keep(), actor=draft.event.actor)
    return True


def labelled(draft: Draft, said: Labelled) -> None:
    """What a person says is right becomes so, and stays: no verdict after it touches that."""
    labels: dict[str, object] = {}
    was_spam = draft.is_spam
    for name, value in (
        ("topic", said.topic),
        ("priority", said.priority),
        ("sentiment", said.sentiment),
        ("spam", said.spam),
        ("language", said.language),
    ):
        if value is not None:
            labels[name] = value
            _fill(draft, name, value)
            draft.decided(name)
    if said.team_id is not None:
        labels["team"] = said.team_id
        assign(draft, team_id=said.team_id, assignee_id=Keep(), actor=draft.event.actor)
        draft.decided("team_id")
    draft.record(
        "labelled",
        data={"labels": labels, **({"reason": said.reason} if said.reason else {})},
    )
    draft.observe()
    if was_spam and not draft.is_spam:
        hand_out(draft)  # it was kept back until now


def _fill(draft: Draft, name: str, value: str) -> None:
    draft.set(name, value)
    if name == "spam":  # as a tag too: rules, lists and searches know tags
        others = [tag for tag in draft.tags if tag != SPAM_TAG]
        draft.set("tags", clean_tags([*others, *([SPAM_TAG] if value == Spam.SPAM else [])]))
