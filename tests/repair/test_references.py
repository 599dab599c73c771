"""Repair of references in another spelling, external nodes, and optional repairs."""

from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.factories import (
    Body,
    association,
    entity,
    link,
    new_id,
    package_with_every_class,
    packed_item,
)
from support.packages import catch_problems, count_repairs, list_entities, to_json

from case_server.case.package import parse_package
from case_server.formats.reader import read_framework
from case_server.repair.metadata_options import MetadataOptions
from case_server.repair.reader import RepairOptions, repair_and_parse

UPPER = "A1000000-0000-4000-8000-0000000000AB"
CHILD = "B2000000-0000-4000-8000-0000000000CD"
URL = "https://maths.example/standards/a-1"


def made_of(url: str) -> str:
    return str(uuid5(NAMESPACE_URL, url))


def with_node(node: Any, field: str = "destinationNodeURI") -> Body:
    """Return a package of two items, with an association to this node."""
    items = [packed_item(UPPER), packed_item(CHILD)]
    sent = association(CHILD, UPPER, associationType="isRelatedTo")
    document = entity(creator="a creator", title="a framework")
    return {"CFDocument": document, "CFItems": items, "CFAssociations": [{**sent, field: node}]}


def node(identifier: str, **fields: Any) -> Body:
    return {"title": "A", "identifier": identifier, "uri": "https://x.example/a", **fields}


SPELLINGS = [
    UPPER.lower(),
    f"{{{UPPER}}}",
    f"{{{UPPER.lower()}}}",
    f"urn:uuid:{UPPER.lower()}",
    f"URN:UUID:{UPPER}",
    f"urn:uuid:{{{UPPER}}}",
    f"CFItems/{UPPER.lower()}",
    f"../CFItems/{UPPER}",
    f"/ims/case/v1p0/CFItems/{UPPER}/",
    f"#{UPPER}",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("shape", ["identifier", "bare string", "uri alone"])
def test_reference_in_another_spelling_becomes_the_identifier(spelling: str, shape: str) -> None:
    reference = {
        "identifier": node(spelling),
        "bare string": spelling,
        "uri alone": {"title": "A", "uri": spelling},
    }[shape]
    package, repairs = repair_and_parse(to_json(with_node(reference)))
    (repaired_association,) = list_entities(package, "CFAssociation")
    assert repaired_association["destinationNodeURI"]["identifier"] == UPPER
    assert any(repair.kind in {"reference", "link-without-identifier"} for repair in repairs) or (
        shape == "bare string"
    )
    assert repaired_association["destinationNodeURI"]["uri"] in {
        "https://x.example/a",
        f"urn:uuid:{UPPER}",
    } or (shape != "identifier")


def test_repaired_reference_is_reported_with_its_path() -> None:
    _, (repair,) = repair_and_parse(to_json(with_node(node(UPPER.lower()))))
    assert (repair.kind, repair.count) == ("reference", 1)
    assert repair.path == "CFAssociations[0].destinationNodeURI.identifier"
    assert (repair.before, repair.after) == (UPPER.lower(), UPPER)


def test_relative_uri_of_known_node_becomes_its_uri() -> None:
    reference = node(UPPER, uri=f"/CFItems/{UPPER}")
    package, repairs = repair_and_parse(to_json(with_node(reference)))
    assert count_repairs(repairs) == {"relative-uri": 1}
    (repaired_association,) = list_entities(package, "CFAssociation")
    assert repaired_association["destinationNodeURI"]["uri"] == f"urn:uuid:{UPPER}"


def test_ambiguous_reference_is_not_repaired() -> None:
    body = with_node(node(UPPER.title()))
    body["CFItems"].append(packed_item(UPPER.lower()))
    package, repairs = repair_and_parse(to_json(body))
    assert repairs == []
    (repaired_association,) = list_entities(package, "CFAssociation")
    assert repaired_association["destinationNodeURI"]["identifier"] == UPPER.title()


def test_exact_reference_is_not_repaired() -> None:
    body = with_node(node(UPPER))
    body["CFItems"].append(packed_item(UPPER.lower()))
    assert repair_and_parse(to_json(body)) == (parse_package(to_json(body)), [])


def test_reference_is_not_matched_with_another_class() -> None:
    body = with_node(node(UPPER))
    body["CFItems"][0]["CFItemTypeURI"] = link(CHILD.lower())
    package, repairs = repair_and_parse(to_json(body))
    assert repairs == []
    assert list_entities(package, "CFItem")[0]["CFItemTypeURI"]["identifier"] == CHILD.lower()


def test_references_to_definitions_and_the_document_are_repaired() -> None:
    body = package_with_every_class()
    item, document = body["CFItems"][0], body["CFDocument"]["identifier"]
    for field, name in (("subjectURI", "CFSubjects"), ("conceptKeywordsURI", "CFConcepts")):
        known = body["CFDefinitions"][name][0]["identifier"]
        item[field] = [link(known.upper())]
    item["CFDocumentURI"] = link(document.upper())
    grouping = body["CFAssociations"][0]["CFAssociationGroupingURI"]
    grouping["identifier"] = grouping["identifier"].upper()
    package, repairs = repair_and_parse(to_json(body))
    assert count_repairs(repairs) == {"reference": 4}
    found = list_entities(package, "CFItem")[0]
    assert found["subjectURI"][0]["identifier"] in to_json(body["CFDefinitions"]).decode()
    assert found["CFDocumentURI"]["identifier"] == document


OUTSIDE: list[tuple[Any, dict[str, Any], set[str]]] = [
    (
        {"title": "T", "identifier": URL, "uri": URL},
        {"identifier": made_of(URL), "uri": URL, "title": "T"},
        {"external-node"},
    ),
    (
        {"title": "T", "uri": URL},
        {"identifier": made_of(URL), "uri": URL, "title": "T"},
        {"external-node"},
    ),
    ({"uri": URL}, {"identifier": made_of(URL), "uri": URL, "title": URL}, {"external-node"}),
    ({"title": "T"}, {"identifier": made_of("T"), "title": "T"}, set()),
    ({"identifier": "x" * 300}, {"identifier": made_of("x" * 300)}, set()),
    (
        {"title": "T", "identifier": "elsewhere", "uri": "no uri"},
        {"identifier": "elsewhere", "uri": "urn:uuid:elsewhere"},
        {"external-uri"},
    ),
    (
        node("elsewhere", targetType="CTDL Competency"),
        {"targetType": "ext:CTDL_Competency"},
        {"external-type"},
    ),
    (node("elsewhere"), node("elsewhere"), set()),
]


@pytest.mark.parametrize(("node_link", "fields", "expected"), OUTSIDE)
def test_external_node_is_accepted(
    node_link: Any, fields: dict[str, Any], expected: set[str]
) -> None:
    for field in ("destinationNodeURI", "originNodeURI"):
        raw = to_json(with_node(node_link, field))
        package, repairs = repair_and_parse(raw)
        (repaired_association,) = list_entities(package, "CFAssociation")
        assert repaired_association[field].items() >= fields.items()
        assert count_repairs(repairs).keys() >= expected
        assert repair_and_parse(raw) == (package, repairs)


def test_identifier_of_external_node_is_unchanged() -> None:
    body = with_node(node("onet/3.1"))
    package, repairs = repair_and_parse(to_json(body))
    (repaired_association,) = list_entities(package, "CFAssociation")
    assert repaired_association["extensions"] == {"destinationNodeURI.identifier": "onet/3.1"}
    assert count_repairs(repairs) == {"external-node": 1}
    assert repairs[0].fields == {"extensions.destinationNodeURI.identifier": 1}
    package, repairs = repair_and_parse(to_json(with_node(node(URL, uri=URL))))
    assert "extensions" not in list_entities(package, "CFAssociation")[0]
    assert not repairs[0].fields


json_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


@given(
    st.dictionaries(
        st.sampled_from(["title", "identifier", "uri", "targetType", "colour"]),
        st.one_of(json_texts, st.sampled_from([*SPELLINGS, URL, " ", "a/b", "ext:x"])),
    ).filter(
        lambda node_link: any(node_link.get(name, "").strip() for name in ("identifier", "uri"))
    )
)
def test_node_with_arbitrary_strings_is_accepted(node_link: Body) -> None:
    package, _ = repair_and_parse(to_json(with_node(node_link)))
    (repaired_association,) = list_entities(package, "CFAssociation")
    assert repaired_association["destinationNodeURI"]["identifier"]


def test_foreign_association_types_become_extensions_on_request() -> None:
    body = with_node(node(UPPER))
    first_association = body["CFAssociations"][0]
    types = ["isFriendOf", "is friend of", "is/friend/of", "ext:own", "RelatedTo"]
    body["CFAssociations"] = [
        {**first_association, "identifier": new_id(), "associationType": name} for name in types
    ]
    assert len(catch_problems(repair_and_parse, to_json(body))) == 3
    package, repairs = repair_and_parse(
        to_json(body), options=RepairOptions(keep_association_types=True)
    )
    first, second, third, *others = list_entities(package, "CFAssociation")
    assert first["associationType"] == "ext:isFriendOf"
    assert "extensions" not in first
    assert second["associationType"] == "ext:is_friend_of"
    assert second["extensions"] == {"associationType": "is friend of"}
    assert third["associationType"].startswith("ext:is_friend_of-")
    assert third["extensions"] == {"associationType": "is/friend/of"}
    assert [other["associationType"] for other in others] == ["ext:own", "isRelatedTo"]
    assert count_repairs(repairs) == {"association-type-name": 3, "association-type": 1}


def with_urls() -> Body:
    """Return a package whose document, items and definitions have URLs as identifiers."""
    base = "https://maths.example"
    document, item, child, kind = (f"{base}/{name}" for name in ("d", "i/1", "i/2", "types/t"))

    def ref(url: str) -> Body:
        return {"title": "t", "identifier": url, "uri": url}

    rubric = entity(
        f"{base}/a/1",
        associationType="isChildOf",
        originNodeURI=ref(child),
        destinationNodeURI=ref(item),
    )
    return {
        "CFDocument": entity(document, creator="c", title="t", CFPackageURI=ref(f"{base}/p")),
        "CFItems": [
            packed_item(item, uri=item, CFItemTypeURI=ref(kind), subjectURI=[ref(f"{base}/s")]),
            packed_item(child, uri=f"{base}/page/2", CFDocumentURI=ref(document)),
        ],
        "CFAssociations": [rubric],
        "CFDefinitions": {
            "CFItemTypes": [entity(kind, title="t", description="d", hierarchyCode="")]
        },
    }


def test_url_identifiers_become_uuids_on_request() -> None:
    body = with_urls()
    assert catch_problems(repair_and_parse, to_json(body))
    options = RepairOptions(replace_url_identifiers=True)
    package, repairs = repair_and_parse(to_json(body), options=options)
    document, base = body["CFDocument"]["identifier"], "https://maths.example"
    assert package.document_identifier == made_of(document)
    assert package.package_identifier == made_of(f"{base}/p")
    first, second = list_entities(package, "CFItem")
    assert (first["identifier"], first["uri"]) == (made_of(f"{base}/i/1"), f"{base}/i/1")
    assert first["CFItemTypeURI"]["identifier"] == made_of(f"{base}/types/t")
    assert first["subjectURI"][0]["identifier"] == made_of(f"{base}/s")
    assert second["uri"] == f"{base}/i/2"
    assert second["extensions"] == {"uri": f"{base}/page/2"}
    assert second["CFDocumentURI"]["identifier"] == made_of(document)
    (kind,) = list_entities(package, "CFItemType")
    assert kind["identifier"] == made_of(f"{base}/types/t")
    (repaired_association,) = list_entities(package, "CFAssociation")
    assert repaired_association["originNodeURI"]["identifier"] == second["identifier"]
    assert repaired_association["destinationNodeURI"]["identifier"] == first["identifier"]
    assert count_repairs(repairs)["url-identifier"] >= 5
    assert repair_and_parse(to_json(body), options=options) == (package, repairs)


def test_valid_identifiers_are_unchanged_when_urls_are_converted() -> None:
    body = with_node(node(UPPER))
    options = RepairOptions(replace_url_identifiers=True)
    body["CFItems"].append(packed_item("urn:x:1"))
    assert repair_and_parse(to_json(body), options=options) == (parse_package(to_json(body)), [])


def test_url_identifiers_of_a_spreadsheet_become_uuids() -> None:
    sheet = f"identifier,parent,statement\n{URL},,one\n{URL}/2,{URL},two\n"
    metadata = MetadataOptions(title="t", creator="c")
    assert catch_problems(read_framework, sheet.encode(), "csv", metadata)
    options = RepairOptions(replace_url_identifiers=True)
    package, _ = read_framework(sheet.encode(), "csv", metadata, options=options)
    first, second = list_entities(package, "CFItem")
    assert (first["identifier"], first["uri"]) == (made_of(URL), URL)
    ends = {
        (
            repaired_association["originNodeURI"]["identifier"],
            repaired_association["destinationNodeURI"]["identifier"],
        )
        for repaired_association in list_entities(package, "CFAssociation")
    }
    assert (second["identifier"], first["identifier"]) in ends


def test_framework_with_references_in_another_case_has_a_tree(shared: Path) -> None:
    raw = (shared / "cases" / "case-of-guids-only.json").read_bytes()
    package, repairs = repair_and_parse(raw)
    assert count_repairs(repairs)["reference"] == 4
    names = {row.identifier for row in package.rows}
    for repaired_association in list_entities(package, "CFAssociation"):
        assert repaired_association["originNodeURI"]["identifier"] in names
        assert repaired_association["destinationNodeURI"]["identifier"] in names
