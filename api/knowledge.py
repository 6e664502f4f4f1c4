"""The knowledge base over HTTP: sections, articles, their versions and what readers say."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from api.deps import Allowed, From, Tx
from api.editing import Editing, given, record
from api.routing import Route
from api.shapes import Page, Request, Shape, examples
from api.versions import IfMatch, put_tag
from domain.articles import Audience, State
from domain.permissions import Permission, Principal
from models.session import Row
from services import knowledge, ratings, sections
from services.tickets import clock

router = APIRouter(prefix="/api/v1", tags=["knowledge"], route_class=Route)

Viewer = Annotated[Principal, Depends(Allowed(Permission.KNOWLEDGE_VIEW))]
Writer = Annotated[Principal, Depends(Allowed(Permission.KNOWLEDGE_WRITE))]
Publisher = Annotated[Principal, Depends(Allowed(Permission.KNOWLEDGE_PUBLISH))]

Name = Annotated[str, Field(min_length=1, max_length=100)]
Title = Annotated[str, Field(min_length=1, max_length=300)]
Body = Annotated[str, Field(min_length=1, max_length=knowledge.MOST_BODY, description="Markdown.")]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$")]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]
Keywords = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=50)
]
Words = Annotated[str, Query(min_length=1, max_length=300, pattern="^[^\0]*$")]
InLanguage = Annotated[str | None, Query(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]

# Another article's title is not this one's version.
_BESIDE = frozenset({"translations"})


class SectionOut(Shape):
    id: UUID
    name: str
    description: str
    position: int


class SectionIn(Request):
    model_config = examples({"name": "Billing", "description": "Invoices, refunds, cards."})

    name: Name
    description: Annotated[str, Field(max_length=1000)] = ""


class SectionPatch(Request):
    model_config = examples({"name": "Billing and refunds"}, {"position": 0})

    name: Name | None = None
    description: Annotated[str, Field(max_length=1000)] | None = None
    position: Annotated[int, Field(ge=0, le=10_000)] | None = None


class ArticleLine(Shape):
    """An article as a list shows it."""

    id: UUID
    slug: str
    title: str
    language: str
    audience: Audience
    state: State
    section_id: UUID | None
    version: int
    published_version: int | None
    updated_at: datetime
    snippet: str | None = Field(default=None, description="Where the words were; of a search.")


class Translation(Shape):
    id: UUID
    slug: str
    language: str
    title: str
    state: State


class ArticleOut(Shape):
    """An article. Who may write reads its newest words, others what is published."""

    id: UUID
    slug: str
    title: str
    body: str = Field(description="Markdown.")
    html: str = Field(description="The body, safe to show.")
    keywords: list[str]
    language: str
    audience: Audience
    state: State = Field(description="Of the newest version.")
    section_id: UUID | None
    version: int
    published_version: int | None = Field(description="What readers see; null: nothing.")
    created_at: datetime
    updated_at: datetime
    published_at: datetime | None
    translations: list[Translation]


class ArticleIn(Request):
    model_config = examples(
        {
            "title": "Restart your router",
            "body": "1. Unplug it.\n2. Wait **ten seconds**.\n3. Plug it in again.",
            "language": "en",
            "audience": "public",
            "section_id": "0198c5c6-a1b2-7c3d-8e4f-5061728394a5",
            "keywords": ["reboot", "no internet"],
        },
        {
            "title": "Router neu starten",
            "body": "Stecker ziehen, zehn Sekunden warten, wieder einstecken.",
            "language": "de",
            "translation_of": "0198c5c6-b2c3-7d4e-8f50-617283940516",
        },
    )

    title: Title
    body: Body
    language: Language
    audience: Audience = Audience.INTERNAL
    section_id: UUID | None = None
    keywords: Keywords = Field(default_factory=list)
    slug: Slug | None = Field(default=None, description="Made from the title where left out.")
    translation_of: UUID | None = None


class ArticlePatch(Request):
    """What is left out stays. New words make a new version, which is a draft until published."""

    model_config = examples(
        {"body": "1. Unplug it.\n2. Wait **thirty seconds**.\n3. Plug it in again."},
        {"section_id": "0198c5c6-a1b2-7c3d-8e4f-5061728394a5"},
    )

    title: Title | None = None
    body: Body | None = None
    keywords: Keywords | None = None
    language: Language | None = None
    audience: Audience | None = None
    section_id: UUID | None = None
    slug: Slug | None = None


class StepIn(Request):
    model_config = examples({"state": "review"}, {"state": "published"})

    state: State


class RestoreIn(Request):
    model_config = examples({"version": 2})

    version: Annotated[int, Field(ge=1, lt=2**31)]


class VersionOut(Shape):
    version: int
    title: str
    body: str
    keywords: list[str]
    restored_from: int | None
    author_id: UUID | None
    author_name: str | None
    created_at: datetime


class RatingIn(Request):
    model_config = examples({"helpful": True}, {"helpful": False, "comment": "Step 2 is missing."})

    helpful: bool
    comment: Annotated[str, Field(max_length=2000)] | None = None


class Comment(Shape):
    helpful: bool
    comment: str
    version: int
    by_agent: bool
    created_at: datetime


class RatingsOut(Shape):
    helpful: int
    unhelpful: int
    comments: list[Comment] = Field(description="The newest fifty.")


# Sections.


@router.get("/sections", summary="Sections, in order")
async def list_sections(caller: Viewer, work: Tx) -> list[SectionOut]:
    return [SectionOut(**row) for row in await sections.sections(work)]


@router.post("/sections", status_code=201, summary="Add a section")
async def create_section(body: SectionIn, caller: Publisher, work: Tx, origin: From) -> SectionOut:
    row = await sections.create_section(
        work, name=body.name, description=body.description, now=clock()
    )
    await record(work, caller, origin, "section.created", "section", row["id"], body.model_dump())
    return SectionOut(**row)


@router.get("/sections/{section_id}", summary="One section")
async def get_section(section_id: UUID, caller: Viewer, work: Tx, response: Response) -> SectionOut:
    shown = SectionOut(**await sections.section(work, section_id))
    put_tag(response, shown)
    return shown


@router.patch("/sections/{section_id}", summary="Change a section")
async def change_section(
    section_id: UUID, body: SectionPatch, caller: Publisher, edit: Editing
) -> SectionOut:
    asked = given(body, clears=set())
    await sections.hold(edit.work)
    await edit.unless_changed(SectionOut, sections.section, section_id)
    row, changes = await sections.change_section(edit.work, section_id, asked)
    return await edit.answer(caller, SectionOut(**row), "section", section_id, changes)


@router.delete("/sections/{section_id}", status_code=204, summary="Take away an empty section")
async def delete_section(section_id: UUID, caller: Publisher, work: Tx, origin: From) -> None:
    row = await sections.delete_section(work, section_id)
    said: dict[str, object] = {"name": row["name"]}
    await record(work, caller, origin, "section.deleted", "section", section_id, said)


# Articles.


@router.get("/articles", summary="Articles")
async def list_articles(
    caller: Viewer,
    work: Tx,
    q: Words | None = None,
    state: State | None = None,
    section_id: UUID | None = None,
    language: InLanguage = None,
    audience: Audience | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
) -> Page[ArticleLine]:
    """The newest change first; with `q` those that fit the words best, misspelt ones too, on one
    page."""
    if q is not None:
        rows = await knowledge.search(
            work, caller, q, state=state, section_id=section_id, language=language,
            audience=audience, limit=limit,
        )  # fmt: skip
        return Page(items=[ArticleLine(**row) for row in rows])
    page = await knowledge.articles(
        work, caller, state=state, section_id=section_id, language=language, audience=audience,
        limit=limit, cursor=cursor,
    )  # fmt: skip
    return Page(items=[ArticleLine(**row) for row in page.items], next=page.next)


@router.post("/articles", status_code=201, summary="Write an article")
async def create_article(body: ArticleIn, caller: Writer, work: Tx, origin: From) -> ArticleOut:
    """It begins as a draft. As a translation it stands beside the article it names."""
    row = await knowledge.create_article(
        work,
        caller,
        title=body.title,
        body=body.body,
        keywords=body.keywords,
        language=body.language,
        audience=body.audience,
        section_id=body.section_id,
        slug=body.slug,
        translation_of=body.translation_of,
        now=clock(),
    )
    said: dict[str, object] = {"slug": row["slug"], "title": row["title"]}
    await record(work, caller, origin, "article.created", "article", row["id"], said)
    return ArticleOut(**row)


@router.get("/articles/{article_id}", summary="One article")
async def get_article(article_id: UUID, caller: Viewer, work: Tx, response: Response) -> ArticleOut:
    return _tagged(response, await knowledge.article(work, caller, article_id))


@router.patch("/articles/{article_id}", summary="Change an article")
async def change_article(
    article_id: UUID,
    body: ArticlePatch,
    caller: Writer,
    work: Tx,
    origin: From,
    expected: IfMatch,
    response: Response,
) -> ArticleOut:
    """Readers see the old words until the new ones are published. Where they do read it, its
    address, section, language and audience take knowledge.publish."""
    asked = given(body, clears={"section_id"})
    await sections.hold(work)
    before = await knowledge.article(work, caller, article_id)
    expected.check(ArticleOut(**before), but=_BESIDE)
    row, changes = await knowledge.change_article(work, caller, article_id, asked, now=clock())
    await _record(work, caller, origin, row, changes)
    return _tagged(response, row)


@router.post("/articles/{article_id}/state", summary="Submit, publish or archive an article")
async def step_article(
    article_id: UUID,
    body: StepIn,
    caller: Writer,
    work: Tx,
    origin: From,
    expected: IfMatch,
    response: Response,
) -> ArticleOut:
    """draft → review → published → archived → draft. Publishing and archiving take
    knowledge.publish; published is what the article says now."""
    await sections.hold(work)
    before = await knowledge.article(work, caller, article_id)
    expected.check(ArticleOut(**before), but=_BESIDE)
    row, changes = await knowledge.take_step(work, caller, article_id, body.state, now=clock())
    await _record(work, caller, origin, row, changes)
    return _tagged(response, row)


@router.get("/articles/{article_id}/versions", summary="What an article said before")
async def list_article_versions(
    article_id: UUID,
    caller: Writer,
    work: Tx,
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
    before: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
) -> list[VersionOut]:
    """Newest first; `before` a version goes on."""
    rows = await knowledge.versions(work, caller, article_id, limit=limit, before=before)
    return [VersionOut(**row) for row in rows]


@router.post("/articles/{article_id}/restore", summary="Go back to an earlier version")
async def restore_article(
    article_id: UUID,
    body: RestoreIn,
    caller: Writer,
    work: Tx,
    origin: From,
    expected: IfMatch,
    response: Response,
) -> ArticleOut:
    """Its words once more, as a new version and a draft; nothing in between is lost."""
    await sections.hold(work)
    before = await knowledge.article(work, caller, article_id)
    expected.check(ArticleOut(**before), but=_BESIDE)
    row, changes = await knowledge.restore(work, caller, article_id, body.version, now=clock())
    await _record(work, caller, origin, row, changes)
    return _tagged(response, row)


@router.post("/articles/{article_id}/feedback", status_code=204, summary="Say whether it helped")
async def rate_article(article_id: UUID, body: RatingIn, caller: Viewer, work: Tx) -> None:
    """Each person has one say; the last counts."""
    shown = await knowledge.article(work, caller, article_id)
    await ratings.rate(
        work,
        shown,
        reader=f"user:{caller.id}",
        helpful=body.helpful,
        comment=body.comment or None,
        now=clock(),
    )


@router.get("/articles/{article_id}/feedback", summary="Whether it helped")
async def read_article_feedback(article_id: UUID, caller: Writer, work: Tx) -> RatingsOut:
    return RatingsOut.model_validate(await ratings.ratings(work, caller, article_id))


def _tagged(response: Response, row: Row) -> ArticleOut:
    shown = ArticleOut(**row)
    put_tag(response, shown, but=_BESIDE)
    return shown


async def _record(
    work: Tx, caller: Principal, origin: From, row: Row, changes: dict[str, list[object]]
) -> None:
    if changes:
        said: dict[str, object] = {"changes": dict(changes), "slug": row["slug"]}
        await record(work, caller, origin, "article.changed", "article", row["id"], said)
