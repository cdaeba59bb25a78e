"""The head of the audit trail has its latest time and a signature; batches can be canceled."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Bring a database forward."""
    for name, length in (("latest_at", 32), ("signature", 64)):
        column = sa.Column(name, sa.String(length), nullable=False, server_default="")
        op.add_column("audit_head", column)
    latest = "SELECT coalesce(max(created_at), '') FROM audit_trail"
    op.execute(f"UPDATE audit_head SET latest_at = ({latest})")
    op.add_column("jobs", sa.Column("canceled_at", sa.String(32), nullable=True))
