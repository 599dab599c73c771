"""What is written in any form is read again as the same package, whatever it says."""

from __future__ import annotations

import io
from collections.abc import Iterator

import factories
import orjson
import pytest
from factories import Body
from hypothesis import HealthCheck, Phase, given, settings
from packages import HOSTILE, packages

from case_server.case.package import Package, read_package
from case_server.case.resources import DEFINITIONS
from case_server.sheets.assembly import Defaults
from case_server.sheets.forms import Form
from case_server.sheets.lines import Lines
from case_server.sheets.reader import read
from case_server.sheets.writer import Tables

OTHERS: tuple[Form, ...] = ("csv", "xlsx", "jsonl")

each_form = pytest.mark.parametrize("form", OTHERS)

bounded = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)


def entities(package: Body) -> Iterator[tuple[str, Body]]:
    """All that a package holds, each under the name of its class."""
    yield "CFDocument", package["CFDocument"]
    lists = {**package, **package.get("CFDefinitions", {})}
    kinds = {resource.plural: resource.name for resource in DEFINITIONS}
    kinds |= {"CFItems": "CFItem", "CFAssociations": "CFAssociation", "CFRubrics": "CFRubric"}
    for plural, kind in kinds.items():
        yield from ((kind, entity) for entity in lists.get(plural, ()))
    holders = {"CFPackage": package, "CFDefinition": package.get("CFDefinitions", {})}
    for kind, holder in holders.items():
        if "extensions" in holder:
            yield kind, {"extensions": holder["extensions"]}


def written(package: Body, form: Form) -> bytes:
    file = io.BytesIO()
    with Lines(file) if form == "jsonl" else Tables(file, form) as writer:
        for kind, entity in entities(package):
            writer.add(kind, entity)
        writer.finish()
    return file.getvalue()


def understood(raw: bytes, form: Form) -> Package:
    """What a strict reading of a file says: nothing in it needs repair."""
    package, repairs = read(raw, form, Defaults(), strict=True)
    assert repairs == []
    return package


@each_form
@bounded
@given(package=packages())
def test_any_package_comes_back(form: Form, package: Body) -> None:
    assert understood(written(package, form), form) == read_package(orjson.dumps(package))


@each_form
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_comes_back_from_every_text_field(form: Form, text: str) -> None:
    body = factories.everything()
    fields = ("fullStatement", "notes", "humanCodingScheme", "CFItemType", "language")
    for item in body["CFItems"]:
        item |= dict.fromkeys(fields, text)
        item |= {"subject": [text, text], "educationLevel": [text], "conceptKeywords": [text]}
    body["CFDocument"] |= {"description": text, "extensions": {"own": [text], text: None}}
    body["CFAssociations"][0] |= {"notes": text}
    body["CFAssociations"][0]["originNodeURI"]["title"] = text
    assert understood(written(body, form), form) == read_package(orjson.dumps(body))
