"""The search index: Typesense, asked briefly, and left alone for a while when it does not answer.

What is in it is a copy. Whoever asks it reads the tickets it names from Postgres afterwards.
"""

import html
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from typesense.async_.aliases import AsyncAliases
from typesense.async_.api_call import AsyncApiCall
from typesense.async_.collections import AsyncCollections
from typesense.async_.documents import AsyncDocuments
from typesense.async_.operations import AsyncOperations
from typesense.configuration import Configuration
from typesense.exceptions import (
    ObjectAlreadyExists,
    ObjectNotFound,
    RequestMalformed,
    TypesenseClientError,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")
Document = dict[str, object]

VERSION = 1
NOBODY = "none"  # stands in the index where a ticket has no team, assignee or author
SEARCH_SECONDS = 1.5
WRITE_SECONDS = 30.0
REST_SECONDS = 2.0
_BATCH = 200

# Field, weight, misspellings allowed, whether the last word may be a beginning.
_ASKED = (
    ("number_text", 10, 0, False),
    ("requester_email", 8, 0, True),
    ("subject", 6, 2, True),
    ("requester_name", 4, 1, True),
    ("tags", 4, 0, True),
    ("organization", 3, 1, True),
    ("public_text", 2, 2, True),
    ("internal_text", 1, 2, True),
)
_INTERNAL = frozenset({"internal_text"})

_FACETS = (
    "tenant_id", "tags", "status", "category", "priority", "team_id", "assignee_id",
    "created_by_id", "channel",
)  # fmt: skip

# Around what was found, in texts that are escaped afterwards; nobody types these.
_START, _END = "\ue000", "\ue001"


class SearchDown(Exception):
    """The index does not answer, or not in time. Nothing was read or written for certain."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A ticket the index names. Snippets are HTML: escaped text with <mark>."""

    ticket_id: UUID
    snippets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    hits: list[Hit]
    found: int
    indexed: int  # documents of all tenants: fewer than before means it is still loading


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which tickets may be found. None: all of the tenant; else any of these."""

    teams: frozenset[UUID] | None = None  # and those without a team
    person: UUID | None = None  # assigned to or created by


def _schema(name: str) -> dict[str, object]:
    def text(field: str, **more: object) -> dict[str, object]:
        return {"name": field, "type": "string", **more}

    return {
        "name": name,
        "fields": [
            *(text(f, facet=True) for f in _FACETS if f != "tags"),
            {"name": "tags", "type": "string[]", "facet": True},
            {"name": "number", "type": "int64"},
            text("number_text"),
            text("subject"),
            text("requester_name"),
            text("requester_email"),
            text("organization"),
            text("public_text"),
            text("internal_text"),
            {"name": "updated_at", "type": "int64", "sort": True},
            {"name": "seq", "type": "int64"},
        ],
        "default_sorting_field": "updated_at",
    }


class SearchIndex:
    """The tickets of all tenants in one collection behind an alias.

    Two clients, because the library has one time limit per client: a person waits for a search,
    nobody for a batch of documents.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        alias: str = "tickets",
        search_seconds: float = SEARCH_SECONDS,
        rest_seconds: float = REST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._alias = alias
        # Past any proxy of the environment, and without the library's own pool settings.
        self._transports = [
            httpx.AsyncClient(timeout=seconds, trust_env=False)
            for seconds in (search_seconds, WRITE_SECONDS)
        ]
        self._reader, self._writer = (
            _Client(url, api_key, seconds, transport)
            for seconds, transport in zip(
                (search_seconds, WRITE_SECONDS), self._transports, strict=True
            )
        )
        self._rest_seconds = rest_seconds
        self._clock = clock
        self._resting_until = float("-inf")
        self._failure = ""  # why it rests

    @property
    def first_collection(self) -> str:
        """Always the same, so that two processes that start at once make one collection."""
        return f"{self._alias}_v{VERSION}"

    async def ensure(self) -> None:
        """The alias leads to a collection afterwards."""
        await self._asked(self._ensure)

    async def tell(self, documents: Sequence[Document]) -> dict[UUID, str]:
        """Takes in documents in place of older ones; gives those refused, with the reason.

        Raises SearchDown, and then some may have been taken in.
        """
        if not documents:
            return {}
        try:
            return await self._asked(lambda: self._told(documents))
        except ObjectNotFound:  # never made, deleted under us, or exchanged just now
            await self.ensure()
            return await self._asked(lambda: self._told(documents))

    async def search(
        self,
        tenant_id: UUID,
        query: str,
        *,
        reach: Reach | None = None,
        internal: bool = True,
        page: int = 1,
        per_page: int = 20,
    ) -> Answer:
        """The tickets of a tenant that fit the words best. All words must be there.

        Without `internal`, notes are neither searched nor quoted. Raises SearchDown.
        """
        asked = [f for f in _ASKED if internal or f[0] not in _INTERNAL]
        quoted = ["subject", "public_text", *(["internal_text"] if internal else [])]
        parameters: dict[str, object] = {
            "q": query,
            "query_by": ",".join(name for name, *_ in asked),
            "query_by_weights": ",".join(str(weight) for _, weight, *_ in asked),
            "num_typos": ",".join(str(typos) for _, _, typos, _ in asked),
            "prefix": ",".join(str(prefix).lower() for *_, prefix in asked),
            "filter_by": _filter(tenant_id, reach),
            "sort_by": "_text_match:desc,updated_at:desc",
            "include_fields": "id",
            "highlight_fields": ",".join(quoted),
            "highlight_full_fields": "",
            "highlight_start_tag": _START,
            "highlight_end_tag": _END,
            "highlight_affix_num_tokens": 8,
            "drop_tokens_threshold": 0,
            "page": page,
            "per_page": per_page,
            "search_cutoff_ms": 1000,
        }
        try:
            result = cast(
                "dict[str, Any]",
                await self._asked(
                    lambda: self._reader.documents(self._alias).search(
                        parameters  # type: ignore[arg-type]
                    )
                ),
            )
        except ObjectNotFound:
            return Answer([], 0, 0)
        return Answer(
            [_hit(hit) for hit in result["hits"]], int(result["found"]), int(result["out_of"])
        )

    async def count(self, tenant_id: UUID) -> int:
        """How many tickets of a tenant are in the index. Raises SearchDown."""
        try:
            result = await self._asked(
                lambda: self._reader.documents(self._alias).search(
                    {
                        "q": "*",
                        "query_by": "subject",
                        "filter_by": _filter(tenant_id, None),
                        "per_page": 0,
                    }
                )
            )
        except ObjectNotFound:
            return 0
        return int(result["found"])

    async def healthy(self) -> bool:
        """Whether it answers. It says so before it has loaded its data: see `count`."""
        try:
            return await self._asked(self._reader.operations.is_healthy)
        except (SearchDown, TypesenseClientError):
            return False

    async def begin_rebuild(self) -> str:
        """A new empty collection, which nobody searches yet; its name."""
        name = f"{self.first_collection}_{secrets.token_hex(4)}"
        await self._asked(lambda: self._writer.collections.create(_schema(name)))  # type: ignore[arg-type]
        return name

    async def fill(self, collection: str, documents: Sequence[Document]) -> dict[UUID, str]:
        """As `tell`, into a collection that is being rebuilt."""
        return await self._asked(lambda: self._import(collection, documents))

    async def finish_rebuild(self, collection: str) -> None:
        """From here on everybody searches and writes `collection`; all others are dropped.

        Those too that interrupted rebuilds left behind.
        """
        await self._asked(
            lambda: self._writer.aliases.upsert(self._alias, {"collection_name": collection})
        )
        for other in await self._asked(self._writer.collections.retrieve):
            name = str(other["name"])
            if name != collection and name.startswith(f"{self._alias}_v"):
                await self.drop(name)

    async def drop(self, collection: str) -> None:
        with suppress(ObjectNotFound):
            await self._asked(lambda: self._writer.drop(collection))

    async def close(self) -> None:
        for transport in self._transports:
            await transport.aclose()

    async def _told(self, documents: Sequence[Document]) -> dict[UUID, str]:
        """Writes under the collection's own name.

        What is written through an alias is lost at a restart: the server replays its log by
        collection, and comes to the documents before it comes to the alias.
        """
        alias = await self._writer.aliases[self._alias].retrieve()
        return await self._import(alias["collection_name"], documents)

    async def _ensure(self) -> None:
        try:
            await self._writer.look(self._alias)  # through the alias, at what it leads to
        except ObjectNotFound:
            with suppress(ObjectAlreadyExists):
                await self._writer.collections.create(_schema(self.first_collection))  # type: ignore[arg-type]
            await self._writer.aliases.upsert(
                self._alias, {"collection_name": self.first_collection}
            )

    async def _import(self, collection: str, documents: Sequence[Document]) -> dict[UUID, str]:
        refused: dict[UUID, str] = {}
        for start in range(0, len(documents), _BATCH):
            part: list[Any] = list(documents[start : start + _BATCH])
            results = cast(
                "list[dict[str, Any]]",
                await self._writer.documents(collection).import_(part, {"action": "upsert"}),
            )
            for document, result in zip(part, results, strict=True):
                if not result.get("success"):
                    refused[UUID(str(document["id"]))] = str(result.get("error", "refused"))
        return refused

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the index answers. After a failure nobody waits for it again for a while."""
        if self._clock() < self._resting_until:
            raise SearchDown(f"{self._failure}, a moment ago")
        try:
            answer = await ask()
        except (ObjectNotFound, ObjectAlreadyExists, RequestMalformed):
            raise
        except (TypesenseClientError, httpx.HTTPError, OSError) as error:
            self._resting_until = self._clock() + self._rest_seconds
            self._failure = f"{type(error).__name__}: {error}"
            raise SearchDown(self._failure) from error
        self._resting_until = float("-inf")
        return answer


class _Client:
    """The parts of the library's client that are needed.

    The whole one also makes parts that are deprecated, and warns of them each time.
    """

    def __init__(self, url: str, api_key: str, seconds: float, http: httpx.AsyncClient) -> None:
        address = urlsplit(url)
        protocol = address.scheme or "http"
        self._calls = calls = AsyncApiCall(
            Configuration(
                {
                    "api_key": api_key,
                    "nodes": [
                        {
                            "host": address.hostname or "127.0.0.1",
                            "port": address.port or (443 if protocol == "https" else 80),
                            "path": address.path.rstrip("/"),
                            "protocol": protocol,
                        }
                    ],
                    "connection_timeout_seconds": seconds,
                    "num_retries": 0,
                    "retry_interval_seconds": 0.0,
                }
            ),
            http,
        )
        self.collections: AsyncCollections[Any] = AsyncCollections(calls)
        self.aliases = AsyncAliases(calls)
        self.operations = AsyncOperations(calls)

    def documents(self, collection: str) -> AsyncDocuments[Any]:
        return AsyncDocuments(self._calls, collection)

    async def look(self, collection: str) -> None:
        await self._calls.get(f"/collections/{collection}", dict)

    async def drop(self, collection: str) -> None:
        await self._calls.delete(f"/collections/{collection}", dict)


def _filter(tenant_id: UUID, reach: Reach | None) -> str:
    """Ids only: nothing a person typed gets here."""
    mine = f"tenant_id:={tenant_id}"
    if reach is None:
        return mine
    ways: list[str] = []
    if reach.person is not None:
        ways += [f"assignee_id:={reach.person}", f"created_by_id:={reach.person}"]
    if reach.teams is not None:
        ways.append(f"team_id:=[{','.join([NOBODY, *_sorted(reach.teams)])}]")
    if not ways:
        return f"{mine} && team_id:=-"
    return f"{mine} && ({' || '.join(ways)})"


def _sorted(ids: Iterable[UUID]) -> list[str]:
    return sorted(str(one) for one in ids)


def _hit(hit: Mapping[str, Any]) -> Hit:
    snippets = {
        str(part["field"]): safe_snippet(str(part["snippet"]))
        for part in hit.get("highlights", ())
        if "snippet" in part
    }
    return Hit(UUID(hit["document"]["id"]), snippets)


def safe_snippet(text: str, *, start: str = _START, end: str = _END) -> str:
    """HTML that shows `text`, with what was found in <mark>."""
    marked = html.escape(text).replace(start, "<mark>").replace(end, "</mark>")
    return " ".join(marked.split())


__all__ = ["NOBODY", "Answer", "Document", "Hit", "Reach", "SearchDown", "SearchIndex"]
