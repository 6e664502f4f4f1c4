"""Finding uploads that no message ever named, and bytes that no upload needs any more."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("files", sa.Column("unused_since", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_files_unused",
        "files",
        ["unused_since"],
        postgresql_where=sa.text("unused_since is not null"),
    )
    op.create_index("ix_attachments_file", "attachments", ["tenant_id", "sha256"])
    op.create_index(
        "ix_attachments_waiting",
        "attachments",
        ["created_at"],
        postgresql_where=sa.text("message_id is null"),
    )
    op.execute("grant delete on files to holdfast_app")
    op.execute("grant select (tenant_id, message_id, created_at) on attachments to holdfast_relay")
    op.execute("create policy relay on attachments for select to holdfast_relay using (true)")
    op.execute("grant select (tenant_id, unused_since) on files to holdfast_relay")
    op.execute("create policy relay on files for select to holdfast_relay using (true)")
