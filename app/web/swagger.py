"""Swagger UI at ``/docs``, served from this machine without requests to other sites."""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from ..exceptions import NotFound
from .pages import HEADERS, STATIC_DIR, PageRoute, render_page

SWAGGER_DIR = Path(fastapi_offline.__file__).parent / "static"

ASSETS = {
    "swagger-ui.css": (SWAGGER_DIR, "text/css"),
    "swagger-ui-bundle.js": (SWAGGER_DIR, "text/javascript"),
    "docs.js": (STATIC_DIR, "text/javascript"),
    "icon.svg": (STATIC_DIR, "image/svg+xml"),
}

CSP = "Content-Security-Policy"
# Swagger UI has icons with data: URLs.
POLICY = HEADERS[CSP].replace("img-src 'self'", "img-src 'self' data:")


def create_swagger_router(*, web: bool) -> APIRouter:
    """Return a router with Swagger UI, the interactive API documentation, at ``/docs``.

    If ``web`` is true, the page has the layout of the web UI, with links to its other pages.
    """
    router = APIRouter(include_in_schema=False)
    layout = "layout.html" if web else "bare.html"

    async def show_docs(request: Request) -> Response:
        response = await render_page(request, "docs.html", title="API", layout=layout)
        response.headers[CSP] = POLICY
        return response

    router.add_api_route("/docs", show_docs, route_class_override=PageRoute)
    router.add_api_route("/docs/assets/{name}", get_swagger_file)
    return router


async def get_swagger_file(request: Request, name: str) -> Response:  # noqa: ARG001  as all handlers
    """Return a script, style sheet or icon of Swagger UI by its file name.

    Raises ``NotFound`` for an unknown name.
    """
    if name not in ASSETS:
        raise NotFound("file of the documentation", name, "open /docs")
    directory, content_type = ASSETS[name]
    return FileResponse(directory / name, media_type=content_type)
