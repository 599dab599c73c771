"""What answers derive from a stored body: the values of required fields, and where links lead."""

from __future__ import annotations

from .resources import CONCEPTS, DOCUMENTS, GROUPINGS, ITEM_TYPES, LICENSES, SUBJECTS

REQUIRED_DEFAULTS = {"hierarchyCode": None, "description": "title", "licenseText": "uri"}
"""Required fields that a definition registered from a link lacks, and the field whose value is
answered instead; None stands for an empty string."""

LINK_TARGETS = {
    "CFDocumentURI": DOCUMENTS.plural,
    "CFPackageURI": "CFPackages",
    "subjectURI": SUBJECTS.plural,
    "conceptKeywordsURI": CONCEPTS.plural,
    "CFItemTypeURI": ITEM_TYPES.plural,
    "licenseURI": LICENSES.plural,
    "CFAssociationGroupingURI": GROUPINGS.plural,
}
"""Links to entities that are always stored here, and the route that answers them."""
