"""Examples of the OpenAPI documents: one small framework as the curriculum guide builds it."""

from __future__ import annotations

from typing import Any

NOW = "2026-01-15T09:30:00.000Z"


def _make_link(identifier: str, title: str) -> dict[str, str]:
    return {"title": title, "identifier": identifier, "uri": f"urn:uuid:{identifier}"}


def _make_entity(identifier: str, **fields: Any) -> dict[str, Any]:
    uri = f"urn:uuid:{identifier}"
    return {"identifier": identifier, "uri": uri, "lastChangeDateTime": NOW, **fields}


TITLE = "Grade 3 Mathematics Curriculum"
DOCUMENT_ID = "a1b2c3d4-e5f6-4a7b-8c9d-0e1f2a3b4c5d"
PACKAGE_ID = "b2c3d4e5-f6a7-4b8c-9d0e-1f2a3b4c5d6e"
SUBJECT_ID = "c3d4e5f6-a7b8-4c9d-8e1f-2a3b4c5d6e7f"
ITEM_TYPE_ID = "d4e5f6a7-b8c9-4d0e-9f2a-3b4c5d6e7f80"
ITEM_ID = "e5f6a7b8-c9d0-4e1f-aa3b-4c5d6e7f8091"
PARENT_ID = "a7b8c9d0-e1f2-4a3b-8c5d-6e7f80910213"
ASSOCIATION_ID = "f6a7b8c9-d0e1-4f2a-bb4c-5d6e7f809102"

DOCUMENT = _make_entity(
    DOCUMENT_ID,
    creator="My Learning App",
    title=TITLE,
    caseVersion="1.1",
    subject=["Mathematics"],
    subjectURI=[_make_link(SUBJECT_ID, "Mathematics")],
    CFPackageURI=_make_link(PACKAGE_ID, TITLE),
)

ITEM_TYPE = _make_entity(
    ITEM_TYPE_ID,
    title="Learning Standard",
    description="One standard that can be measured",
    hierarchyCode="LS",
)

PARENT = _make_entity(
    PARENT_ID,
    fullStatement="Operations and algebraic thinking",
    humanCodingScheme="3.OA",
    CFDocumentURI=_make_link(DOCUMENT_ID, TITLE),
)

ITEM = _make_entity(
    ITEM_ID,
    fullStatement="Interpret products of whole numbers",
    humanCodingScheme="3.OA.A.1",
    educationLevel=["03"],
    CFItemType="Learning Standard",
    CFItemTypeURI=_make_link(ITEM_TYPE_ID, "Learning Standard"),
    CFDocumentURI=_make_link(DOCUMENT_ID, TITLE),
)

ASSOCIATION = _make_entity(
    ASSOCIATION_ID,
    associationType="isChildOf",
    sequenceNumber=1,
    originNodeURI=_make_link(ITEM_ID, "Interpret products of whole numbers"),
    destinationNodeURI=_make_link(PARENT_ID, "Operations and algebraic thinking"),
)

PACKAGE = {
    "CFDocument": DOCUMENT,
    "CFItems": [PARENT, ITEM],
    "CFAssociations": [ASSOCIATION],
    "CFDefinitions": {"CFItemTypes": [ITEM_TYPE]},
}
