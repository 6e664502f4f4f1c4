"""Row-level security, grants, and the functions that run before a tenant is known."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    sql = (Path(__file__).parent.parent / "security.sql").read_text()
    # As the driver takes it: several statements, nothing bound.
    op.get_bind().connection.driver_connection.execute(sql)  # type: ignore[union-attr]
