"""Articles for customers: what is published in public, for anybody who knows the desk's name."""

import hashlib
import hmac
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.deps import From, Served
from api.knowledge import InLanguage, RatingIn, Words
from api.problems import also
from api.public import FormTx
from api.routing import Route
from api.shapes import Page, Shape
from domain.errors import NotFound
from models.session import Row, Work
from services import knowledge, ratings
from services.tickets import clock

router = APIRouter(prefix="/public/v1", tags=["public"], route_class=Route)

InPath = Annotated[str, Path(max_length=100)]


class PublicLine(Shape):
    """An article as a list shows it to customers."""

    slug: str
    title: str
    language: str
    snippet: str | None = None
    published_at: datetime


class PublicTranslation(Shape):
    slug: str
    language: str
    title: str


class PublicArticle(Shape):
    slug: str
    title: str
    html: str
    language: str
    published_at: datetime
    translations: list[PublicTranslation]


@router.get("/{tenant}/articles", summary="Articles for customers", responses=also(404))
async def list_articles(
    work: FormTx,
    q: Words | None = None,
    language: InLanguage = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
) -> Page[PublicLine]:
    """What is published for customers; with `q` those that fit the words best, on one page."""
    if q is not None:
        found = await knowledge.search(work, None, q, language=language, limit=limit)
        return Page(items=[PublicLine(**row) for row in found])
    page = await knowledge.articles(work, None, language=language, limit=limit, cursor=cursor)
    return Page(items=[PublicLine(**row) for row in page.items], next=page.next)


@router.get("/{tenant}/articles/{slug}", summary="Read an article", responses=also(404))
async def read_article(slug: InPath, work: FormTx) -> PublicArticle:
    return PublicArticle(**await _article(work, slug))


@router.post(
    "/{tenant}/articles/{slug}/feedback",
    status_code=204,
    summary="Say whether it helped",
    responses=also(404),
)
async def rate_article(
    slug: InPath, body: RatingIn, work: FormTx, served: Served, origin: From
) -> None:
    """Once a day from an address; the last counts."""
    shown, now = await _article(work, slug), clock()
    # Whose say it was can be told apart for a day, and by nobody who only has the database.
    key = served.settings.secret_key.get_secret_value().encode()
    said = f"reader\0{work.tenant_id}\0{origin.ip}\0{now.date()}".encode()
    await ratings.rate(
        work,
        shown,
        reader=f"public:{hmac.new(key, said, hashlib.sha256).hexdigest()[:32]}",
        helpful=body.helpful,
        comment=body.comment or None,
        now=now,
    )


async def _article(work: Work, slug: str) -> Row:
    try:
        return await knowledge.article(work, None, slug)
    except knowledge.ArticleNotFound:
        raise NotFound("There is no such article.") from None
