"""Factories of request bodies, with default fields and random identifiers."""

import uuid
from itertools import pairwise
from typing import Any

NOW = "2026-01-15T09:30:00.000Z"

Body = dict[str, Any]


def new_id() -> str:
    return str(uuid.uuid4())


def link(identifier: str | None = None, title: str = "a title") -> Body:
    identifier = identifier or new_id()
    return {"title": title, "identifier": identifier, "uri": f"urn:uuid:{identifier}"}


def entity(identifier: str | None = None, **fields: Any) -> Body:
    identifier = identifier or new_id()
    uri = f"urn:uuid:{identifier}"
    return {"identifier": identifier, "uri": uri, "lastChangeDateTime": NOW, **fields}


def document(identifier: str | None = None, **fields: Any) -> Body:
    body = entity(identifier, creator="a creator", title="a framework", caseVersion="1.1")
    return {**body, "CFPackageURI": link(), **fields}


def item(document_id: str, identifier: str | None = None, **fields: Any) -> Body:
    body = entity(identifier, fullStatement="a statement")
    return {**body, "CFDocumentURI": link(document_id), **fields}


def item_type(identifier: str | None = None, **fields: Any) -> Body:
    body = entity(identifier, title="a type", description="a class of items", hierarchyCode="T")
    return {**body, **fields}


def association(
    origin: str, destination: str, identifier: str | None = None, **fields: Any
) -> Body:
    body = entity(identifier, associationType="isChildOf")
    ends = {"originNodeURI": link(origin), "destinationNodeURI": link(destination)}
    return {**body, **ends, **fields}


def packed_item(identifier: str | None = None, **fields: Any) -> Body:
    return entity(identifier, **{"fullStatement": "a statement", **fields})


def package(document_id: str | None = None, **fields: Any) -> Body:
    """Return a valid CFPackage: a document with two items, the second a child of the first."""
    root = entity(document_id, creator="a creator", title="a framework")
    parent, child = packed_item(humanCodingScheme="A"), packed_item(humanCodingScheme="A.1")
    return {
        "CFDocument": root,
        "CFItems": [parent, child],
        "CFAssociations": [association(child["identifier"], parent["identifier"])],
        **fields,
    }


def chain(count: int) -> Body:
    """Return a CFPackage with so many items, each but the first a child of the one before."""
    items = [packed_item() for _ in range(count)]
    pairs = pairwise(item["identifier"] for item in items)
    relations = [association(child, parent) for parent, child in pairs]
    return package(CFItems=items, CFAssociations=relations)


def subject(code: str, identifier: str | None = None, **fields: Any) -> Body:
    return entity(identifier, title=f"subject {code}", hierarchyCode=code, **fields)


def rubric(**fields: Any) -> Body:
    """Return a CFRubric with two criteria, of which the first has two levels."""
    levels = [entity(quality="low", score=1), entity(quality="high", score=2.5)]
    first = entity(category="one", weight=0.5, position=1, CFRubricCriterionLevels=levels)
    return entity(title="a rubric", CFRubricCriteria=[first, entity(category="two")], **fields)


def package_with_every_class() -> Body:
    """Return a CFPackage with an entity of each class of the standard, and links to all of them."""
    subject_, concept = subject("S"), entity(title="a concept", hierarchyCode="C")
    license_ = entity(title="a licence", licenseText="use it well")
    type_, grouping = item_type(), entity(title="a grouping")
    body = package()
    body["CFDocument"] |= {"licenseURI": link(license_["identifier"])}
    body["CFItems"][0] |= {
        "subjectURI": [link(subject_["identifier"])],
        "conceptKeywordsURI": link(concept["identifier"]),
        "CFItemTypeURI": link(type_["identifier"]),
    }
    body["CFAssociations"][0] |= {"CFAssociationGroupingURI": link(grouping["identifier"])}
    body["CFDefinitions"] = {
        "CFConcepts": [concept],
        "CFSubjects": [subject_],
        "CFLicenses": [license_],
        "CFItemTypes": [type_],
        "CFAssociationGroupings": [grouping],
    }
    body["CFRubrics"] = [rubric()]
    return body


def get_first_entity(body: Body, name: str) -> Body:
    """Return the first entity of a class, such as ``CFItem``, in a CFPackage."""
    if name == "CFDocument":
        first: Body = body[name]
        return first
    collection = f"{name}s"
    lists = body if collection in body else body["CFDefinitions"]
    entities: list[Body] = lists[collection]
    return entities[0]
