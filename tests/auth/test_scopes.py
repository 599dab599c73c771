from case_server.auth.scopes import DESCRIPTIONS, Scope, format_scopes, parse_scopes

V1P0 = "https://purl.imsglobal.org/spec/case/v1p0/scope/"
V1P1 = "https://purl.imsglobal.org/spec/case/v1p1/scope/"


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
