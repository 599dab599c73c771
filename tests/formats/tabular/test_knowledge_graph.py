"""Tables of Learning Commons' knowledge graph: their headings, lists and two identifiers."""

from support.tables import find_problems, read_items

CASE_IDENTIFIER = "1c000000-0000-4000-8000-00000000000a"
CASE_URI = f"https://kites.example/ims/case/v1p0/CFItems/{CASE_IDENTIFIER}"
HEADINGS = (
    "identifier,caseIdentifierURI,caseIdentifierUUID,statementCode,description,statementType,"
    "academicSubject,gradeLevel,inLanguage,dateModified,provider\n"
)
ROW = (
    f"graph-1,{CASE_URI},{CASE_IDENTIFIER},K.1,Tie a knot,Standard,Kites,"
    '"[""3"",""4""]",en-US,2026-02-01,a club\n'
)


def test_headings_of_the_knowledge_graph_are_fields() -> None:
    (item,), repairs = read_items(HEADINGS + ROW)
    del item["CFDocumentURI"]
    assert item == {
        "identifier": CASE_IDENTIFIER,
        "uri": CASE_URI,
        "lastChangeDateTime": "2026-02-01T00:00:00.000Z",
        "fullStatement": "Tie a knot",
        "humanCodingScheme": "K.1",
        "CFItemType": "Standard",
        "subject": ["Kites"],
        "educationLevel": ["3", "4"],
        "language": "en-US",
        "extensions": {"identifier": "graph-1", "provider": "a club"},
    }
    fields = {repair.kind: repair.fields for repair in repairs}
    assert fields["unknown-field"] == {"identifier": 1, "provider": 1}


def test_item_without_case_identifier_keeps_that_of_the_graph() -> None:
    text = HEADINGS + ROW + "graph-2,,,K.2,Fly a kite,Standard,,,,,\n"
    items, _ = read_items(text)
    assert [item["identifier"] for item in items] == [CASE_IDENTIFIER, "graph-2"]
    assert "extensions" not in items[1]


def test_graph_without_case_identifiers_uses_its_own() -> None:
    (item,), repairs = read_items("identifier,statementCode,description\ngraph-1,K.1,Tie a knot\n")
    assert (item["identifier"], item["fullStatement"]) == ("graph-1", "Tie a knot")
    assert repairs == []


def test_description_next_to_a_statement_is_no_statement() -> None:
    (item,), (repair,) = read_items(
        "statementCode,Full Statement,description\nK.1,Tie a knot,How to\n"
    )
    assert (item["fullStatement"], item["extensions"]) == ("Tie a knot", {"description": "How to"})
    assert repair.fields == {"description": 1}


def test_extensions_that_are_no_object_are_a_problem() -> None:
    text = f"caseIdentifierUUID,Statement,extensions\n{CASE_IDENTIFIER},Tie a knot,1\n"
    (problem,) = find_problems(text)
    assert problem["path"] == "row 2, column C (extensions)"
