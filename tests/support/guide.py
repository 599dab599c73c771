"""Run the steps of TimeBack's curriculum guide against a running server.

    python tests/support/guide.py http://127.0.0.1:8000

ClientCredentials come from CASE_CLIENT_ID and CASE_CLIENT_SECRET, as the SDK reads them.
"""

import os
import sys
import uuid
from datetime import UTC, datetime
from typing import Any

from httpx import Client

READ, WRITE, DELETE = (
    f"https://purl.imsglobal.org/spec/case/v1p0/scope/case.{name}"
    for name in ("readonly", "createput", "delete")
)


def now() -> str:
    return datetime.now(UTC).isoformat()


def link(identifier: str, title: str) -> dict[str, str]:
    return {"title": title, "identifier": identifier, "uri": f"urn:uuid:{identifier}"}


def entity(identifier: str, **fields: Any) -> dict[str, Any]:
    return {
        "identifier": identifier,
        "uri": f"urn:uuid:{identifier}",
        "lastChangeDateTime": now(),
        **fields,
    }


class Guide:
    """The steps of the guide as methods; each uses the entities that the previous ones created."""

    def __init__(self, base_url: str) -> None:
        self.http = Client(base_url=base_url, timeout=30)
        names = ("document", "package", "subject", "kind", "child", "parent", "association")
        self.ids = {name: str(uuid.uuid4()) for name in names}

    def call(self, method: str, path: str, status: int, body: Any = None) -> Any:
        response = self.http.request(method, f"/case/1.1{path}", json=body)
        print(f"{method:<7}{path} -> {response.status_code}")
        assert response.status_code == status, response.text
        if status in {201, 204}:
            assert response.content == b""
            return None
        return response.json()

    def authenticate(self) -> None:
        form = {"grant_type": "client_credentials", "scope": f"{READ} {WRITE} {DELETE}"}
        credentials = (
            os.environ.get("CASE_CLIENT_ID", "local-client"),
            os.environ.get("CASE_CLIENT_SECRET", "local-secret"),
        )
        response = self.http.post("/auth/1.0/token", data=form, auth=credentials)
        assert response.status_code == 200, response.text
        self.http.headers["Authorization"] = f"Bearer {response.json()['access_token']}"

    def create_document(self) -> None:
        ids = self.ids
        body = entity(
            ids["document"],
            creator="My Learning App",
            title="Grade 3 Mathematics",
            caseVersion="1.1",
            subject=["Mathematics"],
            subjectURI=[link(ids["subject"], "Mathematics")],
            CFPackageURI=link(ids["package"], "Grade 3 Mathematics"),
        )
        self.call("PUT", f"/CFDocuments/{ids['document']}", 201, body)
        self.call("PUT", f"/CFDocuments/{ids['document']}", 201, body)

    def browse_subjects(self) -> None:
        page = self.call("GET", "/CFSubjects?limit=20&offset=0", 200)
        assert page["total"] >= 1
        assert {"CFSubjects", "total", "limit", "offset"} <= page.keys()
        result = self.call("GET", f"/CFSubjects/{self.ids['subject']}", 200)
        assert result["CFSubjects"][0]["title"] == "Mathematics"

    def define_item_type(self) -> None:
        kind = self.ids["kind"]
        fields = {"description": "A standard that can be measured", "hierarchyCode": "LS"}
        body = entity(kind, title="Learning Standard", **fields)
        self.call("PUT", f"/CFItemTypes/{kind}", 201, body)
        result = self.call("GET", f"/CFItemTypes/{kind}", 200)
        assert result["CFItemTypes"][0]["hierarchyCode"] == "LS"

    def create_items(self) -> None:
        for name in ("parent", "child"):
            body = entity(
                self.ids[name],
                fullStatement=f"The {name} statement",
                humanCodingScheme="3.OA.A.1" if name == "child" else "3.OA",
                educationLevel=["03"],
                CFItemType="Learning Standard",
                CFItemTypeURI=link(self.ids["kind"], "Learning Standard"),
                CFDocumentURI=link(self.ids["document"], "Grade 3 Mathematics"),
            )
            self.call("PUT", f"/CFItems/{self.ids[name]}", 201, {"item": body})

    def build_hierarchy(self) -> None:
        association = self.ids["association"]
        body = entity(
            association,
            associationType="isChildOf",
            originNodeURI=link(self.ids["child"], "The child statement"),
            destinationNodeURI=link(self.ids["parent"], "The parent statement"),
        )
        self.call("PUT", f"/CFItemAssociations/{association}", 201, {"association": body})
        again = {**body, "identifier": str(uuid.uuid4())}
        path = f"/CFItemAssociations/{again['identifier']}"
        self.call("PUT", path, 409, {"association": again})

    def read_back(self) -> None:
        package = self.call("GET", f"/CFPackages/{self.ids['package']}", 200)
        assert package["CFDocument"]["identifier"] == self.ids["document"]
        assert len(package["CFItems"]) == 2
        assert len(package["CFAssociations"]) == 1
        definitions = package["CFDefinitions"]
        assert [subject["title"] for subject in definitions["CFSubjects"]] == ["Mathematics"]
        assert [item_type["title"] for item_type in definitions["CFItemTypes"]] == [
            "Learning Standard"
        ]
        for name in ("child", "parent"):
            both = self.call("GET", f"/CFItemAssociations/{self.ids[name]}", 200)
            assert both["CFItem"]["identifier"] == self.ids[name]
            results = [association["identifier"] for association in both["CFAssociations"]]
            assert results == [self.ids["association"]]

    def delete(self) -> None:
        path = f"/CFItemAssociations/{self.ids['association']}"
        self.call("DELETE", path, 204)
        self.call("DELETE", path, 404)
        self.call("GET", f"/CFItems/{self.ids['child']}", 200)


def main() -> None:
    guide = Guide(sys.argv[1])
    guide.authenticate()
    guide.create_document()
    guide.browse_subjects()
    guide.define_item_type()
    guide.create_items()
    guide.build_hierarchy()
    guide.read_back()
    guide.delete()
    print("the guide's flow works")


if __name__ == "__main__":
    main()
