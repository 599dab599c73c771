"""Compute the responses expected for a package sent with the SDK, in either API profile."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel
from timeback_case import CFPackageInput

Body = dict[str, Any]

ARRAYS = ("conceptKeywords", "subject", "subjectURI", "educationLevel")
"""Lists that one profile includes in an item even if they are empty. A document has the two about
subjects."""


@dataclass(frozen=True)
class Profile:
    """The differences between API profiles that a client of the SDK notices."""

    name: str
    path: str
    default_limit: int
    """Length of a list requested without ``limit``."""
    max_limit: int
    complete: bool
    """True if responses include empty lists, and every ``uri`` is a URL of the server."""
    free: bool
    """True if filters may have parentheses, bare numbers, ``@``, and more than two predicates."""
    minors: dict[str, str] = field(default_factory=dict)
    """The minor codes for invalid parameters, where they differ from ``invaliddata``."""


EXPLICIT = Profile(
    "explicit", "/ims/case/v1p1", default_limit=100, max_limit=3000, complete=True, free=True
)
LEARNWITH = Profile(
    "learnwith",
    "/case/1.1",
    default_limit=10,
    max_limit=100,
    complete=False,
    free=False,
    minors={"filter": "invalid_filter_field", "sort": "invalid_sort_field"},
)
PROFILES = {profile.name: profile for profile in (EXPLICIT, LEARNWITH)}


def serialize_as_sent(package: Body) -> Body:
    """Return a package as the SDK sends it, after its input models have dropped unknown fields."""
    return dump(CFPackageInput.model_validate(package))


def dump(model: BaseModel) -> Body:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


class ExpectedResponses:
    """The responses that the server must give for one uploaded package, in one API profile."""

    def __init__(self, package: Body, profile: Profile, base_url: str) -> None:
        self.sent = serialize_as_sent(package)
        self.profile = profile
        self.address = base_url + profile.path
        self.identifier: str = self.sent["CFDocument"]["identifier"]
        self.collections = {self.identifier: "CFDocuments"}
        self.collections |= {item["identifier"]: "CFItems" for item in self.sent["CFItems"]}
        self.document = self._document(self.sent["CFDocument"])
        self.items = {item["identifier"]: self._item(item) for item in self.sent["CFItems"]}
        self.associations = {
            association["identifier"]: self._association(association)
            for association in self.sent["CFAssociations"]
        }

    @property
    def stats(self) -> Body:
        return {"documents": 1, "items": len(self.items), "associations": len(self.associations)}

    def _uri(self, collection: str, identifier: str, sent: str) -> str:
        minted = f"{self.address}/{collection}/{quote(identifier, safe='')}"
        return minted if self.profile.complete and collection else sent

    def _entity(self, collection: str, sent: Body) -> Body:
        response = {**sent, "sourcedId": sent["identifier"]}
        del response["identifier"]
        response["uri"] = self._uri(collection, sent["identifier"], sent["uri"])
        response["lastChangeDateTime"] = format_utc(sent["lastChangeDateTime"])
        return response

    def _link(self, collection: str, sent: Body) -> Body:
        identifier = sent["identifier"]
        uri = self._uri(collection, identifier, sent["uri"])
        return {"sourcedId": identifier, "title": sent["title"], "uri": uri}

    def _document(self, sent: Body) -> Body:
        response = self._entity("CFDocuments", sent)
        identifier, title = sent["identifier"], sent["title"]
        package = f"{self.address}/CFPackages/{quote(identifier, safe='')}"
        response["CFPackageURI"] = {"sourcedId": identifier, "title": title, "uri": package}
        if self.profile.complete:
            response = {"subject": [], "subjectURI": []} | response
        if uri := response.pop("licenseUri", None):
            # The SDK sends a licence as a string; the server returns a link.
            identifier = str(uuid.uuid5(uuid.NAMESPACE_URL, uri))
            response["licenseURI"] = self._link(
                "CFLicenses", {"identifier": identifier, "title": uri, "uri": uri}
            )
        return response

    def _item(self, sent: Body) -> Body:
        response = self._entity("CFItems", sent)
        lower = response.pop("cfItemType", "unknown")
        response.setdefault("CFItemType", lower)
        for name, collection in (("CFItemTypeURI", "CFItemTypes"), ("licenseURI", "CFLicenses")):
            if name in sent:
                response[name] = self._link(collection, sent[name])
        if self.profile.complete:
            response = {name: [] for name in ARRAYS} | response
        return response | {"CFDocumentURI": self._to_document()}

    def _association(self, sent: Body) -> Body:
        response = self._entity("CFAssociations", sent)
        for name in ("originNodeURI", "destinationNodeURI"):
            response[name] = self._link(
                self.collections.get(sent[name]["identifier"], ""), sent[name]
            )
        return response | {"CFDocumentURI": self._to_document()}

    def _to_document(self) -> Body:
        return self._link("CFDocuments", self.sent["CFDocument"])

    def children(self) -> dict[str, dict[str, tuple[float, str]]]:
        """Return the children of each item, by identifiers, with their sort key.

        The sort key is (sequenceNumber, code).
        """
        children: dict[str, dict[str, tuple[float, str]]] = {name: {} for name in self.items}
        for association in self.sent["CFAssociations"]:
            child = association["originNodeURI"]["identifier"]
            parent = association["destinationNodeURI"]["identifier"]
            if (
                association["associationType"] == "isChildOf"
                and {child, parent} <= self.items.keys()
            ):
                sequence = association.get("sequenceNumber", float("inf"))
                code = self.items[child].get("humanCodingScheme", "")
                children[parent][child] = (sequence, code)
        return children


def format_utc(timestamp: str) -> str:
    """Return a timestamp in the format that responses have: UTC, with milliseconds and ``Z``."""
    at = datetime.fromisoformat(timestamp).astimezone(UTC)
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
