"""The register: one line per resource type of the standard, in the order of the binding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
class Resource:
    """A resource type: what it is called, its class, its table, and how it is answered."""

    name: str
    plural: str
    schema: type[Entity]
    table: str
    answers: Literal["one", "set"] = "one"
    """``set``: the entity asked for, then those whose hierarchyCode continues its own."""


DOCUMENTS = Resource("CFDocument", "CFDocuments", CFDocument, "documents")
ITEMS = Resource("CFItem", "CFItems", CFItem, "items")
ASSOCIATIONS = Resource("CFAssociation", "CFAssociations", CFAssociation, "associations")
CONCEPTS = Resource("CFConcept", "CFConcepts", CFConcept, "concepts", answers="set")
SUBJECTS = Resource("CFSubject", "CFSubjects", CFSubject, "subjects", answers="set")
LICENSES = Resource("CFLicense", "CFLicenses", CFLicense, "licenses")
ITEM_TYPES = Resource("CFItemType", "CFItemTypes", CFItemType, "item_types", answers="set")
GROUPINGS = Resource(
    "CFAssociationGrouping",
    "CFAssociationGroupings",
    CFAssociationGrouping,
    "association_groupings",
)
RUBRICS = Resource("CFRubric", "CFRubrics", CFRubric, "rubrics")

DEFINITIONS = (CONCEPTS, SUBJECTS, LICENSES, ITEM_TYPES, GROUPINGS)
"""What CFDefinitions holds: shared by all frameworks, registered when first referred to."""

RESOURCES = (DOCUMENTS, ITEMS, ASSOCIATIONS, *DEFINITIONS, RUBRICS)
"""Every resource type that has an address of its own."""
