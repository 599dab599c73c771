"""The values that answers show, as SQL: stored ones, and those that a profile derives.

Filters and sorts use these expressions, so that they see the same values as the client. The
expressions mirror ``api/shapes.py`` and ``api/rendering.py``, which derive the values of answers.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import unquote

from sqlalchemy import (
    ColumnElement,
    Table,
    Text,
    bindparam,
    case,
    column,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from ...case.derived_fields import LINK_TARGETS, REQUIRED_DEFAULTS
from ...case.resources import DEFINITIONS, DOCUMENTS, ITEMS, Resource
from ..schema.json_sql import json_text
from ..schema.tables import table_of

Path = tuple[str, ...]

ADDRESS = "address"
"""The parameter of a statement that holds the URL of the profile, without a slash at its end."""

PACKAGE_LINK = "CFPackageURI"


class Derivation(NamedTuple):
    """The values that a profile derives, besides those that every profile does."""

    rewrites_uris: bool = False
    """Whether the uri of everything stored here is its address on this server."""
    default_item_type: str | None = None
    """The CFItemType of items without one."""


class Entities(NamedTuple):
    """The entities of a resource type, as one profile answers them."""

    resource: Resource
    derivation: Derivation

    @property
    def table(self) -> Table:
        """The table that stores them."""
        return table_of(self.resource)


def shown(entities: Entities, path: Path) -> ColumnElement[str]:
    """Return the text that answers show at a path; NULL where they show none."""
    table = entities.table
    if path == ("identifier",):
        return table.c.identifier
    if (plural := rewritten_to(entities, path)) is not None:
        return address_of(plural, shown(entities, (*path[:-1], "identifier")))
    stored = json_text(table.c.body, *path)
    default = _default(entities, path)
    return stored if default is None else func.coalesce(stored, default)


def rewritten_to(entities: Entities, path: Path) -> str | None:
    """Return the route of the address that a profile answers as this uri, if it rewrites it."""
    if not entities.derivation.rewrites_uris or path[-1] != "uri":
        return None
    return entities.resource.plural if len(path) == 1 else LINK_TARGETS.get(path[0])


def _default(entities: Entities, path: Path) -> ColumnElement[str] | None:
    """Return the value that answers show where the body has none."""
    resource, body, name = entities.resource, entities.table.c.body, path[0]
    if resource is DOCUMENTS and name == PACKAGE_LINK:
        identifier = entities.table.c.identifier
        derived: dict[str, ColumnElement[str]] = {
            "title": json_text(body, "title"),
            "identifier": identifier,
            "uri": address_of("CFPackages", identifier),
        }
        return derived[path[1]]
    if resource is ITEMS and name == "CFItemType" and entities.derivation.default_item_type:
        return literal(entities.derivation.default_item_type, Text)
    if resource in DEFINITIONS and name in REQUIRED_DEFAULTS and len(path) == 1:
        if not resource.schema.model_fields[name].is_required():
            return None
        source = REQUIRED_DEFAULTS[name]
        return literal_column("''") if source is None else shown(entities, (source,))
    return None


def address_of(plural: str, identifier: ColumnElement[str]) -> ColumnElement[str]:
    """Return the address of an entity under the profile's URL."""
    base = bindparam(ADDRESS, type_=Text).op("||")(literal_column(f"'/{plural}/'"))
    return base.op("||", return_type=Text())(_percent_encoded(identifier))


def identifier_in(uri: str, address: str, plural: str) -> str:
    """Return the identifier in an address made by ``address_of``; '' for any other uri."""
    base = f"{address}/{plural}/"
    if uri[: len(base)].lower() != base.lower():
        return ""
    identifier = unquote(uri[len(base) :])
    return "" if "\0" in identifier else identifier


def _percent_encoded(text: ColumnElement[str]) -> ColumnElement[Any]:
    """Return the text as ``urllib.parse.quote(text, safe="")`` encodes it."""
    character = column("character", Text)
    each = (
        func.regexp_split_to_table(text, literal_column("''"))
        .table_valued(character, with_ordinality="place")
        .render_derived("each")
    )
    octets = func.encode(
        func.convert_to(each.c.character, literal_column("'UTF8'")), literal_column("'hex'")
    )
    encoded = func.regexp_replace(
        func.upper(octets),
        literal_column("'(..)'"),
        literal_column(r"'%\1'"),
        literal_column("'g'"),
    )
    one = case((_is_unreserved(each.c.character), each.c.character), else_=encoded)
    joined = func.string_agg(one, aggregate_order_by(literal_column("''"), each.c.place))
    # Identifiers are UUIDs as a rule, which need no encoding: the test costs less than the rest.
    return case(
        (_is_unreserved(text), text), else_=select(joined).select_from(each).scalar_subquery()
    )


def _is_unreserved(text: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a text holds only characters that need no encoding (RFC 3986 section 2.3)."""
    return text.collate("C").op("~", is_comparison=True)(literal_column("'^[A-Za-z0-9_.~-]*$'"))
