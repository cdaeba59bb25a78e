"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# The audit trail takes new rows and nothing else, whoever asks.
APPEND_ONLY = {
    "sqlite": [
        f"CREATE TRIGGER audit_trail_no_{verb.lower()} BEFORE {verb} ON audit_trail "
        "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
        for verb in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE FUNCTION audit_trail_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$",
        "CREATE TRIGGER audit_trail_append_only BEFORE UPDATE OR DELETE OR TRUNCATE "
        "ON audit_trail FOR EACH STATEMENT EXECUTE FUNCTION audit_trail_refuse()",
    ],
}


def upgrade() -> None:
    """Bring a database forward."""
    _create_keys()
    _create_audit_trail()
    _create_predictions()
    _create_jobs()
    _create_reviews()


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        *_texts(id=32, name=100, sha256=64, scopes=100, created_at=32),
        _text("expires_at", 32, nullable=True),
        _text("revoked_at", 32, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("sha256", name="uq_api_keys_sha256"),
    )


def _create_audit_trail() -> None:
    op.create_table(
        "audit_head",
        _integer("id"),
        _integer("number"),
        _text("hash", 64),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.create_table(
        "audit_trail",
        _integer("number"),
        *_texts(created_at=32, actor=64, action=32, subject=64),
        _text("details"),
        *_texts(previous=64, hash=64),
        sa.PrimaryKeyConstraint("number", name="pk_audit_trail"),
    )
    op.create_index("ix_audit_trail_subject", "audit_trail", ["subject"])
    op.execute(sa.text("INSERT INTO audit_head VALUES (1, 0, :start)").bindparams(start="0" * 64))
    for statement in APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)


def _create_predictions() -> None:
    op.create_table(
        "predictions",
        _integer("number", autoincrement=True),
        *_texts(id=32, created_at=32, reader=64, source=16),
        _text("job", 32, nullable=True),
        sa.Column("position", sa.Integer()),
        *_texts(input_sha256=64, bundle=200, bundle_sha256=64),
        *_texts(modality=8, decision=16, tumor_type=16),
        sa.Column("tumor_probability", sa.Float(precision=53)),
        _text("document"),
        _text("timings"),
        sa.Column("evidence", sa.LargeBinary()),
        sa.Column("prepared", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("number", name="pk_predictions"),
        sa.UniqueConstraint("id", name="uq_predictions_id"),
        sqlite_autoincrement=True,
    )
    for name in ("created_at", "input_sha256", "job"):
        op.create_index(f"ix_predictions_{name}", "predictions", [name])
    op.create_index("ix_predictions_reader_number", "predictions", ["reader", "number"])


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        *_texts(id=32, created_at=32, reader=64),
        _integer("total"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_created_at", "jobs", ["created_at"])
    op.create_table(
        "job_scans",
        _text("job", 32),
        _integer("position"),
        _text("path", 255),
        _text("notes"),
        _text("input_sha256", 64),
        sa.Column("pixels", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name="fk_job_scans_job", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "position", name="pk_job_scans"),
    )


def _create_reviews() -> None:
    op.create_table(
        "reviews",
        _integer("number", autoincrement=True),
        *_texts(id=32, prediction_id=32, created_at=32, reader=64),
        *_texts(verdict=8, decision=16, tumor_type=16),
        _text("reason"),
        sa.ForeignKeyConstraint(
            ["prediction_id"], ["predictions.id"], "fk_reviews_prediction_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name="pk_reviews"),
        sa.UniqueConstraint("id", name="uq_reviews_id"),
    )
    op.create_index("ix_reviews_prediction_id", "reviews", ["prediction_id"])


def _text(name: str, length: int | None = None, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length) if length else sa.Text(), nullable=nullable)


def _texts(**lengths: int) -> list[sa.Column[str]]:
    return [_text(name, length) for name, length in lengths.items()]


def _integer(name: str, *, autoincrement: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), autoincrement=autoincrement, nullable=False)
