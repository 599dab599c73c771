"""Take the screenshots of the documentation: the sample framework in Chromium.

`make screenshots` runs this; it starts a server of its own, with a database of its own.
"""

import io
import tempfile
from pathlib import Path
from typing import Any

from httpx import Client
from PIL import Image
from playwright.sync_api import Page
from support.browser import launch_chromium, open_page
from support.live_server import run_command, run_live_server

from case_server.sample import SAMPLE_DOCUMENT_ID

SCREENSHOTS_DIR = Path(__file__).parents[2] / "docs" / "screenshots"
WIDE = {"width": 1280, "height": 760}
PHONE = {"width": 390, "height": 760}
PALETTE_SIZE = 128
"""Sufficient for pages of text, with a quarter of the file size."""


def main() -> None:
    """Take all screenshots."""
    SCREENSHOTS_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        with run_live_server(data, "--no-access-log") as live, launch_chromium() as browser:
            result = run_command("import", "--sample", data_dir=data)
            assert result.returncode == 0, result.stderr
            with live.client() as client:
                item = find_most_associated_item(client)
            path = f"/documents/{SAMPLE_DOCUMENT_ID}/items/{item['identifier']}"
            views: list[tuple[str, str, dict[str, Any]]] = [
                ("item", path, {"viewport": WIDE}),
                ("item-dark", path, {"viewport": WIDE, "color_scheme": "dark"}),
                ("phone", path, {"viewport": PHONE}),
                ("json", f"{path}/json?profile=sdk", {"viewport": WIDE}),
            ]
            for name, address, options in views:
                with open_page(browser, live.base_url, **options) as page:
                    page.goto(address)
                    take(page, name)
            with open_page(browser, live.base_url, viewport=WIDE) as page:
                page.goto("/")
                page.get_by_role("searchbox", name="Search all frameworks").type("cloud")
                page.locator("#suggestions li").first.wait_for()
                take(page, "search")


def find_most_associated_item(client: Client) -> Any:
    """Return the item with the most associations."""
    package = client.get(f"/case/1.1/CFPackages/{SAMPLE_DOCUMENT_ID}").json()

    def weight(item: Any) -> int:
        ends = ("originNodeURI", "destinationNodeURI")
        return sum(
            item["identifier"] in {association[end]["identifier"] for end in ends}
            for association in package["CFAssociations"]
        )

    return max(package["CFItems"], key=weight)


def take(page: Page, name: str) -> None:
    """Write a screenshot with a reduced palette."""
    picture = Image.open(io.BytesIO(page.screenshot(animations="disabled")))
    file = SCREENSHOTS_DIR / f"{name}.png"
    few = picture.convert("RGB").quantize(PALETTE_SIZE, dither=Image.Dither.NONE)
    few.save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
