"""Groups: a framework as a tree, whatever its shape."""

from __future__ import annotations

import json
from typing import Any

from support import factories
from support.calls import Api

from case_server.api.rendering.package_tree import iter_tree_json, parse_association, parse_item

Tree = dict[str, Any]


def tree(items: list[str], *edges: str, kinds: str = "") -> Any:
    """The content of a framework whose edges are written child-parent, as in ``b-a``."""
    bodies = [
        {"identifier": name, **({"CFItemType": kind} if kind.strip() else {})}
        for name, kind in zip(items, kinds.ljust(len(items)), strict=True)
    ]
    associations = [
        {
            "associationType": "isChildOf",
            "originNodeURI": {"identifier": edge.split("-")[0]},
            "destinationNodeURI": {"identifier": edge.split("-")[1]},
        }
        for edge in edges
    ]
    return json.loads(written(bodies, associations))


def written(items: list[dict[str, Any]], associations: list[dict[str, Any]]) -> bytes:
    bodies = [json.dumps(item) for item in items]
    nodes = dict(parse_item(body, body.encode()[:-1]) for body in bodies)
    return b"".join(iter_tree_json(nodes, map(parse_association, map(json.dumps, associations))))


def shape(content: Any) -> Any:
    """Identifiers only: {"unknown": [{"identifier": "a", …}]} becomes {"unknown": {"a": …}}."""
    return {
        kind: {item["identifier"]: shape(item["childGroups"]) for item in items}
        for kind, items in content.items()
    }


def test_nothing() -> None:
    assert tree([]) == {}


def test_roots_and_children_by_type() -> None:
    content = tree(["a", "b", "c", "d"], "b-a", "c-a", "d-a", kinds="XYZY")
    assert shape(content) == {"X": {"a": {"Y": {"b": {}, "d": {}}, "Z": {"c": {}}}}}


def test_child_of_something_outside_is_a_root() -> None:
    assert shape(tree(["a", "b"], "a-document", "b-a")) == {
        "unknown": {"a": {"unknown": {"b": {}}}}
    }


def test_item_with_two_parents_is_under_both_and_expanded_once() -> None:
    content = shape(tree(["a", "b", "c", "d"], "c-a", "c-b", "d-c"))
    assert content == {
        "unknown": {"a": {"unknown": {"c": {"unknown": {"d": {}}}}}, "b": {"unknown": {"c": {}}}}
    }


def test_cycles_end() -> None:
    assert shape(tree(["a", "b", "c"], "a-b", "b-a", "c-b")) == {
        "unknown": {"a": {"unknown": {"b": {"unknown": {"a": {}, "c": {}}}}}}
    }
    assert shape(tree(["a"], "a-a")) == {"unknown": {"a": {"unknown": {"a": {}}}}}


def test_ladder_of_diamonds_does_not_explode() -> None:
    names = [f"{side}{level}" for level in range(60) for side in "lr"]
    edges = [
        f"{one}{level + 1}-{other}{level}" for level in range(59) for one in "lr" for other in "lr"
    ]
    content = json.dumps(tree(names, *edges))
    assert content.count('"identifier"') == len(edges) + 2


def test_depth_has_no_limit() -> None:
    names = [str(number) for number in range(5000)]
    edges = [
        {
            "associationType": "isChildOf",
            "originNodeURI": {"identifier": str(number + 1)},
            "destinationNodeURI": {"identifier": str(number)},
        }
        for number in range(4999)
    ]
    content = written([{"identifier": name} for name in names], edges)
    assert content.count(b'"childGroups"') == 5000
    assert content.count(b"{") == content.count(b"}")


async def test_groups_of_a_framework(api: Api) -> None:
    root = factories.packed_item(CFItemType="Domain")
    children = [
        factories.packed_item(humanCodingScheme=code, CFItemType="Standard") for code in "dcba"
    ]
    below = [factories.association(child["identifier"], root["identifier"]) for child in children]
    below[0]["sequenceNumber"], below[1]["sequenceNumber"] = 2, 1
    body = factories.package(CFItems=[root, *children], CFAssociations=below)
    body["CFAssociations"].append(
        factories.association(root["identifier"], body["CFDocument"]["identifier"])
    )
    await api.send("POST", "/CFPackages", 201, body)
    identifier = body["CFDocument"]["identifier"]
    answer = await api.get(f"/CFPackages/{identifier}/groups")
    found = answer["CFPackageWithGroups"] if api.profile.wraps else answer
    assert found["sourcedId"] == identifier
    assert found["CFDocument"]["title"] == "a framework"
    (domain,) = found["structuredContent"]["Domain"]
    assert domain["sourcedId"] == root["identifier"]
    listed = [one["humanCodingScheme"] for one in domain["childGroups"]["Standard"]]
    assert listed == ["c", "d", "a", "b"]


async def test_fields_of_groups(api: Api) -> None:
    body = await api.upload()
    path = f"/CFPackages/{body['CFDocument']['identifier']}/groups"
    for fields in (["sourcedId"], ["structuredContent"], ["CFDocument", "structuredContent"]):
        answer = await api.get(path, fields=",".join(fields))
        found = answer["CFPackageWithGroups"] if api.profile.wraps else answer
        assert list(found) == fields
