"""Rewrite comments on tables and columns that were unclear."""

from __future__ import annotations

from alembic import op

revision = "2026_11_28_plain_comments"
down_revision = "2026_11_28_descending_order"
branch_labels = None
depends_on = None

COMMENTS = {
    "COLUMN changes.transaction_id": (
        "The transaction that wrote the change, as pg_current_xact_id() returned it."
    ),
    "TABLE changes": (
        "Change feed, append-only: one row per entity and write, inserted by the statement that"
        " wrote the entity."
    ),
    "TABLE feed_history": (
        "One row: identifies the history of the change feed, so that the server can reject"
        " cursors of another history."
    ),
    "COLUMN revisions.version": (
        "Sum of the steps moved here from revision_marks; the revision is this sum plus the"
        " steps that remain there."
    ),
    "COLUMN revisions.changed_at": "When the last write whose step is in version happened.",
    "TABLE revision_marks": (
        "Writes not added to revisions yet. Append-only, so that writers of one document do not"
        " wait for each other."
    ),
    "COLUMN revoked_tokens.expires_at": "When the token expires and the row is no longer needed.",
    "COLUMN clients.scopes": "Scopes that the client may request.",
    "COLUMN items.changed_at": (
        "Generated: last_change_date_time in UTC, to the millisecond, as in responses."
    ),
}
OLD_COMMENTS = {
    "COLUMN changes.transaction_id": (
        "The transaction that wrote, as pg_current_xact_id() returned it."
    ),
    "TABLE changes": (
        "Change feed, append-only: one row per entity and write, inserted by the statement that"
        " wrote."
    ),
    "TABLE feed_history": (
        "One row: which history the change feed tells, so that cursors of another end."
    ),
    "COLUMN revisions.version": (
        "Sum of the steps folded in; the revision adds those of revision_marks."
    ),
    "COLUMN revisions.changed_at": "When the last folded write happened.",
    "TABLE revision_marks": (
        "Writes not folded into revisions yet. Append-only, so that writers of one document do"
        " not wait for each other."
    ),
    "COLUMN revoked_tokens.expires_at": "When the token expires and the row is of no use any more.",
    "COLUMN clients.scopes": "Scopes that it may ask for.",
    "COLUMN items.changed_at": (
        "Generated: last_change_date_time in UTC, to the millisecond, as it is answered."
    ),
}


def upgrade() -> None:
    _set_comments(COMMENTS)


def downgrade() -> None:
    _set_comments(OLD_COMMENTS)


def _set_comments(comments: dict[str, str]) -> None:
    for target, comment in comments.items():
        op.execute(f"COMMENT ON {target} IS '{comment}'")
