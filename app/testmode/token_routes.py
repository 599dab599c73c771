"""Control over tokens: flawed ones, short-lived ones, and new keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from ..api.responses import json_response
from ..auth.invalid_tokens import Defect, make_invalid_token
from ..auth.local_issuer import LocalIssuer
from ..auth.scopes import Scope
from ..exceptions import Conflict
from .request_body import flag, namespace_of, read_json


def add_token_routes(router: APIRouter) -> None:
    """Tokens, their lifetimes, and the keys that sign them."""
    router.post("/tokens")(make)
    router.get("/token-lifetimes")(lifetimes)
    router.put("/token-lifetimes")(set_lifetimes)
    router.delete("/token-lifetimes")(delete_lifetimes)
    router.post("/keys/rotate")(rotate)


NAMES = {scope.name.lower(): scope for scope in Scope}


class Wish(BaseModel):
    """A token that is wanted: valid, unless it is to have a defect."""

    model_config = ConfigDict(extra="forbid")

    defect: Defect | None = None
    scopes: list[Scope] = list(Scope)
    """In full, or by their last word: readonly, createput, delete."""
    client_id: str | None = None

    @field_validator("scopes", mode="before")
    @classmethod
    def _by_last_word(cls, sent: object) -> object:
        if not isinstance(sent, list):
            return sent
        return [NAMES.get(str(name).removeprefix("case."), name) for name in sent]


WISH = TypeAdapter(Wish)
LIFETIMES = TypeAdapter(dict[str, Annotated[int, Field(ge=1, le=86400)]])


async def make(request: Request) -> Response:
    """A token as asked for; it was issued to nobody by the token endpoint."""
    issuer, wish = _issuer(request), await read_json(request, WISH, absent="{}")
    client = wish.client_id or namespace_of(request).app_state.settings.client_id
    token = make_invalid_token(issuer, client, wish.scopes, wish.defect)
    return json_response({"access_token": token, "token_type": "Bearer"}, 201)


async def lifetimes(request: Request) -> Response:
    """How long the tokens of clients live, in seconds, where that is not the server's setting."""
    return json_response(_issuer(request).lifetimes)


async def set_lifetimes(request: Request) -> Response:
    """These clients' tokens live so long, from the next one on; all others' as is set."""
    issuer = _issuer(request)
    issuer.lifetimes = await read_json(request, LIFETIMES)
    return json_response(issuer.lifetimes)


async def delete_lifetimes(request: Request) -> Response:
    """All tokens live as long as is set."""
    _issuer(request).lifetimes = {}
    return Response(status_code=204)


async def rotate(request: Request) -> Response:
    """Sign with a new key; tokens of the old ones stay valid unless ``revoke=true``."""
    issuer = _issuer(request)
    revoke = flag(request.query_params, "revoke")
    kid = await namespace_of(request).rotate_keys(issuer, revoke=revoke)
    return json_response({"kid": kid, "kids": list(issuer.kids)}, 201)


def _issuer(request: Request) -> LocalIssuer:
    issuer = namespace_of(request).app_state.issuer
    if issuer is None:
        raise Conflict(
            "this server issues no tokens (CASE_SERVER_LOCAL_ISSUER is false): ask its issuer"
        )
    return issuer
