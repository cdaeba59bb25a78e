"""A scan that waits knows what its file says of its modality."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Bring a database forward."""
    op.add_column("job_scans", sa.Column("modality", sa.String(8), nullable=True))
