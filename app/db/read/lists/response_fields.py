"""SQL expressions for field values as a profile's responses contain them: stored or added.

Filters and sorting use these expressions, so that they compare the values that the client sees.
``api/rendering/transforms.py`` and ``api/rendering/fast_json.py`` add the same values in Python.
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

from ....case.resources import DEFINITIONS, DOCUMENTS, ITEMS, ResourceType
from ....case.response_fields import LINK_TARGETS, REQUIRED_DEFAULTS
from ...schema.expressions import build_text_extract
from ...schema.tables import get_table

Path = tuple[str, ...]

BASE_URL = "base_url"
"""The name of the parameter that holds the URL of the profile, without a slash at its end."""


class ResourceView(NamedTuple):
    """A resource type, such as CFItem, and how an API profile changes its fields in responses.

    Contains only options that differ between profiles.
    """

    resource: ResourceType
    rewrites_uris: bool = False
    """True if the uri of entities stored here is replaced by their URL on this server."""
    default_item_type: str | None = None
    """The CFItemType shown for items without one."""

    @property
    def table(self) -> Table:
        """The table that stores the entities of this type."""
        return get_table(self.resource)


def build_text_expression(view: ResourceView, path: Path) -> ColumnElement[str]:
    """Build the SQL for the text of a field as it appears in responses of an API profile.

    ``path`` is the field's name, followed by the names of nested fields, if any. The value is NULL
    if the field is absent.
    """
    table = view.table
    if path == ("identifier",):
        return table.c.identifier
    if (collection := get_server_url_collection(view, path)) is not None:
        identifier = build_text_expression(view, (*path[:-1], "identifier"))
        return build_entity_url_expression(collection, identifier)
    stored = build_text_extract(table.c.body, *path)
    default = _build_default_expression(view, path)
    return stored if default is None else func.coalesce(stored, default)


def get_server_url_collection(view: ResourceView, path: Path) -> str | None:
    """Return the collection of the server URL that a profile shows for a ``uri``, or None.

    For example, ``CFItems`` if responses show ``BASE/CFItems/ID`` instead of the stored ``uri``.
    Returns None if the profile shows the stored value or the field at ``path`` is not a ``uri``.
    """
    if not view.rewrites_uris or path[-1] != "uri":
        return None
    return view.resource.collection if len(path) == 1 else LINK_TARGETS.get(path[0])


def _build_default_expression(view: ResourceView, path: Path) -> ColumnElement[str] | None:
    """Build the SQL for the value that responses show for an absent field.

    Returns None if the field has no default.
    """
    resource, body, name = view.resource, view.table.c.body, path[0]
    if resource is DOCUMENTS and name == "CFPackageURI":
        identifier = view.table.c.identifier
        derived: dict[str, ColumnElement[str]] = {
            "title": build_text_extract(body, "title"),
            "identifier": identifier,
            "uri": build_entity_url_expression("CFPackages", identifier),
        }
        return derived[path[1]]
    if resource is ITEMS and name == "CFItemType" and view.default_item_type:
        return literal(view.default_item_type, Text)
    if resource in DEFINITIONS and name in REQUIRED_DEFAULTS and len(path) == 1:
        if not resource.schema.model_fields[name].is_required():
            return None
        source = REQUIRED_DEFAULTS[name]
        return literal_column("''") if source is None else build_text_expression(view, (source,))
    return None


def build_entity_url_expression(
    collection: str, identifier: ColumnElement[str]
) -> ColumnElement[str]:
    """Build the SQL expression for an entity's URL on this server, such as BASE/CFItems/ID.

    ``collection`` is its middle part, such as CFItems. ``identifier`` is the SQL for the
    identifier. The base URL is the SQL parameter ``base_url``.
    """
    prefix = bindparam(BASE_URL, type_=Text).op("||")(literal_column(f"'/{collection}/'"))
    return prefix.op("||", return_type=Text())(_build_percent_encoding_expression(identifier))


def parse_entity_url(url: str, base_url: str, collection: str) -> str:
    """Return the identifier in an entity's URL on this server, or "" for any other URL.

    ``collection`` is the name that the URL must contain, such as ``CFItems``.
    """
    prefix = f"{base_url}/{collection}/"
    if url[: len(prefix)].lower() != prefix.lower():
        return ""
    identifier = unquote(url[len(prefix) :])
    return "" if "\0" in identifier else identifier


def _build_percent_encoding_expression(text: ColumnElement[str]) -> ColumnElement[Any]:
    """Build the SQL that percent-encodes a string.

    The result equals that of ``urllib.parse.quote(…, safe="")``. ``text`` is the SQL for the
    string.
    """
    character = column("character", Text)
    characters = (
        func.regexp_split_to_table(text, literal_column("''"))
        .table_valued(character, with_ordinality="position")
        .render_derived("characters")
    )
    utf_8 = func.convert_to(characters.c.character, literal_column("'UTF8'"))
    hex_bytes = func.upper(func.encode(utf_8, literal_column("'hex'")))
    pattern, substitute = literal_column("'(..)'", Text), literal_column(r"'%\1'", Text)
    encoded = func.regexp_replace(hex_bytes, pattern, substitute, literal_column("'g'"))
    is_unreserved = _build_unreserved_condition(characters.c.character)
    escaped = case((is_unreserved, characters.c.character), else_=encoded)
    separator: ColumnElement[str] = literal_column("''")
    joined = func.string_agg(escaped, aggregate_order_by(separator, characters.c.position))
    # Most identifiers are UUIDs, which need no encoding, and the test is cheaper than encoding.
    return case(
        (_build_unreserved_condition(text), text),
        else_=select(joined).select_from(characters).scalar_subquery(),
    )


def _build_unreserved_condition(text: ColumnElement[str]) -> ColumnElement[bool]:
    """Build the SQL condition that a string needs no percent-encoding (RFC 3986, section 2.3)."""
    return text.collate("C").op("~", is_comparison=True)(literal_column("'^[A-Za-z0-9_.~-]*$'"))
