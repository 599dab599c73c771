"""Spreadsheets as users make them: tolerant parsing, and errors for every invalid cell."""

import csv
import io
import json
import re
import zipfile
from datetime import UTC, datetime
from typing import Any

import pytest
from openpyxl import load_workbook
from support import factories
from support.factories import Body
from support.packages import list_entities
from support.tables import METADATA, build_workbook, find_problems, read_items, write_package

from case_server.case.package import PreparedPackage
from case_server.exceptions import BadRequest, UnprocessableContent
from case_server.formats import csv as comma
from case_server.formats import xlsx
from case_server.formats.file_format import detect_file_format
from case_server.formats.reader import read_framework
from case_server.repair.metadata_options import MetadataOptions

SHEET = """Code,Parent,Full Statement,type,GRADES
A,,Algebra,Domain,"6, 7"
A.1,A,Solve,Standard,6
A.2,A,Graph,Standard,7
"""


def read_csv(text: str | bytes, metadata: MetadataOptions = METADATA) -> PreparedPackage:
    raw = text.encode() if isinstance(text, str) else text
    return read_framework(raw, "csv", metadata, strict=True)[0]


def tree(package: PreparedPackage) -> list[tuple[str, str, int]]:
    """Return each isChildOf as (code of child, code of parent, sequence number)."""
    names = {
        item["identifier"]: item["humanCodingScheme"] for item in list_entities(package, "CFItem")
    }
    names[package.document_identifier] = "the framework"
    return [
        (
            names[association["originNodeURI"]["identifier"]],
            names[association["destinationNodeURI"]["identifier"]],
            association["sequenceNumber"],
        )
        for association in list_entities(package, "CFAssociation")
        if association["associationType"] == "isChildOf"
    ]


TREE = [("A", "the framework", 10), ("A.1", "A", 10), ("A.2", "A", 20)]


def test_sheet_with_aliases_is_read() -> None:
    package = read_csv(SHEET)
    assert package.document_identifier == "maths"
    (document,) = list_entities(package, "CFDocument")
    assert (document["title"], document["creator"]) == ("Mathematics", "a district")
    first, second, _ = list_entities(package, "CFItem")
    assert (first["fullStatement"], first["CFItemType"]) == ("Algebra", "Domain")
    assert (first["educationLevel"], second["educationLevel"]) == (["6", "7"], ["6"])
    assert tree(package) == TREE


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_delimiter_and_encoding_are_detected(delimiter: str, encoding: str) -> None:
    file = io.StringIO(newline="")
    rows = csv.reader(io.StringIO(SHEET.replace("Solve", "Résoudre «x»")))
    csv.writer(file, delimiter=delimiter).writerows(rows)
    package = read_csv(file.getvalue().encode(encoding))
    assert tree(package) == TREE
    assert list_entities(package, "CFItem")[1]["fullStatement"] == "Résoudre «x»"


def test_sep_line_selects_the_delimiter() -> None:
    assert tree(read_csv("sep=;\n" + SHEET.replace("6, 7", "6").replace(",", ";"))) == TREE


def test_csv_in_unknown_encoding_is_refused() -> None:
    with pytest.raises(BadRequest, match="save it as CSV UTF-8"):
        read_csv(b"code\n\x81\xff")


def test_damaged_utf8_is_not_read_as_windows_1252() -> None:
    raw = "code,statement\nA,Résoudre\nB,Écrire\n".encode() + b"C,Gam\xffma\n"
    with pytest.raises(BadRequest, match="byte 0xff in line 4"):
        read_csv(raw)


@pytest.mark.parametrize("end", ["", "\n"])
def test_quote_without_end_is_refused_with_its_cell(end: str) -> None:
    """The rest of the file would silently become the text of one cell."""
    sheet = 'code,statement\nA,"5"" nails\nof a kind"\nB,"five nails\nC,Beta' + end
    with pytest.raises(BadRequest, match=r"row 3, column B: the quotation mark .* is not closed"):
        read_csv(sheet)
    items, _ = read_items(sheet.replace("five nails", 'five nails"'))
    assert len(items) == 3


def test_inserted_row_changes_no_other_identifier() -> None:
    """Inserted rows and changed strings do not change the identifiers of other items."""
    before = list_entities(read_csv(SHEET), "CFItem")
    sheet = SHEET.replace("A.1,A,Solve", "A.0,A,New,Standard,6\nA.1,A,Solve it")
    after = {item["humanCodingScheme"]: item for item in list_entities(read_csv(sheet), "CFItem")}
    assert [after[item["humanCodingScheme"]]["identifier"] for item in before] == [
        item["identifier"] for item in before
    ]
    assert after["A.1"]["fullStatement"] == "Solve it"
    assert len({item["identifier"] for item in after.values()}) == 4
    assert tree(read_csv(sheet))[1:] == [("A.0", "A", 10), ("A.1", "A", 20), ("A.2", "A", 30)]


def test_items_without_codes_get_different_identifiers() -> None:
    package = read_csv("statement\nAgain\nAgain\n")
    first, second = list_entities(package, "CFItem")
    assert first["identifier"] != second["identifier"]


def test_every_problem_is_reported_with_its_cell() -> None:
    sheet = (
        "code,parent,statement,statusStartDate,sequence,extensions\n"
        "A,unknown,Algebra,last spring,first,not json\n"
        "B,B,,,,\n"
        "C,,one,,,\n"
        "C,,two,,,\n"
        "D,C,three,,,\n"
    )
    messages = {problem["path"]: problem["message"] for problem in find_problems(sheet)}
    assert messages.keys() == {
        "row 2, column F (extensions)",
        "row 2, column B (parent)",
        "row 2, column D (statusStartDate)",
        "row 3, column B (parent)",
        "row 3, column C (fullStatement)",
        "row 6, column B (parent)",
    }
    assert "no item has the identifier or code 'unknown'" in messages["row 2, column B (parent)"]
    assert "its own parent" in messages["row 3, column B (parent)"]
    assert "2 items have the code C" in messages["row 6, column B (parent)"]
    number = find_problems("code,statement,sequence\nA,Algebra,first\n")
    assert [problem["path"] for problem in number] == ["row 2, column C (sequenceNumber)"]


def test_problem_of_a_list_member_names_its_column() -> None:
    sheet = 'statement,subject,subjectURI\nFold,Art|Cr\0aft,\nCut,,"[{""title"": ""Art""}]"\n'
    assert [problem["path"] for problem in find_problems(sheet, strict=True)] == [
        "row 2, column B (subject[1])",
        "row 3, column C (subjectURI[0].identifier)",
        "row 3, column C (subjectURI[0].uri)",
    ]


@pytest.mark.parametrize("cell", ["[1]", "x", '{"identifier": 1}'])
def test_invalid_parent_association_is_reported(cell: str) -> None:
    quoted = cell.replace('"', '""')
    (problem,) = find_problems(f'statement,parentAssociation\nAlgebra,"{quoted}"\n')
    assert problem["path"] == "row 2, column B (parentAssociation)"


@pytest.mark.parametrize(
    ("parent", "suggestion"),
    [
        *(("a", ": did you mean 'A'?"), ("a.1", ": did you mean 'A.1'?")),
        *(("A-1", ": did you mean 'A.1'?"), ("A 1.", ": did you mean 'A.1'?")),
        *(("A1", ""), ("A.2", ""), ("-", "")),
    ],
)
def test_unknown_parent_suggests_a_similar_code(parent: str, suggestion: str) -> None:
    text = f"code,parent,statement\nA,,Algebra\nA.1,A,Linear\n*,A,Note\nB,{parent},Graphs\n"
    (problem,) = find_problems(text)
    assert problem["path"] == "row 5, column B (parent)"
    expected = f"no item has the identifier or code {parent!r}{suggestion}"
    assert problem["message"].endswith(expected)


def test_missing_title_and_creator_are_reported() -> None:
    problems = find_problems(SHEET, metadata=MetadataOptions())
    assert [problem["path"] for problem in problems] == ["title", "creator"]
    assert "--title" in problems[0]["message"]
    raw = build_workbook(
        CFDocument=[["title"], ["Mathematics"]], CFItems=[["code", "statement"], ["A", "B"]]
    )
    (problem,) = find_problems(raw, "xlsx", MetadataOptions())
    assert problem["path"] == "sheet CFDocument, row 2 (creator)"
    assert "--creator" in problem["message"]


def test_duplicate_and_missing_headings_are_reported() -> None:
    problems = find_problems("code,humanCodingScheme,statement,\nA,A,text,stray\n")
    assert [problem["path"] for problem in problems] == ["row 1, column B", "row 2, column D"]
    assert "as column A does" in problems[0]["message"]


IDENTIFIER = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"


@pytest.mark.parametrize(
    "spelling",
    [IDENTIFIER.upper(), f"{{{IDENTIFIER}}}", f"urn:uuid:{IDENTIFIER}", f"/CFItems/{IDENTIFIER}"],
)
def test_reference_in_another_spelling_is_repaired_and_reported(spelling: str) -> None:
    lines = [
        "class,identifier,parent,fullStatement,origin,associationType,destination",
        f"CFItem,{IDENTIFIER},,Algebra",
        f"CFItem,child,{spelling},Solve",
        f"CFAssociation,one,,,child,isRelatedTo,{spelling}",
        f"CFAssociation,two,,,{spelling},precedes,child",
    ]
    raw = "\n".join(lines).encode()
    package, (repair,) = read_framework(raw, "csv", METADATA)
    assert (repair.kind, repair.count) == ("reference", 3)
    assert (repair.before, repair.after) == (spelling, IDENTIFIER)
    assert repair.path == "row 4, column G (destinationNodeURI.identifier)"
    ends = {
        association["associationType"]: (
            association["originNodeURI"]["identifier"],
            association["destinationNodeURI"]["identifier"],
        )
        for association in list_entities(package, "CFAssociation")
        if "child" in json.dumps(association)
    }
    assert ends == {
        "isChildOf": ("child", IDENTIFIER),
        "isRelatedTo": ("child", IDENTIFIER),
        "precedes": (IDENTIFIER, "child"),
    }
    assert [problem["path"] for problem in find_problems(raw, strict=True)] == [
        "row 3, column C (parent)",
        "row 4, column G (destinationNodeURI.identifier)",
        "row 5, column E (originNodeURI.identifier)",
    ]


def test_problems_are_in_the_order_of_rows_with_their_values() -> None:
    text = (
        "code,parent,statement,statusStartDate,lastChangeDateTime\n"
        "A,,Algebra,next spring,yesterday\n"
        "A.1,Q,Linear,2026-13-01,\n"
        "A.2,A,,,\n"
        "A.3,A,Three,3/4/2026,\n"
    )
    problems = find_problems(text)
    assert [(problem["path"], problem["message"][:24]) for problem in problems] == [
        ("row 2, column D (statusStartDate)", "'next spring' is no date"),
        ("row 2, column E (lastChangeDateTime)", "'yesterday' is no date: "),
        ("row 3, column B (parent)", "no item has the identifi"),
        ("row 3, column D (statusStartDate)", "'2026-13-01' is no date:"),
        ("row 4, column C (fullStatement)", "required"),
        ("row 5, column D (statusStartDate)", "'3/4/2026' has two readi"),
    ]


def test_unknown_columns_go_to_extensions_and_are_reported() -> None:
    (item,), (repair,) = read_items("code,statement,Bloom\nA,text,Analyse\n")
    assert item["extensions"] == {"Bloom": "Analyse"}
    assert (repair.kind, repair.path) == ("unknown-field", "row 2, column C (Bloom)")


def test_first_sheet_of_a_workbook_holds_the_items() -> None:
    rows = [row.split(",") for row in SHEET.replace('"6, 7"', "6").splitlines()]
    raw = build_workbook(Tabelle1=rows, Notes=[["x"]], Draft=[["y"]])
    package, (repair,) = read_framework(raw, "xlsx", METADATA)
    assert tree(package) == TREE
    assert (repair.kind, repair.path, repair.count) == ("unknown-sheet", "Notes", 2)
    assert repair.explanation.endswith("left out: Notes, Draft.")


def test_number_and_date_cells_are_converted() -> None:
    header = ["code", "parent", "statement", "grade", "statusStartDate", "lastChangeDateTime"]
    day = datetime(2026, 8, 1, 9, 30)  # noqa: DTZ001  spreadsheets have no zones
    rows: list[list[Any]] = [header, [1, None, "one", 6, day, day], [1.5, 1, 2, 7.0, None, None]]
    package, repairs = read_framework(build_workbook(Sheet1=rows), "xlsx", METADATA)
    first, second = list_entities(package, "CFItem")
    assert (first["humanCodingScheme"], second["humanCodingScheme"]) == ("1", "1.5")
    assert (first["educationLevel"], second["educationLevel"]) == (["6"], ["7"])
    assert (first["statusStartDate"], second["fullStatement"]) == ("2026-08-01", "2")
    assert first["lastChangeDateTime"] == day.replace(tzinfo=UTC).isoformat(
        timespec="milliseconds"
    ).replace("+00:00", "Z")
    assert tree(package) == [("1", "the framework", 10), ("1.5", "1", 10)]
    assert [(repair.kind, repair.count, repair.after) for repair in repairs] == [
        ("code-from-number", 2, "1")
    ]


DOC = ["identifier", "creator", "title", "lastChangeDate", "licenseTitle", "licenseText"]
ITEMS = ["identifier", "fullStatement", "humanCodingScheme", "smartLevel", "CFItemType", "license"]
ENDS = ("originNodeURI", "originNodeIdentifier", "originNodeHumanCodingScheme")
TARGETS = ("destinationNodeURI", "destinationNodeIdentifier", "destinationNodeHumanCodingScheme")
GROUP = ("associationGroupIdentifier", "associationGroupName")
ASSOCIATIONS = ["identifier", *ENDS, "associationType", *TARGETS, *GROUP]


def opensalt(*levels: str) -> bytes:
    a, b, c = ids = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(3)]
    items: list[list[Any]] = [
        [name, f"text {level}", f"C{level}", level, "Standard", None]
        for name, level in zip(ids, levels, strict=True)
    ]
    associations: list[list[Any]] = [
        ["one", "local:b", b, "C1.1", "isChildOf", "local:a", a, "C1", None, None],
        ["two", "local:b", b, "C1.1", "isRelatedTo", "local:c", c, "C1.2", "g", "a group"],
    ]
    document: list[Any] = [
        "doc",
        "an editor",
        "a title",
        "2026-01-01T00:00:00Z",
        "CC BY",
        "share it",
    ]
    return build_workbook(
        CF_Doc=[DOC, document],
        CF_Item=[ITEMS, *items],
        CF_Association=[ASSOCIATIONS, *associations],
    )


def test_opensalt_workbook_is_read() -> None:
    package, repairs = read_framework(
        opensalt("1", "1.1", "1.2"), "xlsx", MetadataOptions(), strict=True
    )
    assert repairs == []
    assert package.document_identifier == "doc"
    assert sorted(tree(package)) == [
        ("C1", "the framework", 1),
        ("C1.1", "C1", 1),
        ("C1.2", "C1", 2),
    ]
    associations = {
        association["identifier"]: association
        for association in list_entities(package, "CFAssociation")
    }
    assert len(associations) == 4
    assert associations["one"]["sequenceNumber"] == 1
    assert associations["two"]["CFAssociationGroupingURI"]["title"] == "a group"
    (license_,) = list_entities(package, "CFLicense")
    assert (license_["title"], license_["licenseText"]) == ("CC BY", "share it")


def test_license_text_without_license_is_recorded_as_left_out() -> None:
    table = (
        b"class,title,creator,licenseText,fullStatement\nCFDocument,t,c,share it,\nCFItem,,,,x\n"
    )
    _, repairs = read_framework(table, "csv", MetadataOptions())
    (repair,) = [repair for repair in repairs if repair.kind == "license-text"]
    assert repair.path == "row 2, column D (licenseText)"
    assert (repair.before, repair.after) == ("share it", None)


def test_unknown_smart_levels_are_reported() -> None:
    problems = find_problems(opensalt("1", "1", "2.1"), "xlsx", MetadataOptions())
    assert [problem["path"] for problem in problems if "smartLevel" in problem["path"]] == [
        "sheet CF Item, row 3, column D (smartLevel)",
        "sheet CF Item, row 4, column D (smartLevel)",
    ]


def test_smart_level_of_many_digits_is_reported() -> None:
    (problem,) = find_problems(f"smartLevel,Statement\n1,Fold\n1.{'9' * 5000},Valley fold\n")
    assert problem["path"] == "row 3 (sequenceNumber)"
    assert "must be less than or equal to 2147483647" in problem["message"]


@pytest.mark.parametrize("number", ["9" * 25, "9" * 1000, "9" * 5000, "+" + "9" * 5000])
def test_sequence_number_of_many_digits_is_out_of_range(number: str) -> None:
    (problem,) = find_problems(f"code,Statement,sequenceNumber\nA,Fold,{number}\n")
    assert problem["path"] == "row 2, column C (sequenceNumber)"
    assert re.fullmatch("9+…? must be less than or equal to 2147483647", problem["message"])


def test_sequence_number_may_have_many_leading_zeros() -> None:
    package = read_csv(f"code,Statement,sequenceNumber\nA,Fold,{'0' * 5000}7\n")
    assert list_entities(package, "CFAssociation")[0]["sequenceNumber"] == 7


def edited(raw: bytes, change: Any) -> bytes:
    """Return a CSV with each row changed, or removed if ``change`` returns False."""
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    rows = [row for row in rows if change(row) is not False]
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def three() -> Body:
    body = factories.package()
    root, parent = body["CFDocument"], body["CFItems"][0]
    other = factories.packed_item(humanCodingScheme="B")
    body["CFItems"].append(other)
    for item in (parent, other):
        body["CFAssociations"].append(
            factories.association(item["identifier"], root["identifier"], sequenceNumber=1)
        )
    return body


def test_items_of_an_export_can_be_moved_and_removed() -> None:
    body = three()

    def move(row: Body) -> None:
        if row["humanCodingScheme"] == "A.1":
            row |= {"parent": "B", "sequenceNumber": "7"}

    package = read_csv(edited(write_package(body, "csv"), move), MetadataOptions())
    assert ("A.1", "B", 7) in tree(package)
    moved = body["CFAssociations"][0]
    (same,) = [
        association
        for association in list_entities(package, "CFAssociation")
        if association["identifier"] == moved["identifier"]
    ]
    assert same["destinationNodeURI"]["title"] == "B"
    shortened = read_csv(
        edited(write_package(body, "csv"), lambda row: row["humanCodingScheme"] != "A.1"),
        MetadataOptions(),
    )
    assert [code for code, _, _ in tree(shortened)] == ["A", "B"]
    assert shortened.count_entities("CFAssociation") == 2


def test_formulas_are_written_as_strings() -> None:
    body = factories.package()
    body["CFItems"][0]["fullStatement"] = "=1+1"
    text = write_package(body, "csv").decode("utf-8-sig")
    assert "'=1+1" in text
    assert ",=1+1" not in text
    sheet = load_workbook(io.BytesIO(write_package(body, "xlsx")))["CFItems"]
    column = [cell.value for cell in sheet[1]].index("fullStatement")
    assert (sheet[2][column].value, sheet[2][column].data_type) == ("=1+1", "s")


PASSED_OVER = ("\n", " ", "\u00a0", "\ufeff", "\u200b", "\r\n ", "\u200b\u00a0 \n")
STARTS = (
    *"=+-@\t\r＝＋－＠",  # noqa: RUF001
    *(f"{before}{sign}" for before in PASSED_OVER for sign in "=+-@\t\r"),
    "'",
    "'=",
    "' =",
)


@pytest.mark.parametrize("start", STARTS)
def test_cell_that_begins_like_a_formula_reads_back_as_it_was(start: str) -> None:
    file = io.BytesIO()
    cells = [f"{start}SUM(A1)", "plain", f"a{start}b"]
    comma.write_csv(file, [cells, [f"{start}1", 1, -1, None]])
    row, numbers = csv.reader(io.StringIO(file.getvalue().decode("utf-8-sig"), newline=""))
    assert row == [f"'{cells[0]}", *cells[1:]]
    assert numbers == [f"'{start}1", "1", "-1", ""]
    assert next(iter(comma.read_csv(file.getvalue()).rows)) == (1, cells)


def test_string_too_long_for_a_cell_is_reported() -> None:
    body = factories.package()
    for item in body["CFItems"]:
        item["fullStatement"] = "x" * (xlsx.MAX_CELL_CHARS + 1)
    body["CFItems"][0]["notes"] = "👩" * (xlsx.MAX_CELL_CHARS // 2)
    with pytest.raises(UnprocessableContent) as exc_info:
        write_package(body, "xlsx")
    assert [problem["path"].split(" (")[1] for problem in exc_info.value.problems] == [
        "fullStatement)",
        "fullStatement)",
    ]
    assert "csv, jsonl or case-json" in exc_info.value.problems[0]["message"]
    assert read_csv(write_package(body, "csv"), MetadataOptions()).count_entities("CFItem") == 2


@pytest.mark.parametrize("raw", [b"", b"not a zip", b"PK\x05\x06" + b"\0" * 18])
def test_file_that_is_no_workbook_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest, match=r"XLSX|workbook"):
        read_framework(raw, "xlsx", METADATA)


@pytest.mark.parametrize("form", ["case-json", "csv", "xlsx", "jsonl"])
def test_xls_and_ods_are_refused_with_what_to_do(form: Any) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", "<x/>")
    with pytest.raises(BadRequest, match=r"\(\.ods\): save it as an Excel workbook \(\.xlsx\)"):
        read_framework(file.getvalue(), form, METADATA)
    xls = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504)
    with pytest.raises(BadRequest, match=r"\(\.xls\) or has a password: save it"):
        read_framework(xls, form, METADATA)


def test_file_that_is_not_json_lines_is_refused() -> None:
    with pytest.raises(BadRequest, match="not JSON Lines"):
        read_framework(b"one\ntwo\n", "jsonl", METADATA)
    document = json.dumps({"CFDocument": factories.package()["CFDocument"]})
    raw = f'{document}\n{document}\n[]\n{{"CFItem": 1}}\n{{"Car": {{}}}}\n'.encode()
    problems = find_problems(raw, "jsonl")
    assert [problem["path"] for problem in problems] == ["line 2", "line 3", "line 4", "line 5"]
    (problem,) = find_problems(f'{document}\n\n{{"CFItem": {{}}}}\n', "jsonl")[:1]
    assert problem["path"].startswith("line 3")


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *(("a.json", "case-json"), ("a.JSON.gz", "case-json"), ("a.csv", "csv"), ("a.tsv", "csv")),
        *(("a.xlsx", "xlsx"), ("a.jsonl.gz", "jsonl"), ("a.txt", None), ("a.gz", None)),
    ],
)
def test_file_format_is_detected_by_name(name: str, form: str | None) -> None:
    assert detect_file_format(name) == form


def associations_book(*rows: list[Any]) -> bytes:
    items = [["Code", "Statement"], ["A", "Tie knots"], ["B", "Fly kites"], ["C", "C"], ["C", "D"]]
    return build_workbook(CFItems=items, CFAssociations=[["Origin", "Type", "Destination"], *rows])


def test_statement_in_a_column_of_nodes_is_no_identifier() -> None:
    raw = associations_book(["tie knots ", "precedes", "B"], ["B", "isPartOf", "Mathematics"])
    package, repairs = read_framework(raw, "xlsx", METADATA)
    items = list_entities(package, "CFItem")
    associations = [
        association
        for association in list_entities(package, "CFAssociation")
        if "isChild" not in str(association)
    ]
    assert [association["originNodeURI"]["identifier"] for association in associations] == [
        items[0]["identifier"],
        items[1]["identifier"],
    ]
    assert associations[1]["destinationNodeURI"]["identifier"] == "maths"
    places = {repair.kind: (repair.count, repair.path) for repair in repairs}
    position = "sheet CFAssociations, row 2, column A (originNodeURI.identifier)"
    assert places["reference-by-title"] == (2, position)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Tie a knot", "no item has the identifier, code or statement 'Tie a knot'"),
        ("C", "2 items have the code C; name the identifier of one"),
    ],
)
def test_unknown_name_in_a_column_of_nodes_is_refused(name: str, message: str) -> None:
    assert find_problems(associations_book(["A", "precedes", name]), "xlsx") == [
        {
            "path": "sheet CFAssociations, row 2, column C (destinationNodeURI.identifier)",
            "message": message,
        }
    ]
