"""The one answer for a series has a row of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Bring a database forward."""
    lengths = {"id": 32, "created_at": 32, "owner": 64, "source": 16, "series": 64,
               "modality": 8, "decision": 16, "bundle": 200, "bundle_sha256": 64}  # fmt: skip
    op.create_table(
        "series",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        *(sa.Column(name, sa.String(length), nullable=False) for name, length in lengths.items()),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("description", "document")),
        sa.PrimaryKeyConstraint("number", name="pk_series"),
        sa.UniqueConstraint("id", name="uq_series_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_series_created_at", "series", ["created_at"])
    op.create_index("ix_series_owner_number", "series", ["owner", "number"])
