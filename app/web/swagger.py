"""Swagger UI at ``/docs``, served from this machine without requests to other sites."""

from __future__ import annotations

import html
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from ..exceptions import NotFound

SWAGGER_DIR = Path(fastapi_offline.__file__).parent / "static"
STATIC_DIR = Path(__file__).parent / "static"

ASSETS = {
    "swagger-ui.css": (SWAGGER_DIR, "text/css"),
    "swagger-ui-bundle.js": (SWAGGER_DIR, "text/javascript"),
    "docs.js": (STATIC_DIR, "text/javascript"),
    "icon.svg": (STATIC_DIR, "image/svg+xml"),
}

HEADERS = {
    # Swagger UI has icons with data: URLs.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; "
    "script-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>case-server · API</title>
<link rel="icon" href="{prefix}/docs/assets/icon.svg">
<link rel="stylesheet" href="{prefix}/docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page requires JavaScript. The OpenAPI document is at <a href="{prefix}/openapi.json">
{prefix}/openapi.json</a>.</noscript>
<script src="{prefix}/docs/assets/swagger-ui-bundle.js"></script>
<script src="{prefix}/docs/assets/docs.js"></script>
</body>
</html>
"""


def swagger_routes(path_prefix: str) -> APIRouter:
    """Return the routes of Swagger UI.

    ``path_prefix`` is the path of the server's base URL; that of a namespace is in ``root_path``.
    """
    router = APIRouter(include_in_schema=False)

    async def read_docs(request: Request) -> Response:
        prefix = html.escape(path_prefix + request.scope.get("root_path", ""))
        return HTMLResponse(HTML.format(prefix=prefix), headers=HEADERS)

    router.add_api_route("/docs", read_docs)
    router.add_api_route("/docs/assets/{name}", read_asset)
    return router


async def read_asset(request: Request, name: str) -> Response:  # noqa: ARG001  as all handlers
    """Return a file of Swagger UI."""
    if name not in ASSETS:
        raise NotFound("file of the documentation", name, "open /docs")
    directory, content_type = ASSETS[name]
    return FileResponse(directory / name, media_type=content_type, headers=HEADERS)
