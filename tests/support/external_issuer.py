"""An OAuth issuer for tests: an HTTP server with its own signing keys, which the app trusts."""

import asyncio
import threading
import time
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from case_server.auth.tokens import SigningKey, encode_token, generate_signing_key, get_public_jwk

from .signing import Sign, sign_jwt


class ExternalIssuer:
    """An HTTP server that publishes signing keys, and creates tokens that are signed with them.

    It can rotate the keys, fail, respond late, and count requests.
    """

    def __init__(self) -> None:
        self._first_key = generate_signing_key()
        routes = [
            Route("/realm/.well-known/openid-configuration", self._configuration),
            Route("/realm/.well-known/jwks.json", self._jwks),
            Route("/realm/keys", self._jwks),
        ]
        app = Starlette(routes=routes)
        config = uvicorn.Config(app, port=0, ws="none", lifespan="off", log_level="error")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/realm"
        self.reset()

    def reset(self) -> None:
        """Restore the first key and all settings, and set the counts to 0."""
        self.key: SigningKey = self._first_key
        self.published: list[dict[str, Any]] = [dict(get_public_jwk(self.key))]
        self.jwks_uri: str | None = f"{self.url}/keys"
        self.fetches = 0
        self.delay = 0.0
        self.down = False
        self.moved = False

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def rotate_key(self) -> None:
        """Replace the signing key and publish only the new one."""
        self.key = generate_signing_key()
        self.published = [dict(get_public_jwk(self.key))]

    def create_token(self, **changes: Any) -> str:
        """Create a valid token with some claims changed; None leaves a claim out."""
        return encode_token(self.key, self.build_claims(**changes))

    def create_forged_token(self, sign: Sign, header: dict[str, Any], **changes: Any) -> str:
        """Create a token with any header, signed by ``sign`` instead of the JWT library."""
        header = {"alg": "RS256", "kid": self.key.kid, **header}
        return sign_jwt(header, self.build_claims(**changes), sign)

    def build_claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a valid access token with some changed; None leaves a claim out."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": "robot",
            "client_id": "robot",
            "scope": "https://purl.imsglobal.org/spec/case/v1p0/scope/case.readonly",
            "token_use": "access",
            "iat": now,
            "exp": now + 3600,
        } | changes
        return {name: value for name, value in claims.items() if value is not None}

    async def _configuration(self, _: Request) -> Response:
        if self.down or self.jwks_uri is None:
            return Response(status_code=503 if self.down else 404)
        return JSONResponse({"issuer": self.url, "jwks_uri": self.jwks_uri})

    async def _jwks(self, request: Request) -> Response:
        self.fetches += 1
        await asyncio.sleep(self.delay)
        if self.moved:
            self.moved = False
            return RedirectResponse(request.url)
        return Response(status_code=503) if self.down else JSONResponse({"keys": self.published})
