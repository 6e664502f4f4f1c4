"""Whether articles help those who read them."""

import uuid
from datetime import datetime

from domain.permissions import Principal
from models.base import new_id
from models.session import Row, Work
from services.knowledge import article


async def rate(
    work: Work,
    shown: Row,
    *,
    reader: str,
    helpful: bool,
    comment: str | None,
    now: datetime,
) -> None:
    """Whether an article helped. A reader who says so again changes their mind."""
    await work.batch(
        (
            "insert into article_feedback (tenant_id, id, article_id, version, reader, helpful,"
            " comment, created_at) values (%s, %s, %s, %s, %s, %s, %s, %s)"
            " on conflict (tenant_id, article_id, reader) do update set"
            " version = excluded.version, helpful = excluded.helpful,"
            " comment = excluded.comment, created_at = excluded.created_at",
            (
                work.tenant_id, new_id(), shown["id"],
                shown["published_version"] or shown["version"], reader, helpful, comment, now,
            ),
        )
    )  # fmt: skip


async def ratings(work: Work, caller: Principal, article_id: uuid.UUID) -> Row:
    """How many an article helped and how many not, with the newest comments."""
    await article(work, caller, article_id)
    key = (work.tenant_id, article_id)
    [[counts], comments] = await work.batch(
        (
            "select count(*) filter (where helpful) as helpful,"
            " count(*) filter (where not helpful) as unhelpful from article_feedback"
            " where tenant_id = %s and article_id = %s",
            key,
        ),
        (
            "select helpful, comment, version, starts_with(reader, 'user:') as by_agent,"
            " created_at from article_feedback where tenant_id = %s and article_id = %s"
            " and comment is not null order by created_at desc, id desc limit 50",
            key,
        ),
    )
    return {**counts, "comments": comments}
