"""Sign-in with a client's id and secret, or with a token where tokens are issued elsewhere."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from pydantic import BaseModel

from ..api.dependencies import get_state
from ..auth.throttle import TooManyAttempts
from ..exceptions import Unauthorized
from . import auth
from .pages import Page, page


def sign_in_routes() -> APIRouter:
    """Coming in and going out."""
    router = APIRouter(route_class=Page)
    router.add_api_route("/sign-in", read_sign_in)
    router.add_api_route("/sign-in", sign_in, methods=["POST"])
    router.add_api_route("/sign-out", sign_out, methods=["POST"])
    return router


async def read_sign_in(request: Request, next: str = "/") -> Response:  # noqa: A002  its name in links
    """The form; nobody needs it where no sign-in is needed."""
    if await auth.caller(request):
        return auth.redirect(request, auth.local_path(next))
    return await _form(request, next)


async def _form(request: Request, wanted: str, problem: str = "") -> Response:
    return await page(
        request,
        "sign_in.html",
        status=401 if problem else 200,
        title="Sign in",
        problem=problem,
        next=auth.local_path(wanted),
        local=get_state(request).issuer is not None,
    )


class SignIn(BaseModel):
    """What the form sends."""

    csrf: str = ""
    next: str = "/"
    client_id: str = ""
    client_secret: str = ""
    token: str = ""


async def sign_in(request: Request, form: Annotated[SignIn, Form()]) -> Response:
    """Start a session, or say why not."""
    auth.refuse_forgery(request, form.csrf)
    try:
        granted, lifetime = await _token(request, form)
    except Unauthorized as error:
        return await _form(request, form.next, error.description)
    except TooManyAttempts as error:
        told = f"Too many failed attempts; try again in {error.seconds} seconds."
        return await _form(request, form.next, told)
    response = auth.redirect(request, auth.local_path(form.next))
    auth.start_session(request, response, granted, lifetime)
    return response


async def _token(request: Request, form: SignIn) -> tuple[str, int | None]:
    """An access token, and how long it lives where that is known.

    Raises ``Unauthorised``, or ``TooManyAttempts``.
    """
    held = get_state(request)
    if held.issuer is None:
        await held.verifier.verify(form.token.strip())
        return form.token.strip(), None
    address = request.client.host if request.client else ""
    given = (form.client_id.strip(), form.client_secret)
    client = await held.clients.authenticate([given], address)
    if client is None:
        raise Unauthorized(
            "This is not the id and secret of a client of this server. Its environment sets them, "
            "CASE_CLIENT_ID and CASE_CLIENT_SECRET; case-server client add makes others."
        )
    return held.issuer.issue(client.id, client.scopes)


async def sign_out(request: Request, csrf: Annotated[str, Form()] = "") -> Response:
    """End the session: its cookie, and its token on every worker."""
    auth.refuse_forgery(request, csrf)
    await auth.revoke_session(request)
    response = auth.redirect(request, "/sign-in")
    auth.end_session(request, response)
    return response
