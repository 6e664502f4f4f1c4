"""What models say about a ticket, and what people say is right."""

from collections.abc import Mapping

from domain.states import ActorKind, Priority
from domain.tickets.draft import Draft
from domain.tickets.events import Keep, Labelled, MoodRead, Triaged
from domain.tickets.handing import assign, hand_out
from domain.tickets.shapes import clean_tags
from domain.triage import Frustration, Sentiment, Spam, Verdict

SPAM_TAG = "spam"
# What a verdict simply fills in; the rest has rules of its own.
_FILLED = ("topic", "sentiment", "spam", "language")


def triaged(draft: Draft, said: Triaged) -> None:
    """A model's verdict counts only where nobody has decided meanwhile."""
    verdict = said.verdict
    draft.set("triage", "done")
    if _is_calmed(draft):
        verdict = verdict.model_copy(update={"frustration": None})
    draft.set("verdict", verdict.model_dump(mode="json"))
    draft.set("frustration", verdict.frustration.level if verdict.frustration else None)
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


def mood_read(draft: Draft, said: MoodRead) -> None:
    """How the customer sounds by now, where nobody has said so and nothing newer waits to be read.

    A mood that is withheld leaves the one before. Frustration is read by rules, so it always
    follows the last words.
    """
    if draft.get("mood_due") != said.of_seq:
        return  # there are newer words, or a person has judged them
    draft.set("mood_due", None)
    applied: list[str] = []
    verdict = draft.get("verdict")
    kept = dict(verdict) if isinstance(verdict, Mapping) else {}
    guess = said.sentiment
    if guess is not None and not guess.abstained and "sentiment" not in draft.decisions:
        kept["sentiment"] = guess.model_dump(mode="json")
        if "sentiment" in said.apply:
            draft.set("sentiment", guess.label)
            applied.append("sentiment")
    if said.frustration is not None:
        kept["frustration"] = said.frustration.model_dump(mode="json")
        draft.set("frustration", said.frustration.level)
    if kept:
        draft.set("verdict", kept)
    draft.record(
        "mood_read",
        data={
            "message_id": said.message_id,
            "message_seq": said.of_seq,
            "model_version": said.model_version,
            "input_sha256": said.input_sha256,
            "applied": applied,
            "sentiment": guess.model_dump(mode="json") if guess else None,
            "frustration": _written(said.frustration),
        },
    )
    draft.observe()


def unread(draft: Draft) -> None:
    """The entry that is being filled brings words of the customer, whose mood is to be read."""
    if draft.desk.settings.triage and draft.event.actor.kind is not ActorKind.IMPORT:
        draft.set("mood_due", draft.next_seq)


def _is_calmed(draft: Draft) -> bool:
    """Whether a person has said that this customer is not unhappy."""
    return "sentiment" in draft.decisions and draft.get("sentiment") != Sentiment.NEGATIVE


def _written(frustration: Frustration | None) -> dict[str, object] | None:
    return frustration.model_dump(mode="json") if frustration else None


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
    if said.sentiment is not None:
        draft.set("mood_due", None)  # who says how they sound has read what is there
        if said.sentiment != Sentiment.NEGATIVE:
            draft.set("frustration", None)
            verdict = draft.get("verdict")
            if isinstance(verdict, Mapping):
                draft.set("verdict", {**verdict, "frustration": None})
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
