"""Package trees (CFPackageWithGroups): grouping, order, cycles and depth."""

import json
from typing import Any

from support import factories
from support.calls import Api

from case_server.api.rendering.package_tree import (
    iter_tree_json,
    parse_tree_association,
    parse_tree_item,
)

Tree = dict[str, Any]


def tree(items: list[str], *edges: str, kinds: str = "") -> Any:
    """Return the tree of items with the edges ``child-parent``, such as ``b-a``."""
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
    return json.loads(render(bodies, associations))


def render(items: list[dict[str, Any]], associations: list[dict[str, Any]]) -> bytes:
    bodies = [json.dumps(item) for item in items]
    nodes = dict(parse_tree_item(body, body.encode()[:-1]) for body in bodies)
    return b"".join(
        iter_tree_json(nodes, map(parse_tree_association, map(json.dumps, associations)))
    )


def shape(content: Any) -> Any:
    """Reduce {"unknown": [{"identifier": "a", …}]} to identifiers: {"unknown": {"a": …}}."""
    return {
        kind: {item["identifier"]: shape(item["childGroups"]) for item in items}
        for kind, items in content.items()
    }


def test_framework_without_items_is_an_empty_tree() -> None:
    assert tree([]) == {}


def test_roots_and_children_are_grouped_by_type() -> None:
    content = tree(["a", "b", "c", "d"], "b-a", "c-a", "d-a", kinds="XYZY")
    assert shape(content) == {"X": {"a": {"Y": {"b": {}, "d": {}}, "Z": {"c": {}}}}}


def test_child_of_a_node_outside_is_a_root() -> None:
    assert shape(tree(["a", "b"], "a-document", "b-a")) == {
        "unknown": {"a": {"unknown": {"b": {}}}}
    }


def test_item_with_two_parents_is_below_both_and_expanded_once() -> None:
    content = shape(tree(["a", "b", "c", "d"], "c-a", "c-b", "d-c"))
    assert content == {
        "unknown": {"a": {"unknown": {"c": {"unknown": {"d": {}}}}}, "b": {"unknown": {"c": {}}}}
    }


def test_cycle_is_expanded_once() -> None:
    assert shape(tree(["a", "b", "c"], "a-b", "b-a", "c-b")) == {
        "unknown": {"a": {"unknown": {"b": {"unknown": {"a": {}, "c": {}}}}}}
    }
    assert shape(tree(["a"], "a-a")) == {"unknown": {"a": {"unknown": {"a": {}}}}}


def test_repeated_diamonds_do_not_grow_exponentially() -> None:
    names = [f"{side}{level}" for level in range(60) for side in "lr"]
    edges = [
        f"{child}{level + 1}-{parent}{level}"
        for level in range(59)
        for child in "lr"
        for parent in "lr"
    ]
    content = json.dumps(tree(names, *edges))
    assert content.count('"identifier"') == len(edges) + 2


def test_depth_is_not_limited() -> None:
    names = [str(number) for number in range(5000)]
    edges = [
        {
            "associationType": "isChildOf",
            "originNodeURI": {"identifier": str(number + 1)},
            "destinationNodeURI": {"identifier": str(number)},
        }
        for number in range(4999)
    ]
    content = render([{"identifier": name} for name in names], edges)
    assert content.count(b'"childGroups"') == 5000
    assert content.count(b"{") == content.count(b"}")


async def test_groups_route_returns_sorted_children(api: Api) -> None:
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
    response = await api.get(f"/CFPackages/{identifier}/groups")
    package = response["CFPackageWithGroups"] if api.profile.wraps else response
    assert package["sourcedId"] == identifier
    assert package["CFDocument"]["title"] == "a framework"
    (domain,) = package["structuredContent"]["Domain"]
    assert domain["sourcedId"] == root["identifier"]
    codes = [child["humanCodingScheme"] for child in domain["childGroups"]["Standard"]]
    assert codes == ["c", "d", "a", "b"]


async def test_groups_route_selects_fields(api: Api) -> None:
    body = await api.upload_package()
    path = f"/CFPackages/{body['CFDocument']['identifier']}/groups"
    for fields in (["sourcedId"], ["structuredContent"], ["CFDocument", "structuredContent"]):
        response = await api.get(path, fields=",".join(fields))
        package = response["CFPackageWithGroups"] if api.profile.wraps else response
        assert list(package) == fields
