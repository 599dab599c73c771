"""Let revisions and cursors of the change feed differ after a failover that lost writes."""

from __future__ import annotations

from alembic import op

revision = "2026_11_27_failover"
down_revision = "2026_11_27_triple_not_null"
branch_labels = None
depends_on = None

COMMENTS = {
    "feed_history.timeline": "WAL timeline that the primary server recorded last; each failover"
    " starts a new one. Part of every cursor of the feed.",
    "revision_marks.step": "Random, so that a write lost in a failover and the next one never lead"
    " to the same revision.",
    "revisions.version": "Sum of the steps folded in; the revision adds those of revision_marks.",
}
OLD_COMMENT = "Number of writes folded in; the revision adds the rows of revision_marks."

# In recovery the function cannot ask for the timeline, so a standby returns the replicated one.
CREATE_FUNCTION = """
CREATE FUNCTION wal_timeline() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN (SELECT timeline FROM feed_history);
    END IF;
    RETURN left(pg_walfile_name(pg_current_wal_lsn()), 8);
EXCEPTION WHEN undefined_function OR feature_not_supported OR insufficient_privilege
    OR object_not_in_prerequisite_state THEN
    RETURN '00000000'; -- an engine without a WAL of its own
END $$"""


def upgrade() -> None:
    op.execute("ALTER TABLE feed_history ADD timeline text NOT NULL DEFAULT '00000000'")
    op.execute(CREATE_FUNCTION)
    op.execute("UPDATE feed_history SET timeline = wal_timeline()")
    # Existing rows count 1 as before, so that the ETags of packages stay valid.
    op.execute("ALTER TABLE revision_marks ADD step bigint NOT NULL DEFAULT 1")
    op.execute(
        "ALTER TABLE revision_marks ALTER step SET DEFAULT (1 + random() * 1000000000)\\:\\:bigint"
    )
    for column, comment in COMMENTS.items():
        op.execute(f"COMMENT ON COLUMN {column} IS '{comment}'")


def downgrade() -> None:
    op.execute(f"COMMENT ON COLUMN revisions.version IS '{OLD_COMMENT}'")
    op.execute("ALTER TABLE revision_marks DROP step")
    op.execute("DROP FUNCTION wal_timeline()")
    op.execute("ALTER TABLE feed_history DROP timeline")
