"""What a ticket has to do with others: links, merges, messages that were split off."""

from domain import sla
from domain.errors import Conflict, Invalid
from domain.states import Category, RelationKind
from domain.tickets.changing import restore
from domain.tickets.decision import MessageMove, RelationChange
from domain.tickets.draft import Draft
from domain.tickets.events import (
    Absorbed,
    Linked,
    MergedInto,
    MessagesSplitOff,
    Released,
    Unlinked,
    Unmerged,
)
from domain.tickets.statuses import enter_category


def related(draft: Draft, link: Linked | Unlinked) -> None:
    """A link of any kind that people make by hand."""
    if link.kind in (RelationKind.MERGED_INTO, RelationKind.SPLIT_FROM):
        raise Invalid("Merging and splitting make this link.", fields={"/kind": "is made by merge"})
    me, other = draft.was.id, link.other_id
    source, target = (me, other) if link.outgoing else (other, me)
    adding = isinstance(link, Linked)
    if link.outgoing:  # each side records it, one writes it
        draft.relations.append(RelationChange(link.kind, source, target, add=adding))
    draft.record(
        "linked" if adding else "unlinked",
        data={
            "kind": link.kind,
            "outgoing": link.outgoing,
            "ticket_id": other,
            "number": link.other_number,
        },
    )


def merged(draft: Draft, merge: MergedInto | Unmerged) -> None:
    """The ticket is over and its messages move; or it is back as it was, with its messages."""
    me, target = draft.was.id, merge.target_id
    if isinstance(merge, MergedInto):
        if target == me:
            raise Invalid(
                "A ticket cannot be merged into itself.", fields={"/into": "is this ticket"}
            )
        draft.set("merged_into", target)
        enter_category(draft, Category.MERGED)
        draft.moves.append(MessageMove(from_id=me, to_id=target))
        draft.relations.append(RelationChange(RelationKind.MERGED_INTO, me, target, add=True))
        draft.record("merged", data={"into": target, "number": merge.target_number})
        draft.observe(cancelled="merged")
        return
    if draft.get("merged_into") != target:
        raise Conflict(f"Ticket {draft.was.number} is not merged into {merge.target_number}.")
    restore(draft, merge.before)
    draft.set("merged_into", None)
    draft.moves.append(MessageMove(from_id=target, to_id=me, origin_id=me))
    draft.relations.append(RelationChange(RelationKind.MERGED_INTO, me, target, add=False))
    draft.record("unmerged", data={"from": target, "number": merge.target_number})
    draft.clocks = sla.revive(draft.clocks, draft.terms, at=draft.now)
    draft.observe()


def absorbed(draft: Draft, merge: Absorbed | Released) -> None:
    """The other side of a merge; where the merged one had waited longer, clocks count from then."""
    came = isinstance(merge, Absorbed)
    inherits = merge.inherits if isinstance(merge, Absorbed) else None
    draft.record(
        "absorbed" if came else "released",
        data={
            "ticket_id": merge.source_id,
            "number": merge.source_number,
            **({"inherits": inherits} if inherits else {}),
        },
    )
    if inherits is not None:
        draft.clocks = sla.inherit(draft.clocks, draft.terms, start=inherits, at=draft.now)
        draft.observe()


def split_off(draft: Draft, split: MessagesSplitOff) -> None:
    """Some of its messages are another ticket's from now on."""
    draft.moves.append(
        MessageMove(from_id=draft.was.id, to_id=split.other_id, message_ids=split.message_ids)
    )
    draft.record(
        "split",
        data={
            "into": split.other_id,
            "number": split.other_number,
            "message_ids": list(split.message_ids),
        },
    )
