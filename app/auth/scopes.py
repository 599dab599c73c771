"""The three OAuth scopes of CASE, and the claims of tokens that grant them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum


class Scope(StrEnum):
    """An OAuth scope of CASE; the value is the URL by which tokens name the scope."""

    READONLY = "https://purl.imsglobal.org/spec/case/v1p0/scope/case.readonly"
    CREATEPUT = "https://purl.imsglobal.org/spec/case/v1p0/scope/case.createput"
    DELETE = "https://purl.imsglobal.org/spec/case/v1p0/scope/case.delete"


DESCRIPTIONS = {
    Scope.READONLY: "Read frameworks and everything in them",
    Scope.CREATEPUT: "Create and replace",
    Scope.DELETE: "Delete associations",
}

ScopeMap = Mapping[str, frozenset[Scope]]
"""The scopes that each name in a token grants."""

STANDARD_NAMES: ScopeMap = {
    name: frozenset({scope})
    for scope in Scope
    for name in (scope.value, scope.value.replace("/v1p0/", "/v1p1/"))
}


def parse_scopes(claim: object, names_to_scopes: ScopeMap = STANDARD_NAMES) -> frozenset[Scope]:
    """Return the set of scopes in a claim: a space-separated string, or an array of strings.

    ``names_to_scopes`` maps each accepted name to its scopes. Names must match exactly; unknown
    names are ignored.
    """
    if isinstance(claim, str):
        words: Collection[object] = claim.split()
    elif isinstance(claim, list | tuple | frozenset):
        words = claim
    else:
        words = ()
    granted = (names_to_scopes.get(word) for word in words if isinstance(word, str))
    return frozenset().union(*filter(None, granted))


def collect_token_scopes(claims: Mapping[str, object], scope_map: ScopeMap) -> frozenset[Scope]:
    """Return all scopes that a token grants through its claims ``scope``, ``scp`` and ``roles``.

    Okta and Entra ID use ``scp`` (a string or an array) instead of ``scope`` (RFC 8693, section
    4.2). ``scope_map`` maps the names of roles, and other aliases that operators choose, to scopes.
    """
    names_to_scopes = {**STANDARD_NAMES, **scope_map}
    return frozenset().union(
        parse_scopes(claims.get("scope"), names_to_scopes),
        parse_scopes(claims.get("scp"), names_to_scopes),
        parse_scopes(claims.get("roles"), scope_map),
    )


def resolve_scope_names(scope_map: Mapping[str, Collection[str]]) -> ScopeMap:
    """Replace the names of scopes in a configured scope map with members of ``Scope``.

    ``{"editor": ["readonly"]}`` becomes ``{"editor": frozenset({Scope.READONLY})}``.
    """
    by_name = {scope.name.lower(): scope for scope in Scope}
    return {name: frozenset(by_name[name] for name in names) for name, names in scope_map.items()}


def format_scopes(scopes: Collection[Scope]) -> str:
    """Format scopes as the ``scope`` claim of a token: in a fixed order, separated by spaces."""
    return " ".join(scope for scope in Scope if scope in scopes)
