"""Field values that responses add to a stored body: required fields and the URIs of links."""

from __future__ import annotations

from .resources import CONCEPTS, DOCUMENTS, GROUPINGS, ITEM_TYPES, LICENSES, SUBJECTS

REQUIRED_DEFAULTS = {"hierarchyCode": None, "description": "title", "licenseText": "uri"}
"""Required fields that a definition lacks if it was created from a link. Responses contain the
value of the named field instead, or an empty string for None."""

LINK_TARGETS = {
    "CFDocumentURI": DOCUMENTS.collection,
    "CFPackageURI": "CFPackages",
    "subjectURI": SUBJECTS.collection,
    "conceptKeywordsURI": CONCEPTS.collection,
    "CFItemTypeURI": ITEM_TYPES.collection,
    "licenseURI": LICENSES.collection,
    "CFAssociationGroupingURI": GROUPINGS.collection,
}
"""Links to entities that are always stored on this server, and the route of these entities."""

NODE_FIELDS = ("originNodeURI", "destinationNodeURI")
"""The links of an association, which may lead to nodes that are not on this server."""
