"""Make `docs/screenshot.png` from the server that runs over `$LIT_DATA`: `python ui/screenshot.py [address] [file]`.

Without an address it shows the newest deployment of the first team.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def main(arguments: list[str]) -> int:
    """Take the picture; returns the exit status."""
    private = Path(os.environ.get("LIT_DATA", "data")) / ".lit"
    if not (private / "server.json").is_file():
        print(f"no server runs over {private.parent}: start `lit demo`, or set LIT_DATA", file=sys.stderr)  # noqa: T201
        return 2
    url, token = json.loads((private / "server.json").read_text())["url"], (private / "token").read_text().strip()
    path = arguments[0] if arguments else newest(url, token)
    target = Path(arguments[1]) if len(arguments) > 1 else ROOT / "docs" / "screenshot.png"
    target.parent.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="dark")
        page.goto(f"{url}{path}{'&' if '?' in path else '?'}token={quote(token)}")
        page.get_by_test_id("latest-p").wait_for()
        page.mouse.move(880, 300)
        page.wait_for_timeout(1500)
        page.screenshot(path=target)
        browser.close()
    return 0


def newest(url: str, token: str) -> str:
    """Return the path of the last deployment's page."""

    def ask(path: str) -> Any:
        request = urllib.request.Request(f"{url}/api{path}", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    team = ask("/teams")[0]
    deployment = ask(f"/teams/{quote(team)}/deployments")[-1]
    query = urlencode({"deployment": deployment["name"], "interval": deployment["interval"]})
    return f"/t/{quote(team)}/streams/{quote(deployment['stream'])}?{query}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
