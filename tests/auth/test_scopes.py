import pytest

from case_server.auth.scopes import DESCRIPTIONS, Scope, format_scopes, parse_scopes

V1P0 = "https://purl.imsglobal.org/spec/case/v1p0/scope/"
V1P1 = "https://purl.imsglobal.org/spec/case/v1p1/scope/"


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [
        (V1P0 + "case.readonly", {Scope.READONLY}),
        (V1P1 + "case.readonly", {Scope.READONLY}),
        (f"{V1P0}case.delete {V1P1}case.createput", {Scope.DELETE, Scope.CREATEPUT}),
        (f"openid  {V1P0}case.delete email", {Scope.DELETE}),
        ([V1P0 + "case.readonly", V1P1 + "case.delete"], {Scope.READONLY, Scope.DELETE}),
        ([f"{V1P0}case.readonly {V1P0}case.delete"], set()),
        ([7, None, ["x"], V1P0 + "case.delete"], {Scope.DELETE}),
        (V1P0 + "case.readonlyX", set()),
        ("x" + V1P0 + "case.readonly", set()),
        (V1P0 + "case", set()),
        ("case.readonly", set()),
        ((V1P0 + "case.readonly").upper(), set()),
        ((V1P0 + "case.readonly").replace("https", "http"), set()),
        ("", set()),
        (None, set()),
        (7, set()),
        ({V1P0 + "case.readonly": True}, set()),
    ],
)
def test_scopes_are_parsed_exactly(claim: object, scopes: set[Scope]) -> None:
    assert parse_scopes(claim) == scopes


def test_scope_urls_are_those_of_the_platform() -> None:
    assert [scope.value for scope in Scope] == [
        V1P0 + "case.readonly",
        V1P0 + "case.createput",
        V1P0 + "case.delete",
    ]


def test_formatted_scopes_have_a_fixed_order() -> None:
    assert format_scopes({Scope.DELETE, Scope.READONLY}) == f"{V1P0}case.readonly {V1P0}case.delete"
    assert parse_scopes(format_scopes(frozenset(Scope))) == frozenset(Scope)


def test_every_scope_is_described() -> None:
    assert set(DESCRIPTIONS) == set(Scope)
