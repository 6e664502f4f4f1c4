"""Changing a piece of the configuration: the same four steps, whatever the piece is."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import Depends, Response

from api.deps import From, Tx
from api.shapes import Request, Shape
from api.versions import Expected, IfMatch, put_tag
from domain.errors import Invalid
from domain.permissions import Principal
from models.session import Row, Work
from services import audit, configuration
from services.tickets import Origin

Key = TypeVar("Key", str, UUID)
Shown = TypeVar("Shown", bound=Shape)


class Edit:
    """One change, on behalf of one request: what was read must still be so, the audit log learns
    of it, the answer says the new version."""

    def __init__(self, work: Work, origin: Origin, expected: Expected, response: Response) -> None:
        self.work = work
        self._origin = origin
        self._expected = expected
        self._response = response

    async def unless_changed(
        self, shape: type[Shape], read: Callable[[Work, Key], Awaitable[Row]], key: Key
    ) -> None:
        """Passes for the version the caller named; nobody else changes it until the commit."""
        if self._expected:
            await configuration.hold(self.work)
            self._expected.check(shape(**await read(self.work, key)))

    async def answer(
        self,
        caller: Principal,
        shown: Shown,
        kind: str,
        key: UUID | str,
        changes: Mapping[str, object],
    ) -> Shown:
        """What is shown afterwards; audited where anything changed."""
        if changes:
            said: dict[str, object] = {"changes": dict(changes)}
            await record(self.work, caller, self._origin, f"{kind}.changed", kind, key, said)
        put_tag(self._response, shown)
        return shown


async def _editing(work: Tx, origin: From, expected: IfMatch, response: Response) -> Edit:
    return Edit(work, origin, expected, response)


Editing = Annotated[Edit, Depends(_editing, scope="function")]


def given(body: Request, *, clears: set[str]) -> dict[str, object]:
    """What a patch names. Raises Invalid for a null where null means nothing."""
    asked: dict[str, object] = body.model_dump(exclude_unset=True)
    for name, value in asked.items():
        if value is None and name not in clears:
            raise Invalid(f"{name} cannot be null.", fields={f"/{name}": "cannot be null"})
    return asked


async def record(
    work: Work,
    caller: Principal,
    origin: Origin,
    action: str,
    kind: str,
    target: UUID | str | None,
    data: Mapping[str, object],
) -> None:
    """Puts a change of the configuration into the audit log."""
    await audit.record(
        work,
        caller=caller,
        origin=origin,
        action=action,
        target_kind=kind,
        target_id=target,
        data=data,
    )


__all__ = ["Edit", "Editing", "given", "record"]
