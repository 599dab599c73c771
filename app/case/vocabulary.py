"""The closed lists of the standard (CASE 1.1 information model, section 7)."""

from __future__ import annotations

ASSOCIATION_TYPES = (
    "isChildOf",
    "isPeerOf",
    "isPartOf",
    "exactMatchOf",
    "precedes",
    "isRelatedTo",
    "replacedBy",
    "exemplar",
    "hasSkillLevel",
    "isTranslationOf",
)
"""How an origin may relate to a destination; ``ext:`` names add to the list."""

RELATED = "isRelatedTo"
"""What a reader takes a type for that it does not know."""

ASSOCIATION_TYPES_1_0 = frozenset(ASSOCIATION_TYPES) - {"isTranslationOf"}
"""The types of CASE 1.0, whose list was closed."""

TARGET_TYPES = ("CASE",)
"""What a node may be; ``ext:`` names are nodes that do not live in a CASE server."""

EXTENSION_NAME = r"ext:[a-zA-Z0-9.\-_]+"
"""A name of somebody's own, beside the lists above."""

CASE_VERSION = "1.1"
"""The only version a document may say it conforms to."""

UNKNOWN_ITEM_TYPE = "unknown"
"""The CFItemType that the vendor's API answers for an item without one."""
