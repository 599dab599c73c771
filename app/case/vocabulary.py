"""The vocabularies of the standard (CASE 1.1 information model, section 7)."""

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
"""Relations of an origin to a destination; ``ext:`` names extend the list."""

IS_CHILD_OF = "isChildOf"
"""The association type that makes the tree (CASE 1.1 information model, CFAssociation)."""

RELATED = "isRelatedTo"
"""The type that replaces an unknown one for readers of CASE 1.0."""

ASSOCIATION_TYPES_1_0 = frozenset(ASSOCIATION_TYPES) - {"isTranslationOf"}
"""The types of CASE 1.0, which has no extensions."""

TARGET_TYPES = ("CASE",)
"""Types of nodes; ``ext:`` names are for nodes outside of CASE servers."""

EXTENSION_NAME = r"ext:[a-zA-Z0-9.\-_]+"
"""The pattern of names that extend these vocabularies."""

CASE_VERSION = "1.1"
"""The only value of caseVersion."""

UNKNOWN_ITEM_TYPE = "unknown"
"""The CFItemType that TimeBack's API returns for an item without one."""
