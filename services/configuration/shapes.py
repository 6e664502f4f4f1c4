"""What tickets can be and hold: statuses, each of one category that rules know; custom fields."""

import re
from collections.abc import Mapping, Sequence

from domain.errors import Conflict, Invalid, NotFound
from domain.states import Category
from models.session import Row, Work
from services import desks
from services.configuration.keeping import (
    KEY,
    Changes,
    KeyTaken,
    hold,
    insert,
    key_of,
    texts,
    update,
)

MOST_STATUSES, MOST_FIELDS = 200, 300
# Nested repetition is what makes a pattern take for ever on a text made for it.
_NESTED = re.compile(r"[*+}]\)?[^()]*\)(?:[*+]|\{\d*,)")


class LastOfItsCategory(Conflict):
    code = "last_of_category"

    def __init__(self, category: str) -> None:
        super().__init__(
            f"This is the only active status of {category}: rules would have none to go to."
            " Add another first."
        )


async def statuses(work: Work) -> Sequence[Row]:
    """All statuses, in order, those no longer in use too."""
    return await work.rows(
        "select * from statuses where tenant_id = :tenant order by position, key",
        {"tenant": work.tenant_id},
    )


async def status(work: Work, key: str) -> Row:
    """One status. Raises NotFound."""
    for row in await statuses(work):
        if row["key"] == key:
            return row
    raise NotFound(f"There is no status {key!r}.")


async def create_status(work: Work, new: Mapping[str, object]) -> Row:
    """A new status at the end of the list."""
    await hold(work)
    known = {row["key"]: row for row in await statuses(work)}
    key = str(new.get("key") or key_of(str(new["name"])))
    if not KEY.fullmatch(key):
        raise Invalid("A key has lower-case letters, digits and _.", fields={"/key": "is no key"})
    if key in known:
        raise KeyTaken(key)
    if len(known) >= MOST_STATUSES:
        raise Conflict(f"A desk has at most {MOST_STATUSES} statuses.")
    if new["category"] == Category.MERGED:
        raise Invalid(
            "There is one merged status, and merging sets it.", fields={"/category": "is merged"}
        )
    await _check_status(work, {*known, key}, new)
    row = {
        "key": key,
        "name": new["name"],
        "category": str(new["category"]),
        "customer_label": new.get("customer_label") or new["name"],
        "colour": new.get("colour") or "#64748b",
        "position": max((r["position"] for r in known.values()), default=-1) + 1,
        "transitions": new.get("transitions"),
        "required_fields": list(texts(new.get("required_fields"))),
        "active": True,
    }
    await insert(work, "statuses", row)
    await desks.changed(work)
    return row


async def change_status(work: Work, key: str, new: Mapping[str, object]) -> tuple[Row, Changes]:
    """The status with new values, and what changed. Its key and category never change."""
    await hold(work)
    known = {row["key"]: row for row in await statuses(work)}
    before = known.get(key)
    if before is None:
        raise NotFound(f"There is no status {key!r}.")
    if new.get("active") is False and before["active"]:
        alike = [r for r in known.values() if r["category"] == before["category"] and r["active"]]
        if len(alike) == 1:
            raise LastOfItsCategory(before["category"])
    await _check_status(work, set(known), new)
    return await update(work, "statuses", "key", key, before, new)


async def order_statuses(work: Work, keys: Sequence[str]) -> Changes:
    """Puts the statuses in this order; the first active of a category is the one rules use."""
    await hold(work)
    before = [row["key"] for row in await statuses(work)]
    if sorted(keys) != sorted(before):
        raise Invalid(
            "Name every status once.", fields={"/keys": f"are not exactly: {', '.join(before)}"}
        )
    await work.batch(
        *(
            (
                "update statuses set position = %s where tenant_id = %s and key = %s",
                (place, work.tenant_id, key),
            )
            for place, key in enumerate(keys)
        )
    )
    await desks.changed(work)
    return {} if list(keys) == before else {"order": [before, list(keys)]}


async def _check_status(work: Work, keys: set[str], new: Mapping[str, object]) -> None:
    for name in texts(new.get("transitions")):
        if name not in keys:
            raise Invalid(
                f"There is no status {name!r}.", fields={"/transitions": f"{name} is not known"}
            )
    wanted = texts(new.get("required_fields"))
    if wanted:
        fields = {row["key"] for row in await fields_of(work) if row["active"]}
        for name in wanted:
            if name not in fields:
                raise Invalid(
                    f"There is no field {name!r}.",
                    fields={"/required_fields": f"{name} is not known"},
                )


async def fields_of(work: Work) -> Sequence[Row]:
    """All custom fields, in order."""
    return await work.rows(
        "select * from field_definitions where tenant_id = :tenant order by position, key",
        {"tenant": work.tenant_id},
    )


async def field(work: Work, key: str) -> Row:
    """One custom field. Raises NotFound."""
    for row in await fields_of(work):
        if row["key"] == key:
            return row
    raise NotFound(f"There is no field {key!r}.")


async def create_field(work: Work, new: Mapping[str, object]) -> Row:
    """A new custom field at the end of the list."""
    await hold(work)
    known = await fields_of(work)
    key = str(new.get("key") or key_of(str(new["label"])))
    if not KEY.fullmatch(key):
        raise Invalid("A key has lower-case letters, digits and _.", fields={"/key": "is no key"})
    if key in {row["key"] for row in known}:
        raise KeyTaken(key)
    if len(known) >= MOST_FIELDS:
        raise Conflict(f"A desk has at most {MOST_FIELDS} fields.")
    row = {
        "key": key,
        "label": new["label"],
        "kind": new["kind"],
        "options": list(texts(new.get("options"))),
        "pattern": new.get("pattern"),
        "customer_visible": bool(new.get("customer_visible")),
        "customer_editable": bool(new.get("customer_editable")),
        "position": max((r["position"] for r in known), default=-1) + 1,
        "active": True,
    }
    _check_field(row)
    await insert(work, "field_definitions", row)
    await desks.changed(work)
    return row


async def change_field(work: Work, key: str, new: Mapping[str, object]) -> tuple[Row, Changes]:
    """The field with new values, and what changed. Its key and kind never change."""
    await hold(work)
    before = next((row for row in await fields_of(work) if row["key"] == key), None)
    if before is None:
        raise NotFound(f"There is no field {key!r}.")
    _check_field({**before, **new})
    if new.get("active") is False:
        needed = [r["key"] for r in await statuses(work) if key in r["required_fields"]]
        if needed:
            raise Conflict(f"The status {needed[0]!r} needs this field. Change that first.")
    return await update(work, "field_definitions", "key", key, before, new)


def _check_field(row: Mapping[str, object]) -> None:
    options = texts(row.get("options"))
    if row["kind"] in ("select", "multiselect"):
        if not options:
            raise Invalid("Say which options there are.", fields={"/options": "are needed"})
        if len(set(options)) < len(options):
            raise Invalid("Two options are the same.", fields={"/options": "repeat"})
    elif options:
        raise Invalid("Only lists have options.", fields={"/options": "mean nothing here"})
    pattern = row.get("pattern")
    if pattern is None:
        return
    if row["kind"] != "text":
        raise Invalid("Only texts have a pattern.", fields={"/pattern": "means nothing here"})
    try:
        re.compile(str(pattern))
    except (re.error, OverflowError, RecursionError) as error:
        raise Invalid("That is not a pattern.", fields={"/pattern": str(error)}) from error
    if _NESTED.search(str(pattern)):
        raise Invalid(
            "That pattern repeats what repeats: it could take for ever.",
            fields={"/pattern": "repeats a repetition"},
        )
