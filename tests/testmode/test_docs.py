"""docs/guides/test-mode.md agrees with the code."""

import ast
import re
from pathlib import Path

from case_server.pytest_plugin import client
from case_server.testmode import namespaces
from case_server.testmode.faults import Fault
from case_server.testmode.request_log import RequestExpectation
from case_server.testmode.routes import router

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "guides" / "test-mode.md").read_text()


def section(title: str) -> str:
    return re.split(r"^#+ ", DOCS.split(f" {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_docs_list_every_route() -> None:
    documented = {
        (method, path)
        for methods, path in re.findall(r"^\| (.+?) ?(/_test\S*)` \|", DOCS, re.MULTILINE)
        for method in re.findall(r"[A-Z]+", methods)
    }
    routes = {
        (method, route.path)  # type: ignore[attr-defined]  # all of them are routes of paths
        for route in router.routes
        for method in route.methods  # type: ignore[attr-defined]  # as above
    }
    assert documented == routes


def test_docs_list_every_fault_field() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", section("Faults"), re.MULTILINE)
    assert documented == list(Fault.model_fields)
    assert list(client.FaultOptions.__annotations__) == list(Fault.model_fields)


def test_docs_list_every_expectation_field() -> None:
    documented = set(re.findall(r"`(\w+)`", section("Expectations")))
    assert (
        documented
        == set(RequestExpectation.model_fields)
        == set(client.RequestExpectation.__annotations__)
    )


def test_docs_list_every_fixture_method() -> None:
    methods = {
        name
        for name, value in vars(client.CaseTestApi).items()
        if callable(value) and not name.startswith("_")
    }
    documented = set(re.findall(r"`(\w+)\(", section("The pytest plugin")))
    assert documented == methods - {"require_test_mode", "seed_from_option", "drop_namespace"}


def test_docs_example_is_in_sample_project() -> None:
    source = (ROOT / "tests" / "sample_project" / "test_publisher.py").read_text()
    (shown,) = re.findall(
        r"^```python\n(def test_survives.*?)^```$", DOCS, re.MULTILINE | re.DOTALL
    )
    (function,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name in shown
    )
    assert ast.get_source_segment(source, function) == shown.rstrip()
    assert len(shown.splitlines()) <= 10


def test_first_test_of_docs_and_readme_is_in_sample_project() -> None:
    source = (ROOT / "tests" / "sample_project" / "test_framework_list.py").read_text()
    for page in (DOCS, (ROOT / "README.md").read_text()):
        assert f"```python\n{source}```" in page


def test_docs_state_namespace_limit() -> None:
    assert f"at most {namespaces.MAX_NAMESPACES}" in DOCS
