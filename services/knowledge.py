"""The knowledge base: articles, their versions and translations."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from markdown_it import MarkdownIt

from domain import lexical
from domain.articles import Archived, Audience, State, slug_of, step
from domain.errors import Conflict, Forbidden, Invalid, NotFound
from domain.permissions import Permission, Principal
from models.base import new_id
from models.session import Row, Work
from services import lexical as keys
from services import sections
from services.configuration import Changes
from services.cursors import BadCursor, pack, unpack
from services.words import sanitised, text_of

MOST_BODY = 200_000
_MOST_WORDS = 400  # that an article can be found by
_WORDS = ("title", "body", "keywords")  # what makes a new version
_PLACE = ("slug", "section_id", "language", "audience")

# Raw HTML is shown as text; what the rest makes is sanitised all the same.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


class ArticleNotFound(NotFound):
    code = "article_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such article.")


class SlugTaken(Conflict):
    code = "slug_taken"

    def __init__(self, slug: str) -> None:
        super().__init__(f"Another article is at {slug!r}.", fields={"/slug": "is taken"})


class TranslationExists(Conflict):
    code = "translation_exists"

    def __init__(self, language: str) -> None:
        super().__init__(
            f"There is a translation into {language!r} already.",
            fields={"/language": "is taken"},
        )


@dataclass(frozen=True, slots=True)
class Listed:
    items: list[Row]
    next: str | None


def html_of(markdown: str) -> str:
    """Markdown as HTML that is safe to show."""
    return sanitised(str(_MARKDOWN.render(markdown))) or ""


# Articles.

_ARTICLE = (
    "a.id, a.group_id, a.section_id, a.slug, a.language, a.audience, a.state, a.version,"
    " a.published_version, a.created_at, a.updated_at, a.published_at, v.title, v.body,"
    " v.body_html as html, v.body_text, v.keywords"
)


def _shown(caller: Principal | None) -> tuple[str, str]:
    """Which version of an article somebody reads, and which articles they may.

    Who writes sees the newest words of all; other people of the desk what is published; customers
    what is published for them.
    """
    if caller is None:
        return "a.published_version", "a.published_version is not null and a.audience = 'public'"
    if caller.scope(Permission.KNOWLEDGE_WRITE) is None:
        return "a.published_version", "a.published_version is not null"
    return "a.version", "true"


def _of_articles(caller: Principal | None) -> str:
    version, allowed = _shown(caller)
    return (
        f"select {_ARTICLE} from articles a join article_versions v on v.tenant_id = a.tenant_id"
        f" and v.article_id = a.id and v.version = {version}"
        f" where a.tenant_id = %(tenant)s and {allowed}"
    )


async def article(work: Work, caller: Principal | None, key: uuid.UUID | str) -> Row:
    """One article by its id or slug, with its "translations". Raises ArticleNotFound."""
    by = "a.slug" if isinstance(key, str) else "a.id"
    _, allowed = _shown(caller)
    version, _ = _shown(caller)
    found, translations = await work.batch(
        (
            f"{_of_articles(caller)} and {by} = %(key)s",
            {"tenant": work.tenant_id, "key": key},
        ),
        (
            "select a.id, a.slug, a.language, a.state, v.title from articles a"
            " join article_versions v on v.tenant_id = a.tenant_id and v.article_id = a.id"
            f" and v.version = {version} where a.tenant_id = %(tenant)s and {allowed}"
            f" and a.group_id = (select a.group_id from articles a where {by} = %(key)s"
            f" and a.tenant_id = %(tenant)s) and {by} <> %(key)s order by a.language",
            {"tenant": work.tenant_id, "key": key},
        ),
    )
    if not found:
        raise ArticleNotFound
    return {**found[0], "translations": translations}


async def articles(
    work: Work,
    caller: Principal | None,
    *,
    state: State | None = None,
    section_id: uuid.UUID | None = None,
    language: str | None = None,
    audience: Audience | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Listed:
    """A page of the articles somebody may read, the newest change first."""
    wanted = {
        "state": state, "section_id": section_id, "language": language, "audience": audience
    }  # fmt: skip
    conditions, values = _conditions(wanted)
    values |= {"tenant": work.tenant_id, "most": limit + 1}
    if cursor is not None:
        values["at"], values["id"] = _read_cursor(cursor)
        conditions += " and (a.updated_at, a.id) < (%(at)s, %(id)s)"
    [rows] = await work.batch(
        (
            f"{_of_articles(caller)}{conditions} order by a.updated_at desc, a.id desc"
            " limit %(most)s",
            values,
        )
    )
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        following = pack([last["updated_at"], last["id"]])
    return Listed(rows[:limit], following)


async def search(
    work: Work,
    caller: Principal | None,
    text: str,
    *,
    state: State | None = None,
    section_id: uuid.UUID | None = None,
    language: str | None = None,
    audience: Audience | None = None,
    limit: int = 20,
) -> list[Row]:
    """The articles that fit some words best, misspelt ones too, each with its "snippet"."""
    query = lexical.asked(work.tenant_id, text)
    spread = (await keys.spreads(work, query, "articles"))["articles"]
    source, probes = keys.found("articles", spread)
    wanted = {
        "state": state, "section_id": section_id, "language": language, "audience": audience
    }  # fmt: skip
    conditions, values = _conditions(wanted)
    [rows] = await work.batch(
        (
            f"select * from ({_of_articles(caller)}{conditions}) a join {source} f on f.id = a.id"
            " order by f.score desc, a.id desc limit 100",
            {**probes, **values, "tenant": work.tenant_id},
        )
    )
    scorer = spread.scorer()
    scored = []
    for row in rows:
        score = scorer.score(
            lexical.together((row["title"], " ".join(row["keywords"]))), row["body_text"][:20_000]
        )
        if score.value > 0:
            shown = lexical.snippet(row["body_text"], score.why)
            scored.append((score.value, {**row, "snippet": shown}))
    scored.sort(key=lambda one: (-one[0], str(one[1]["id"])))
    return [row for _, row in scored[:limit]]


async def create_article(
    work: Work,
    caller: Principal,
    *,
    title: str,
    body: str,
    keywords: Sequence[str],
    language: str,
    audience: Audience,
    section_id: uuid.UUID | None,
    slug: str | None,
    translation_of: uuid.UUID | None,
    now: datetime,
) -> Row:
    """A new draft. Raises SlugTaken, TranslationExists, Invalid for what it names and is not."""
    await sections.hold(work)
    if section_id is not None:
        await _refuse_section(work, section_id)
    article_id = new_id()
    group_id = article_id
    if translation_of is not None:
        try:
            group_id = (await article(work, caller, translation_of))["group_id"]
        except ArticleNotFound as refusal:
            raise Invalid(
                refusal.detail, fields={"/translation_of": "names no article"}
            ) from refusal
        await _refuse_language(work, group_id, language, article_id)
    address = await _slug(work, slug, title, language, translated=translation_of is not None)
    await work.batch(
        (
            "insert into articles (tenant_id, id, group_id, section_id, slug, language, audience,"
            " state, version, created_by_id, created_at, updated_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, 'draft', 1, %s, %s, %s)",
            (
                work.tenant_id, article_id, group_id, section_id, address, language,
                audience.value, caller.id, now, now,
            ),
        )
    )  # fmt: skip
    words = {"title": title, "body": body, "keywords": list(keywords)}
    await _append(work, caller, article_id, 1, words, now=now)
    return await article(work, caller, article_id)


async def change_article(
    work: Work,
    caller: Principal,
    article_id: uuid.UUID,
    new: Mapping[str, object],
    *,
    now: datetime,
) -> tuple[Row, Changes]:
    """The article with new values, and what changed. New words make a new version, a draft.

    What readers see stays until somebody publishes. Where an article is read, its address and its
    audience are changed by those alone who may publish. Raises Archived, Forbidden, and as
    `create_article`.
    """
    await sections.hold(work)
    before = await article(work, caller, article_id)
    if before["state"] == State.ARCHIVED:
        raise Archived
    place = {n: new[n] for n in _PLACE if n in new and new[n] != before[n]}
    may_publish = caller.scope(Permission.KNOWLEDGE_PUBLISH) is not None
    if place and before["published_version"] is not None and not may_publish:
        raise Forbidden(f"People read this article: its {', '.join(place)} take knowledge.publish.")
    if isinstance(place.get("section_id"), uuid.UUID):
        await _refuse_section(work, uuid.UUID(str(place["section_id"])))
    if "language" in place:
        await _refuse_language(work, before["group_id"], str(place["language"]), article_id)
    if "slug" in place:
        await _refuse_slug(work, str(place["slug"]))
    words = {n: new[n] for n in _WORDS if n in new and new[n] != before[n]}
    changes: Changes = {n: [before[n], v] for n, v in place.items()}
    if words:
        version = before["version"] + 1
        said = {name: words.get(name, before[name]) for name in _WORDS}
        await _append(work, caller, article_id, version, said, now=now)
        changes["version"] = [before["version"], version]
        place |= {"version": version, "state": State.DRAFT.value}
    if place:
        await sections.update(work, "articles", article_id, {**place, "updated_at": now})
    return await article(work, caller, article_id), changes


async def take_step(
    work: Work, caller: Principal, article_id: uuid.UUID, after: State, *, now: datetime
) -> tuple[Row, Changes]:
    """The article in another state. Published is its newest version; archived is none.

    Raises StepNotAllowed, Forbidden.
    """
    await sections.hold(work)
    before = await article(work, caller, article_id)
    needed = step(State(before["state"]), after)
    caller.require(needed)
    values: dict[str, object] = {"state": after.value, "updated_at": now}
    if after is State.PUBLISHED:
        values |= {"published_version": before["version"], "published_at": now}
    elif after is State.ARCHIVED:
        values |= {"published_version": None, "published_at": None}
    await sections.update(work, "articles", article_id, values)
    await _refresh(work, article_id)
    changes: Changes = {
        name: [before[name], values[name]]
        for name in ("state", "published_version")
        if name in values and values[name] != before[name]
    }
    return await article(work, caller, article_id), changes


async def restore(
    work: Work, caller: Principal, article_id: uuid.UUID, version: int, *, now: datetime
) -> tuple[Row, Changes]:
    """The words of an earlier version once more, as a new draft. Raises Invalid, Archived."""
    await sections.hold(work)
    before = await article(work, caller, article_id)
    if before["state"] == State.ARCHIVED:
        raise Archived
    old = await work.row(
        "select title, body, keywords from article_versions where tenant_id = :tenant"
        " and article_id = :id and version = :version",
        {"tenant": work.tenant_id, "id": article_id, "version": version},
    )
    if old is None:
        raise Invalid(
            f"There is no version {version}.", fields={"/version": "is no version of this article"}
        )
    newest = before["version"] + 1
    await _append(work, caller, article_id, newest, old, now=now, restored_from=version)
    await sections.update(
        work,
        "articles",
        article_id,
        {"version": newest, "state": State.DRAFT.value, "updated_at": now},
    )
    changes: Changes = {"version": [before["version"], newest], "restored_from": [None, version]}
    return await article(work, caller, article_id), changes


async def versions(
    work: Work, caller: Principal, article_id: uuid.UUID, *, limit: int, before: int | None
) -> Sequence[Row]:
    """An article's versions, newest first. Raises ArticleNotFound."""
    await article(work, caller, article_id)
    [rows] = await work.batch(
        (
            "select v.version, v.title, v.body, v.keywords, v.restored_from, v.author_id,"
            " u.name as author_name, v.created_at from article_versions v"
            " left join users u on u.tenant_id = v.tenant_id and u.id = v.author_id"
            " where v.tenant_id = %s and v.article_id = %s and v.version < %s"
            " order by v.version desc limit %s",
            (work.tenant_id, article_id, before or 2**31 - 1, limit),
        )
    )
    return rows


# Parts.


async def _append(
    work: Work,
    caller: Principal,
    article_id: uuid.UUID,
    version: int,
    words: Mapping[str, object],
    *,
    now: datetime,
    restored_from: int | None = None,
) -> None:
    html = await asyncio.to_thread(html_of, str(words["body"]))
    await work.batch(
        (
            "insert into article_versions (tenant_id, article_id, version, title, body, body_html,"
            " body_text, keywords, restored_from, author_id, created_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                work.tenant_id, article_id, version, words["title"], words["body"], html,
                text_of(html), words["keywords"], restored_from, caller.id, now,
            ),
        )
    )  # fmt: skip
    await _refresh(work, article_id, newest=version)


async def _refresh(work: Work, article_id: uuid.UUID, *, newest: int | None = None) -> None:
    """By which it is found: the words that readers see, and the newest."""
    [rows] = await work.batch(
        (
            "select v.title, v.keywords, v.body_text from article_versions v join articles a"
            " on a.tenant_id = v.tenant_id and a.id = v.article_id"
            " and v.version in (a.published_version, coalesce(%s, a.version))"
            " where v.tenant_id = %s and v.article_id = %s order by v.version",
            (newest, work.tenant_id, article_id),
        )
    )
    found: set[int] = set()
    for row in rows:
        text = lexical.together((row["title"], " ".join(row["keywords"]), row["body_text"]))
        found |= set(lexical.keys_of(work.tenant_id, text, most_words=_MOST_WORDS))
    await work.batch(
        (
            "update articles set keys = %s::bigint[] where tenant_id = %s and id = %s",
            (sorted(found), work.tenant_id, article_id),
        )
    )


async def _slug(
    work: Work, given: str | None, title: str, language: str, *, translated: bool
) -> str:
    if given is not None:
        await _refuse_slug(work, given)
        return given
    base = slug_of(title)
    if translated:
        base = f"{base}-{language.lower()}"
    taken = {
        row["slug"]
        for row in await work.rows(
            "select slug from articles where tenant_id = :tenant"
            " and (slug = :base or starts_with(slug, :begins))",
            {"tenant": work.tenant_id, "base": base, "begins": f"{base}-"},
        )
    }
    return next(
        slug for n in range(1, len(taken) + 2) if (slug := base if n == 1 else f"{base}-{n}")
        not in taken
    )  # fmt: skip


async def _refuse_section(work: Work, section_id: uuid.UUID) -> None:
    try:
        await sections.section(work, section_id)
    except sections.SectionNotFound as refusal:
        raise Invalid(refusal.detail, fields={"/section_id": "names no section"}) from refusal


async def _refuse_slug(work: Work, slug: str) -> None:
    held = await work.row(
        "select 1 as one from articles where tenant_id = :tenant and slug = :slug",
        {"tenant": work.tenant_id, "slug": slug},
    )
    if held is not None:
        raise SlugTaken(slug)


async def _refuse_language(work: Work, group_id: uuid.UUID, language: str, own: uuid.UUID) -> None:
    held = await work.row(
        "select 1 as one from articles where tenant_id = :tenant and group_id = :group_id"
        " and language = :language and id <> :own",
        {
            "tenant": work.tenant_id,
            "group_id": group_id,
            "language": language,
            "own": own,
        },
    )
    if held is not None:
        raise TranslationExists(language)


def _conditions(wanted: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    given = {name: value for name, value in wanted.items() if value is not None}
    return "".join(f" and a.{name} = %({name})s" for name in given), {
        name: str(value) if isinstance(value, State | Audience) else value
        for name, value in given.items()
    }


def _read_cursor(cursor: str) -> tuple[datetime, uuid.UUID]:
    at, article_id = unpack(cursor, 2)
    try:
        moment = datetime.fromisoformat(str(at))
        if moment.tzinfo is None:
            raise BadCursor
        return moment, uuid.UUID(str(article_id))
    except ValueError as error:
        raise BadCursor from error
