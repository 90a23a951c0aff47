"""The main API's own page in a real browser: who is logged in sees all routes and tries them; nobody else does."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lit.api.config import ApiConfig
from lit.api.server import listening, serving
from lit.api.services import Services
from lit.streams.store_open import open_store
from tests.page_stage import CHROMIUM, chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.kafka,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not there"),
]


def test_routes_are_shown_and_tried_by_who_is_logged_in(kafka: str, tmp_path: Path) -> None:
    (tmp_path / "desk").mkdir()
    complaints: list[str] = []
    with open_store(tmp_path, None) as stores, listening("127.0.0.1", 0) as listener:
        services = Services(ApiConfig(tmp_path, kafka), stores)
        with serving(services, listener) as url, chromium() as browser:
            page, asked = browser.new_page(), []
            assert page.request.get(f"{url}/api/docs").status == 401
            assert page.request.get(f"{url}/api/swagger/swagger-ui.css").status == 401
            login = page.request.post(f"{url}/api/login", data={"token": services.keys.admin_token})
            assert login.ok, login.text()
            page.on("request", lambda request: asked.append(request.url))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.goto(f"{url}/api/docs")
            teams = page.locator("#operations-system-teams_api_teams_get")
            teams.locator(".opblock-summary-control").click()
            teams.get_by_role("button", name="Execute").click()
            teams.locator(".live-responses-table .response-col_status", has_text="200").wait_for()
            assert '"desk"' in teams.locator(".live-responses-table pre code").first.inner_text()
            routes = page.request.get(f"{url}/api/openapi.json").json()["paths"].values()
            tags = {tag for methods in routes for one in methods.values() for tag in one["tags"]}
            shown: set[str] = set()
            end = time.monotonic() + 60
            while shown != tags:  # what is far below is drawn when it is scrolled to
                assert time.monotonic() < end, tags - shown
                shown |= set(page.locator(".opblock-tag").evaluate_all("all => all.map((one) => one.dataset.tag)"))
                page.evaluate("scrollBy(0, 500)")
                page.wait_for_timeout(30)
            page.locator(".auth-wrapper .authorize").first.click()
            page.locator("#auth-bearer-value").fill("no token")
            page.get_by_role("button", name="Apply credentials").click()
            page.get_by_role("button", name="Close").first.click()
            teams.get_by_role("button", name="Execute").click()
            teams.locator(".live-responses-table .response-col_status", has_text="401").wait_for()
            page.screenshot(path=tmp_path / "page.png")
    assert all(url_.startswith((url, "data:")) for url_ in asked), asked
    assert [text for text in complaints if "401" not in text] == []
