"""The sign-in page, for a client's ID and secret or for a token of a trusted issuer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from pydantic import BaseModel

from ..api.dependencies import get_app_state
from ..auth.throttle import TooManyAttempts
from ..exceptions import Unauthorized
from . import auth
from .pages import PageRoute, render_page

router = APIRouter(route_class=PageRoute)


@router.get("/sign-in")
async def show_sign_in(request: Request, next: str = "/") -> Response:  # noqa: A002  name in URLs
    """Show the sign-in form, or redirect to ``next`` if no sign-in is required.

    ``next`` is the path of the page to open; a URL of another server is replaced with ``/``.
    """
    if await auth.get_signed_in_client(request):
        return auth.redirect_to_page(request, auth.sanitize_next_url(next))
    return await _render_form(request, next)


async def _render_form(request: Request, next_url: str, problem: str = "") -> Response:
    return await render_page(
        request,
        "sign_in.html",
        status=401 if problem else 200,
        title="Sign in",
        problem=problem,
        next=auth.sanitize_next_url(next_url),
        has_local_issuer=get_app_state(request).issuer is not None,
    )


class SignInForm(BaseModel):
    """The fields of the sign-in form: a client's credentials, or a token."""

    next: str = "/"
    client_id: str = ""
    client_secret: str = ""
    token: str = ""


@router.post("/sign-in")
async def sign_in(request: Request, form: Annotated[SignInForm, Form()]) -> Response:
    """Start a session for the submitted credentials, or redisplay the form with an error."""
    auth.require_same_origin(request)
    try:
        token, lifetime = await _issue_or_verify_token(request, form)
    except Unauthorized as error:
        return await _render_form(request, form.next, error.description)
    except TooManyAttempts as error:
        problem = f"Too many failed attempts. Try again in {error.seconds} seconds."
        return await _render_form(request, form.next, problem)
    response = auth.redirect_to_page(request, auth.sanitize_next_url(form.next))
    auth.start_session(request, response, token, lifetime)
    return response


async def _issue_or_verify_token(request: Request, form: SignInForm) -> tuple[str, int | None]:
    """Return (access token, lifetime in seconds) for a session.

    If the server issues tokens, issues one for the client ID and secret in the form. Otherwise
    verifies the token in the form, and returns None as its lifetime. Raises ``Unauthorized`` if the
    credentials or the token are invalid, ``TooManyAttempts`` after too many failures.
    """
    app_state = get_app_state(request)
    if app_state.issuer is None:
        await app_state.verifier.verify(form.token.strip())
        return form.token.strip(), None
    address = request.client.host if request.client else ""
    credentials = (form.client_id.strip(), form.client_secret)
    client = await app_state.clients.authenticate([credentials], address)
    if client is None:
        raise Unauthorized(
            "Unknown client ID or wrong secret. The environment of the server sets one client, "
            "CASE_CLIENT_ID and CASE_CLIENT_SECRET; case-server client add creates others."
        )
    return app_state.issuer.issue(client.id, client.scopes)


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session: delete its cookie and revoke its access token on all workers."""
    auth.require_same_origin(request)
    await auth.revoke_session(request)
    response = auth.redirect_to_page(request, "/sign-in")
    auth.delete_session_cookie(request, response)
    return response
