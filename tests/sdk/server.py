"""The server under test, and the SDK's clients for it."""

import os
from typing import Any

from expected import Profile
from timeback_case import CaseClient
from timeback_common import TimebackProvider


class SdkServer:
    """A running case-server and the API profile in which the SDK uses it."""

    def __init__(self, base_url: str, token_url: str, profile: Profile) -> None:
        self.base_url, self.token_url, self.profile = base_url, token_url, profile

    def client(self) -> CaseClient:
        """Create an SDK client as its documentation does, with credentials from the environment."""
        if self.profile.name == "explicit":
            return CaseClient(base_url=self.base_url, auth_url=self.token_url)
        return CaseClient(provider=self.provider())

    def provider(self, **options: Any) -> TimebackProvider:
        """Create an SDK provider for this server, with further options."""
        defaults = {
            "base_url": self.base_url,
            "auth_url": self.token_url,
            "client_id": os.environ["CASE_CLIENT_ID"],
            "client_secret": os.environ["CASE_CLIENT_SECRET"],
            "path_profile": "LEARNWITH_AI" if self.profile.name == "learnwith" else None,
        }
        return TimebackProvider(**(defaults | options))
