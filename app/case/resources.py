"""The resource types of the standard, in the order of the binding."""

from __future__ import annotations

from dataclasses import dataclass

from ..exceptions import NotFound
from .model import (
    CFAssociation,
    CFAssociationGrouping,
    CFConcept,
    CFDocument,
    CFItem,
    CFItemType,
    CFLicense,
    CFRubric,
    CFSubject,
    Entity,
)


@dataclass(frozen=True)
class ResourceType:
    """A type of entity in the API, such as CFItem: its names, its model class and its table."""

    name: str
    collection: str
    schema: type[Entity]
    table: str
    with_descendants: bool = False
    """True if GET of one entity also returns those whose hierarchyCode continues its own."""

    def create_not_found_error(self, identifier: str) -> NotFound:
        """Return a ``NotFound`` error saying that no entity of this type has the identifier."""
        hint = "CFDocuments lists all frameworks"
        if self.name != "CFDocument":
            hint = "the CFPackage of its framework contains those that exist"
        return NotFound(self.name, identifier, hint)


DOCUMENTS = ResourceType("CFDocument", "CFDocuments", CFDocument, "documents")
ITEMS = ResourceType("CFItem", "CFItems", CFItem, "items")
ASSOCIATIONS = ResourceType("CFAssociation", "CFAssociations", CFAssociation, "associations")
CONCEPTS = ResourceType("CFConcept", "CFConcepts", CFConcept, "concepts", with_descendants=True)
SUBJECTS = ResourceType("CFSubject", "CFSubjects", CFSubject, "subjects", with_descendants=True)
LICENSES = ResourceType("CFLicense", "CFLicenses", CFLicense, "licenses")
ITEM_TYPES = ResourceType(
    "CFItemType", "CFItemTypes", CFItemType, "item_types", with_descendants=True
)
GROUPINGS = ResourceType(
    "CFAssociationGrouping",
    "CFAssociationGroupings",
    CFAssociationGrouping,
    "association_groupings",
)
RUBRICS = ResourceType("CFRubric", "CFRubrics", CFRubric, "rubrics")

DEFINITIONS = (CONCEPTS, SUBJECTS, LICENSES, ITEM_TYPES, GROUPINGS)
"""Members of CFDefinitions: shared by all frameworks, and created when first referred to."""

RESOURCES = (DOCUMENTS, ITEMS, ASSOCIATIONS, *DEFINITIONS, RUBRICS)
"""All resource types with a URL of their own."""
