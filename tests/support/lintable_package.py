"""CFPackages for tests of the linter, and a function that lints them."""

import json
from typing import Any

from support.factories import Body, association, package, packed_item

from case_server.lint.linter import lint_package
from case_server.lint.violation import Violation


def build_valid_tree() -> Body:
    """Return a CFPackage without violations: two top-level items, one of them with a child."""
    body = package()
    root, (top, below) = body["CFDocument"]["identifier"], body["CFItems"]
    second = packed_item(fullStatement="another statement", humanCodingScheme="B")
    body["CFItems"].append(second)
    body["CFAssociations"] = [
        association(below["identifier"], top["identifier"], sequenceNumber=1),
        association(top["identifier"], root, sequenceNumber=1),
        association(second["identifier"], root, sequenceNumber=2),
    ]
    return body


def find_violations(body: Any) -> list[Violation]:
    return lint_package(json.dumps(body).encode()).violations


def add_child(body: Body, item: Body, under: str, **fields: Any) -> None:
    body["CFItems"].append(item)
    body["CFAssociations"].append(association(item["identifier"], under, **fields))


def get_document_id(body: Body) -> str:
    return str(body["CFDocument"]["identifier"])


def list_item_ids(body: Body) -> list[str]:
    return [item["identifier"] for item in body["CFItems"]]


def build_clean_package() -> Body:
    body = package()
    top = body["CFItems"][0]["identifier"]
    body["CFAssociations"].append(association(top, body["CFDocument"]["identifier"]))
    return body


def build_flawed_package() -> Body:
    """Return a CFPackage that has one lint violation of each severity."""
    body = build_clean_package()
    body["CFItems"][0] |= {"notes": None, "language": "English", "educationLevel": ["5"]}
    return body
