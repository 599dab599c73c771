"""/docs: the OpenAPI document to read and try, without a request to anywhere else."""

from __future__ import annotations

import html
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from ..exceptions import NotFound

ASSETS = Path(fastapi_offline.__file__).parent / "static"
OWN = Path(__file__).parent / "static"

FILES = {
    "swagger-ui.css": (ASSETS, "text/css"),
    "swagger-ui-bundle.js": (ASSETS, "text/javascript"),
    "docs.js": (OWN, "text/javascript"),
}

HEADERS = {
    # Swagger UI draws its icons from data: addresses.
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
<noscript>This page needs JavaScript; the document itself is at <a href="{prefix}/openapi.json">
{prefix}/openapi.json</a>.</noscript>
<script src="{prefix}/docs/assets/swagger-ui-bundle.js"></script>
<script src="{prefix}/docs/assets/docs.js"></script>
</body>
</html>
"""


def swagger_routes(path_prefix: str) -> APIRouter:
    """Return the routes of Swagger UI, from the files of an installed package.

    ``path_prefix`` is the path of the server's base URL; a namespace adds its own.
    """
    router = APIRouter(include_in_schema=False)

    async def read_docs(request: Request) -> Response:
        prefix = html.escape(path_prefix + request.scope.get("root_path", ""))
        return HTMLResponse(HTML.format(prefix=prefix), headers=HEADERS)

    router.add_api_route("/docs", read_docs)
    router.add_api_route("/docs/assets/{name}", read_asset)
    return router


async def read_asset(request: Request, name: str) -> Response:  # noqa: ARG001  as all handlers
    """One of the files that the page is made of."""
    if name == "icon.svg":
        return FileResponse(OWN / name, media_type="image/svg+xml", headers=HEADERS)
    if name not in FILES:
        raise NotFound("file of the documentation", name)
    folder, kind = FILES[name]
    return FileResponse(folder / name, media_type=kind, headers=HEADERS)
