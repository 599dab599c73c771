"""MD5 digests of stored bodies: tell whether a body changed without reading it.

A package of 20 MB is compared with what is stored by 32 bytes for each entity.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import ColumnElement, Table, Text, cast, func

from ...case.package import EntityRow


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
    if not row.is_home_derived:
        return False
    return _digest(row.body[: row.body.rindex(',"CFDocumentURI":')] + "}") == digest


def _digest(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
