"""Who may ask this server for a token, and for which scopes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .scopes import Scope

if TYPE_CHECKING:
    from ..settings import Settings


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who proved to know a secret."""

    id: str
    scopes: frozenset[Scope]


class Clients:
    """Everybody who may ask: for now the one client that the settings name."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.client_secret.get_secret_value()
        client = Client(settings.client_id, frozenset(Scope))
        self._known = {client.id: (_digest(secret), client)}
        self._nobody = secrets.token_bytes(32)

    def authenticate(self, client_id: str, secret: str) -> Client | None:
        """The client with this id and secret; finding none takes the same time for any reason."""
        expected, client = self._known.get(client_id, (self._nobody, None))
        return client if hmac.compare_digest(_digest(secret), expected) else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
