"""Package identifiers: unique among those of live documents and their packages.

``/CFPackages/{sourcedId}`` accepts the identifier of a package or of its document, so no package
may have the identifier of another live document. No constraint of Postgres spans two columns: a
writer holds the advisory locks of both identifiers while it compares them with what is stored.
Other documents may take over the package identifiers of deleted documents.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import CTE, ColumnElement, literal_column, or_, update

from ..schema import tables
from ..schema.expressions import build_exists

RELEASED_SUFFIX: ColumnElement[str] = literal_column("'/'")
"""Appended to the identifier of a document to make the package identifier after a release.

No identifier ends in a slash, so the column stays unique."""


def build_deleted_document_condition(packages: Any) -> ColumnElement[bool]:
    """Build the SQL condition that the document of a row in ``packages`` is soft-deleted.

    ``packages`` is the table of packages or an alias of it.
    """
    documents = tables.documents.alias("deleted_documents")
    return build_exists(
        documents.c.identifier == packages.c.document_identifier,
        documents.c.deleted_at.is_not(None),
    )


CONFLICT_MESSAGE = (
    "the package identifier %s, or the identifier of its document, belongs to the package of "
    "document %s: give this package another identifier, or delete that document first"
)
"""Message for a package identifier that is taken: the identifier, and the document that has it."""


def build_identifier_conflict_conditions(
    packages: Any, identifier: ColumnElement[Any], *, document: ColumnElement[Any]
) -> tuple[ColumnElement[bool], ...]:
    """Build the SQL conditions that another live package conflicts with a package identifier.

    ``packages`` is the table or an alias, ``identifier`` the one that the package of ``document``
    is to have. A package can be requested by its own identifier or that of its document, so neither
    of the two may be either identifier of another package.
    """
    return (
        or_(
            packages.c.identifier.in_((identifier, document)),
            packages.c.document_identifier == identifier,
        ),
        packages.c.document_identifier != document,
        ~build_deleted_document_condition(packages),
    )


def build_identifier_release_cte(
    *identifiers: ColumnElement[Any], new_owner: ColumnElement[Any]
) -> CTE:
    """Build a CTE that frees package identifiers which soft-deleted documents still have.

    The packages of these documents get an identifier with a suffix instead. ``new_owner`` is the
    document that will use the identifiers; its own package is not changed.
    """
    table = tables.packages
    return (
        update(table)
        .where(table.c.identifier.in_(identifiers), table.c.document_identifier != new_owner)
        .where(build_deleted_document_condition(table))
        .values(identifier=table.c.document_identifier.op("||")(RELEASED_SUFFIX))
        .returning(literal_column("1"))
        .cte("released")
    )
