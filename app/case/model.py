"""The CASE 1.1 information model: one class per CF type, in the order of the binding.

Field names are those of the standard. Classes named ``CFPckg…`` are for entities inside a package,
which may omit the link to their document or package; the others are the stand-alone forms
(CASE 1.1 REST/JSON binding, section 5). Unknown fields are rejected: additional data belongs in
``extensions``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from .types import (
    AssociationType,
    Date,
    DateTime,
    Extensions,
    Identifier,
    Integer,
    NullAsDefault,
    Number,
    Omittable,
    TargetType,
    Text,
    Uri,
)


class CaseModel(BaseModel):
    """Base class of all models of CASE objects: rejects unknown fields and converts no types."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class LinkURI(CaseModel):
    """A link to another entity: its title, identifier and URI."""

    title: Text
    identifier: Identifier
    uri: Uri


class LinkGenURI(LinkURI):
    """A link to the origin or destination of an association, which need not be a CASE entity."""

    targetType: Omittable[TargetType] = None


def _wrap_in_list(value: object) -> object:
    return [value] if isinstance(value, dict) else value


def _select_last_link(links: list[LinkURI]) -> dict[str, Any] | None:
    return links[-1].model_dump() if links else None


# Requests contain one link or several, which are all stored; responses contain the last one.
KeywordLinks = Annotated[
    list[LinkURI], BeforeValidator(_wrap_in_list), PlainSerializer(_select_last_link)
]


class Entity(CaseModel):
    """Base class of CASE entities, which have an identifier, a URI and a time of last change."""

    identifier: Identifier
    uri: Uri
    lastChangeDateTime: DateTime
    extensions: Omittable[Extensions] = None


class CFPckgDocument(Entity):
    """A CFDocument inside a CFPackage, which may lack CFPackageURI, the link to that package."""

    frameworkType: Omittable[Text] = None
    caseVersion: Omittable[Literal["1.1"]] = None
    creator: Text
    title: Text
    officialSourceURL: Omittable[Uri] = None
    publisher: Omittable[Text] = None
    description: Omittable[Text] = None
    subject: Omittable[list[Text]] = None
    subjectURI: Omittable[list[LinkURI]] = None
    language: Omittable[Text] = None
    version: Omittable[Text] = None
    adoptionStatus: Omittable[Text] = None
    statusStartDate: Omittable[Date] = None
    statusEndDate: Omittable[Date] = None
    licenseURI: Omittable[LinkURI] = None
    notes: Omittable[Text] = None
    CFPackageURI: Omittable[LinkURI] = None


class CFDocument(CFPckgDocument):
    """The document of a competency framework, with its title, creator and status."""

    caseVersion: Literal["1.1"]
    CFPackageURI: LinkURI


class CFPckgItem(Entity):
    """A CFItem inside a CFPackage, which may lack CFDocumentURI, the link to its document."""

    fullStatement: Text
    alternativeLabel: Omittable[Text] = None
    CFItemType: Omittable[Text] = None
    humanCodingScheme: Omittable[Text] = None
    listEnumeration: Omittable[Text] = None
    abbreviatedStatement: Omittable[Text] = None
    conceptKeywords: Omittable[list[Text]] = None
    conceptKeywordsURI: Omittable[KeywordLinks] = None
    notes: Omittable[Text] = None
    subject: Omittable[list[Text]] = None
    subjectURI: Omittable[list[LinkURI]] = None
    language: Omittable[Text] = None
    educationLevel: Omittable[list[Text]] = None
    CFItemTypeURI: Omittable[LinkURI] = None
    licenseURI: Omittable[LinkURI] = None
    statusStartDate: Omittable[Date] = None
    statusEndDate: Omittable[Date] = None
    CFDocumentURI: Omittable[LinkURI] = None


class CFItem(CFPckgItem):
    """One statement of a framework: a competency, or the heading of a group of competencies."""

    CFDocumentURI: LinkURI


class CFAssociation(Entity):
    """A relation from an origin to a destination, usually items, of a type such as isChildOf."""

    associationType: AssociationType
    sequenceNumber: Omittable[Integer] = None
    originNodeURI: LinkGenURI
    destinationNodeURI: LinkGenURI
    CFAssociationGroupingURI: Omittable[LinkURI] = None
    notes: Omittable[Text] = None
    CFDocumentURI: Omittable[LinkURI] = None


class CFSubject(Entity):
    """A subject area, such as Mathematics. Subjects are shared by all frameworks."""

    title: Text
    hierarchyCode: Text
    description: Omittable[Text] = None


class CFConcept(Entity):
    """A concept that items refer to, such as fractions. Concepts are shared by all frameworks."""

    title: Text
    keywords: Omittable[Text] = None
    hierarchyCode: Text
    description: Omittable[Text] = None


class CFItemType(Entity):
    """A type of items, such as Unit, Lesson or Standard. Types are shared by all frameworks."""

    title: Text
    description: Text
    hierarchyCode: Text
    typeCode: Omittable[Text] = None


class CFLicense(Entity):
    """The terms under which a framework or an item may be used."""

    title: Text
    description: Omittable[Text] = None
    licenseText: Text


class CFAssociationGrouping(Entity):
    """A named group of associations that belong together."""

    title: Text
    description: Omittable[Text] = None


class CFRubricCriterionLevel(Entity):
    """One level of achievement for a criterion of a rubric, with its description and score."""

    description: Omittable[Text] = None
    quality: Omittable[Text] = None
    score: Omittable[Number] = None
    feedback: Omittable[Text] = None
    position: Omittable[Integer] = None
    rubricCriterionId: Omittable[Identifier] = None
    extensions: Omittable[list[Extensions]] = None  # type: ignore[assignment]  # a list in this class only


class CFRubricCriterion(Entity):
    """One criterion of a rubric, with its levels of achievement."""

    category: Omittable[Text] = None
    description: Omittable[Text] = None
    CFItemURI: Omittable[LinkURI] = None
    weight: Omittable[Number] = None
    position: Omittable[Integer] = None
    rubricId: Omittable[Identifier] = None
    CFRubricCriterionLevels: Omittable[list[CFRubricCriterionLevel]] = None


class CFRubric(Entity):
    """A rubric: criteria and levels of achievement by which performance is rated."""

    title: Omittable[Text] = None
    description: Omittable[Text] = None
    CFRubricCriteria: Omittable[list[CFRubricCriterion]] = None


Member = TypeVar("Member", bound=CaseModel)

OptionalList = Annotated[list[Member], NullAsDefault(list)]
"""A list that is empty when the field is null."""


class CFDefinition(CaseModel):
    """The definitions of a package: concepts, subjects, licenses, item types and groupings."""

    CFConcepts: OptionalList[CFConcept] = Field(default_factory=list)
    CFSubjects: OptionalList[CFSubject] = Field(default_factory=list)
    CFLicenses: OptionalList[CFLicense] = Field(default_factory=list)
    CFItemTypes: OptionalList[CFItemType] = Field(default_factory=list)
    CFAssociationGroupings: OptionalList[CFAssociationGrouping] = Field(default_factory=list)
    extensions: Omittable[Extensions] = None


class CFPackage(CaseModel):
    """A whole framework: document, items, associations, definitions and rubrics."""

    CFDocument: CFPckgDocument
    CFItems: OptionalList[CFPckgItem] = Field(default_factory=list)
    CFAssociations: OptionalList[CFAssociation] = Field(default_factory=list)
    CFDefinitions: Annotated[CFDefinition, NullAsDefault(CFDefinition)] = Field(
        default_factory=CFDefinition
    )
    CFRubrics: OptionalList[CFRubric] = Field(default_factory=list)
    extensions: Omittable[Extensions] = None
