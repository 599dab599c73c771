"""MD5 digests of stored bodies: tell whether a body changed without reading it.

A package of 20 MB is compared with what is stored by 32 bytes for each entity.
"""

from __future__ import annotations

import hashlib

import msgspec
from sqlalchemy import ColumnElement, Table, Text, bindparam, case, cast, func, null

from ...case.package import EntityRow
from ...case.resources import DOCUMENTS
from ...case.stored_form import FIELDS

LINK_FIELD = '"CFDocumentURI":'
PACKAGE_LINK_FIELD = '"CFPackageURI":'


def digest_column(table: Table) -> ColumnElement[str]:
    """Return the digest of a table's body column, to be compared by ``has_digest``."""
    return func.md5(cast(table.c.body, Text)).label("digest")


def has_digest(row: EntityRow, digest: str) -> bool:
    """Return whether a row has the stored body with this digest.

    A PUT association without CFDocumentURI is stored without it, while the same association in a
    package has one that was derived from the package; so a derived one is ignored here.
    """
    if _digest(row.body) == digest:
        return True
    if not row.is_home_derived or row.kind == DOCUMENTS.name:
        return False
    return _digest(_without_document_link(row.body) + "}") == digest


def container_link_column(table: Table) -> ColumnElement[str]:
    """Return the column that ``with_container_link`` reads: an unusual link to what contains a row.

    It is the CFPackageURI of a document, and the CFDocumentURI of an item or association unless it
    is the usual one, with which a body ends: the parameter ``home``, of ``home_ending``. NULL
    stands for no link or the usual one.
    """
    if table.name == DOCUMENTS.table:
        return cast(table.c.body["CFPackageURI"], Text).label("container_link")
    # The link is extracted from few bodies: parsing all of a large framework would take longer
    # than comparing their digests.
    body, home = cast(table.c.body, Text), bindparam("home", type_=Text)
    is_usual = func.right(body, func.length(home)) == home
    link = case((is_usual, null()), else_=cast(table.c.body["CFDocumentURI"], Text))
    return link.label("container_link")


def home_ending(document: str) -> str:
    """Return how bodies end that have the usual link to a document, given its stored body."""
    fields = FIELDS.decode(document)
    link = msgspec.json.encode({name: fields[name] for name in ("title", "identifier", "uri")})
    return f",{LINK_FIELD}{link.decode()}}}"


def with_container_link(row: EntityRow, link: str | None) -> EntityRow:
    """Return a row that was sent without the link to what contains it with the stored link.

    The standard's packages leave these links out (CASE 1.1 binding, CFPckg classes), so that a
    missing one is no change.
    """
    if link is None or not row.is_home_derived:
        return row
    if row.kind == DOCUMENTS.name:
        return row._replace(body=f"{row.body[:-1]},{PACKAGE_LINK_FIELD}{link}}}")
    return row._replace(body=f"{_without_document_link(row.body)},{LINK_FIELD}{link}}}")


def _without_document_link(body: str) -> str:
    """Return a body up to the link to its document, which is its last field."""
    return body[: body.rindex(f",{LINK_FIELD}")]


def _digest(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
