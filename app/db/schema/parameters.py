"""Parameters that many SQL statements have."""

from __future__ import annotations

from sqlalchemy import ARRAY, BigInteger, Text, bindparam

IDENTIFIER = bindparam("identifier", type_=Text)
IDENTIFIERS = bindparam("identifiers", type_=ARRAY(Text))

DOCUMENT = bindparam("document_identifier", type_=Text)
"""The identifier of the document whose framework a statement reads or writes."""

LIMIT, OFFSET = (bindparam(name, type_=BigInteger) for name in ("limit", "offset"))
