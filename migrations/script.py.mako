<%!
import json


def render(value):
    """Return a revision identifier, several of them or None as ruff formats it."""
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(json.dumps, value)) + ")"
    return "None" if value is None else json.dumps(value)
%>\
"""${message}."""

from __future__ import annotations

% if upgrades:
import sqlalchemy as sa
from alembic import op
${imports or ""}
% endif
revision = ${render(up_revision)}
down_revision = ${render(down_revision)}
branch_labels = ${render(branch_labels)}
depends_on = ${render(depends_on)}


def upgrade() -> None:
    ${upgrades or "pass"}


def downgrade() -> None:
    ${downgrades or "pass"}
