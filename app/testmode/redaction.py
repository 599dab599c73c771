"""Redaction of client secrets, tokens and passwords from the request log.

A secret is recognized by the name of its field, even if that is escaped, by its value if the server
is configured with it, and by its form if it is a JSON Web Token. A body that may contain a secret
and cannot be parsed is not logged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode

SECRET_WORDS = ("secret", "token", "password", "passwd", "assertion", "authorization", "csrf")
"""A field whose name contains one of these, in any case, contains a secret."""
NOT_SECRET = {"token_type", "token_url", "tokenurl"}
MARK = "[redacted]"
JSON_WEB_TOKEN = re.compile(r"eyJ[\w-]{5,}\.[\w-]+\.[\w-]*", re.ASCII)
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
"""An escape in JSON; like percent-encoding, it is decoded so that encoded names are found."""
FORM = "application/x-www-form-urlencoded"
MIN_KNOWN_CHARS = 6
"""Minimum length of known secrets to redact; shorter ones would match in ordinary text."""


class Redactor:
    """Removes secrets from queries, bodies and other strings before they are logged.

    ``known`` holds the server's own secrets, which are recognized by their values.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        values = [value for value in secrets if len(value) >= MIN_KNOWN_CHARS]
        self._known = {*values, *(json.dumps(value)[1:-1] for value in values)}

    def redact_query(self, query: str) -> str:
        """Return a query string without secrets: ``limit=5&token=x`` becomes ``limit=5&token=``."""
        if not self._may_contain_secret(unquote_plus(query)):
            return query
        pairs = parse_qsl(query, keep_blank_values=True)
        redacted = [
            (self.redact_text(name), "" if is_secret_name(name) else self.redact_text(value))
            for name, value in pairs
        ]
        return urlencode(redacted)

    def redact_body(self, raw: bytes, content_type: str, content_encoding: str = "") -> bytes:
        """Return a request body without secrets, after parsing it as JSON or as a form.

        ``content_type`` and ``content_encoding`` are values of the request's header fields. Returns
        b"" if the body is compressed, or may contain a secret and cannot be parsed.
        """
        if content_encoding.lower() not in {"", "identity"}:
            return b""
        # JSON may be encoded in UTF-16, which contains null bytes.
        text = raw.replace(b"\0", b"").decode(errors="replace")
        decoded = unquote_plus(ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text))
        if not self._may_contain_secret(decoded):
            return raw
        is_form = content_type.partition(";")[0].strip().lower() in {FORM, ""}
        if is_form and not text.lstrip().startswith(("{", "[")):
            pairs = parse_qsl(text, keep_blank_values=True)
            if remaining := [pair for pair in pairs if not is_secret_name(pair[0])]:
                redact = self.redact_text
                return urlencode(
                    [(redact(name), redact(value)) for name, value in remaining]
                ).encode()
        return self._redact_json(raw)

    def _redact_json(self, raw: bytes) -> bytes:
        has_secret = False

        def redact(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            # Called for every object, including those that a duplicate name replaces.
            nonlocal has_secret
            remaining = [
                (name, value)
                for name, value in pairs
                if not is_secret_name(name) or isinstance(value, int | float | None)
            ]
            has_secret |= len(remaining) < len(pairs)
            return dict(remaining)

        try:
            parsed = json.loads(raw, object_pairs_hook=redact)
        except (ValueError, RecursionError):
            return b""
        text = json.dumps(parsed)
        redacted = self.redact_text(text)
        return redacted.encode() if has_secret or redacted != text else raw

    def redact_text(self, text: str) -> str:
        """Return a string with known secrets and JSON Web Tokens replaced with ``[redacted]``."""
        for value in self._known:
            text = text.replace(value, MARK)
        return JSON_WEB_TOKEN.sub(MARK, text)

    def _may_contain_secret(self, text: str) -> bool:
        lowercase = text.lower()
        has_secret_word = any(word in lowercase for word in SECRET_WORDS)
        return has_secret_word or any(secret in text for secret in (*self._known, "eyJ"))


def is_secret_name(name: str) -> bool:
    """Return whether a field with this name holds a secret: True for ``client_secret``."""
    lowercase = name.lower()
    return any(word in lowercase for word in SECRET_WORDS) and lowercase not in NOT_SECRET
