"""Generated packages with unique identifiers, for cases that real frameworks rarely contain."""

import uuid
from typing import Any

from expected import Body

NOW = "2026-01-15T09:30:00.250Z"


def entity(identifier: str = "", **fields: Any) -> Body:
    identifier = identifier or str(uuid.uuid4())
    uri = f"https://example.edu/{uuid.uuid4()}"
    return {"identifier": identifier, "uri": uri, "lastChangeDateTime": NOW, **fields}


def link(to: Body, title: str = "a title") -> Body:
    return {"title": title, "identifier": to["identifier"], "uri": to["uri"]}


def create_association(child: Body, parent: Body, kind: str = "isChildOf", **fields: Any) -> Body:
    fields |= {"originNodeURI": link(child), "destinationNodeURI": link(parent)}
    return entity(associationType=kind, **fields)


def package(*items: Body, associations: tuple[Body, ...] = (), **fields: Any) -> Body:
    document = entity(title="A framework", creator="The walk", **fields)
    return {"CFDocument": document, "CFItems": [*items], "CFAssociations": [*associations]}


def create_small_package() -> Body:
    """Return a small CFPackage: two items, one a child of the other."""
    parent, child = entity(fullStatement="A parent"), entity(fullStatement="A child")
    return package(parent, child, associations=(create_association(child, parent),))


def create_unusual_package() -> Body:
    """Return a CFPackage with every field of the SDK, identifiers that are no UUIDs, and cycles."""
    kind = entity(title="Standard", description="What is to be learnt", hierarchyCode="S")
    licence = entity(title="A licence", licenseText="Use it well")
    definitions = {
        "CFItemTypes": [kind],
        "CFLicenses": [licence],
        "CFSubjects": [entity(title="Mathematics", hierarchyCode="M")],
        "CFConcepts": [entity(title="Counting", hierarchyCode="C")],
        "CFAssociationGroupings": [entity(title="A grouping")],
    }
    code = uuid.uuid4().hex[:8]
    full = entity(
        f"öde id {code} %2F?#&+;=@'\"<>",
        fullStatement="  O'Brien's rule (part 1): 100% of “ünïcode”, 数学 🧮  ",
        alternativeLabel="A rule",
        CFItemType="Standard",
        CFItemTypeURI=link(kind, "Standard"),
        licenseURI=link(licence, "A licence"),
        humanCodingScheme=f"{code}.1",
        listEnumeration="1",
        abbreviatedStatement="Rule",
        conceptKeywords=["rule", "O'Brien"],
        notes="Line\r\nbreaks\tand <b>markup</b>",
        subject=["Mathematics"],
        language="en",
        educationLevel=["01", "02"],
        statusStartDate="2026-01-01",
        statusEndDate="2026-12-31",
        extensions={"own:depth": {"nothing": None, "list": [1, 2.5, True, "x"]}},
    )
    full["lastChangeDateTime"] = "2026-01-15T09:30:00.123456+05:30"
    lower = entity(f"{code}-lower", fullStatement="Two", cfItemType="Standard")
    plain = [
        entity(f"{code}-{number}", fullStatement=text, humanCodingScheme=f"{code}.{number}")
        for number, text in enumerate(("Zero", "O'Brien's other rule", "Two", "Three"), start=2)
    ]
    root, first, second, unparented = plain
    associations = (
        create_association(full, root, sequenceNumber=2),
        create_association(lower, root, sequenceNumber=1),
        create_association(second, root),
        create_association(first, root),
        create_association(full, first, sequenceNumber=-1),
        create_association(first, second),
        create_association(second, first),
        create_association(full, unparented, "exactMatchOf", extensions={"own:sure": False}),
        create_association(full, entity("elsewhere"), "isRelatedTo"),
        create_association(full, lower, "ext:preparesFor"),
    )
    framework = package(full, lower, *plain, associations=associations, **FULL_DOCUMENT)
    framework["CFAssociations"].append(create_association(root, framework["CFDocument"]))
    return {**framework, "CFDefinitions": definitions, "extensions": {"own:package": 1}}


FULL_DOCUMENT: Body = {
    "officialSourceURL": "https://example.edu/standards.pdf",
    "publisher": "A publisher",
    "description": "Everything a document may say",
    "language": "en",
    "version": "2026",
    "caseVersion": "1.1",
    "adoptionStatus": "Draft",
    "statusStartDate": "2026-01-01",
    "statusEndDate": "2026-12-31",
    "licenseUri": "https://creativecommons.org/licenses/by/4.0/",
    "notes": "Some notes",
    "subject": ["Mathematics", "Maths"],
    "extensions": {"own:colour": "green"},
}


def create_documented_package() -> Body:
    """Return the example of the SDK's documentation, with the fields that its "…" leaves out."""
    code = uuid.uuid4().hex[:8]
    document = {
        "identifier": f"doc-id-{code}",
        "uri": "https://example.edu/frameworks/math-k12",
        "title": "K-12 Math Standards",
        "creator": "Example District",
        "lastChangeDateTime": NOW,
    }
    item = {
        "identifier": f"item-1-{code}",
        "uri": "https://example.edu/frameworks/math-k12/items/1",
        "fullStatement": "Understand addition within 20",
        "lastChangeDateTime": NOW,
    }
    return {"CFDocument": document, "CFItems": [item], "CFAssociations": []}
