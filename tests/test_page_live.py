"""The live page in a real browser against a real server and broker: it shows what happens, and survives a cut cable."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, TimeoutError, expect

from tests.page_stage import (
    CHROMIUM,
    MODELS,
    PAIR,
    RETURN,
    RETURNS,
    SHORT,
    TEAM,
    Stage,
    Visitor,
    chromium,
    coloured,
    stage,
    violations,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.kafka,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not there"),
    pytest.mark.skipif(os.environ.get("LIT_SKIP_UI") == "1", reason="LIT_SKIP_UI=1"),
]
UP, DOWN, RIGHT, WRONG, PENDING = "#2ebd9b", "#f0616d", "#5aa9f5", "#f2a33c", "#95a1b0"
Opens = Callable[..., Visitor]


@pytest.fixture(scope="module")
def built() -> None:
    build = Path(__file__).parents[1] / "ui" / "build.py"
    subprocess.run([sys.executable, str(build)], check=True, timeout=250)


@pytest.fixture(scope="module")
def show(built: None, kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(kafka, tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def visit(browser: Browser, show: Stage) -> Iterator[Opens]:
    visitors: list[Visitor] = []

    def opens(**options: Any) -> Visitor:
        visitors.append(Visitor(browser, show, **{"color_scheme": "dark", **options}))
        return visitors[-1]

    show.cable.mend()
    yield opens
    show.cable.mend()
    for visitor in visitors:
        visitor.close()


def legend(page: Page) -> Any:
    return page.get_by_test_id("legend")


def until(check: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.1)


def search(page: Page) -> dict[str, str]:
    address = page.evaluate("location.href")  # page.url is as old as the last event that was looked at
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def picture(page: Page, name: str) -> None:
    """Keep a picture for who wants to look at it."""
    if folder := os.environ.get("LIT_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_candles_are_drawn_and_the_forming_bar_moves_with_each_tick(show: Stage, visit: Opens) -> None:
    page = visit().open()
    assert "token" not in page.url
    until(lambda: min(coloured(page, UP), coloured(page, DOWN)) > 200)
    for _ in range(2):
        show.advance(show._sent + 7)
        expect(legend(page)).to_contain_text("forming")
        expect(legend(page)).to_contain_text(f"C {show.last_price:.2f}")
    show.close_bar()
    expect(legend(page)).to_contain_text(f"C {show.last_price:.2f}")


def test_a_prediction_appears_beside_its_bar_and_its_outcome_later(show: Stage, visit: Opens) -> None:
    page = visit().open()
    until(lambda: coloured(page, RIGHT) > 50 and coloured(page, WRONG) > 20)
    bar = show.close_bar()
    show.predict(bar, 0.815)
    expect(page.get_by_test_id("latest-p")).to_have_text("0.815")
    newest = page.locator(".call-row").nth(1)
    expect(newest).to_contain_text("pending")
    right = coloured(page, RIGHT)
    show.score(bar, 0.815, 1.0)
    expect(newest).to_contain_text("right")
    expect(page.get_by_test_id("scores")).to_contain_text("%")
    until(lambda: coloured(page, RIGHT) > right)


def test_a_model_that_says_numbers_has_errors_instead_of_probabilities(show: Stage, visit: Opens) -> None:
    page = visit().open(f"&deployment={RETURNS}&interval=1minute")
    value = page.get_by_test_id("latest-p")
    expect(value).to_have_text(f"\N{MINUS SIGN}{RETURN:.7f}")
    expect(page.locator(".gauge")).to_have_count(0)
    scores = page.get_by_test_id("scores")
    for said in ("RMSE", "0.000200", "Sign right", "100.0 %", "+1.000"):
        expect(scores).to_contain_text(said)
    rows = page.locator(".call-row")
    expect(rows.nth(1).get_by_role("img", name="pending")).to_be_visible()
    expect(rows.nth(6).get_by_role("img", name="known")).to_be_visible()
    expect(rows.nth(6)).to_contain_text(f"{RETURN / 2:.6f}")
    until(lambda: coloured(page, PENDING) > 50)
    assert coloured(page, RIGHT) + coloured(page, WRONG) == 0
    picture(page, "numbers")


def test_a_cut_cable_is_told_and_afterwards_nothing_is_missing_or_doubled(show: Stage, visit: Opens) -> None:
    visitor = visit()
    # Refused connections are the browser's to report; anything else would be ours.
    visitor.tolerated = ("WebSocket", "ERR_")
    page = visitor.open()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    rows = page.locator(".rows").get_attribute("aria-label")
    assert rows is not None
    before = int(rows.split()[0])
    show.cable.cut()
    expect(page.get_by_role("alert")).to_contain_text("Connection lost", timeout=5000)
    missed = [show.close_bar() for _ in range(3)]
    for bar in missed:
        show.predict(bar, 0.25)
    show.cable.mend()
    with contextlib.suppress(TimeoutError):  # it may have come back by itself
        page.get_by_role("button", name="Try now").click(timeout=2000)
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator(".rows")).to_have_attribute("aria-label", f"{before + 3} predictions, newest first")
    expect(legend(page)).to_contain_text(f"C {show.last_price:.2f}")


def test_a_network_that_swallows_everything_is_noticed_within_five_seconds(show: Stage, visit: Opens) -> None:
    visitor = visit()
    visitor.tolerated = ("WebSocket",)
    page = visitor.open()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    show.cable.stall()
    expect(page.get_by_role("alert")).to_contain_text("Connection lost", timeout=5500)
    show.cable.mend()
    expect(page.get_by_role("alert")).to_have_count(0, timeout=20_000)


def test_the_address_restores_zoom_zone_and_picked_bar(show: Stage, visit: Opens) -> None:
    visitor = visit()
    page = visitor.open()
    page.get_by_label("Time zone").select_option("browser")
    expect(legend(page)).to_contain_text("Europe/Berlin (browser)")
    page.mouse.move(500, 300)
    page.mouse.down()
    page.mouse.move(1000, 300, steps=8)
    page.mouse.up()
    jump = page.get_by_role("button", name="Jump to latest")
    expect(jump).to_be_visible()
    until(lambda: "from" in search(page))
    page.mouse.click(700, 300)
    panel = page.get_by_role("heading", name="Ticks of the bar")
    expect(panel).to_be_visible()
    until(lambda: "bar" in search(page))
    copy, place = visitor.new_page(), search(page)
    copy.goto(page.url)
    expect(copy.get_by_role("heading", name="Ticks of the bar")).to_be_visible()
    expect(copy.get_by_role("button", name="Jump to latest")).to_be_visible()
    expect(copy.get_by_label("Time zone")).to_have_value("browser")
    copy.wait_for_timeout(600)
    assert search(copy) == place
    show.close_bar()  # what is looked at stays in place
    copy.wait_for_timeout(600)
    assert search(copy) == place
    jump.click()
    expect(jump).to_have_count(0)
    until(lambda: "from" not in search(page))


def test_the_ticks_of_a_picked_bar_are_those_of_the_tape(show: Stage, visit: Opens) -> None:
    bar = show.bars[-9]
    page = visit().open(f"&bar={bar.ordinal}")
    rows = page.locator("button.tick-row")
    expect(rows.first).to_contain_text(f"{show.tape.price[bar.first_index]:.2f}")
    rows.nth(1).click()
    expect(page.locator(".packet pre")).to_contain_text(f'"index": {bar.first_index + 1},')
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Latest prediction")).to_be_visible()


def test_the_chart_is_moved_by_keys_and_a_question_mark_lists_them(visit: Opens) -> None:
    page = visit().open()
    until(lambda: "bars" in search(page))
    count = int(search(page)["bars"])
    page.keyboard.press("-")
    until(lambda: int(search(page).get("bars", 0)) > count)
    page.keyboard.press("Shift+ArrowLeft")
    until(lambda: "from" in search(page))
    page.keyboard.press("End")
    until(lambda: "from" not in search(page))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("jump to the latest bar")
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_predictions_of_older_bars_come_with_them_when_one_scrolls_back(show: Stage, visit: Opens) -> None:
    page = visit().open(f"&deployment={PAIR}&interval={SHORT}")
    rows = page.locator(".rows")
    expect(rows).to_have_attribute("aria-label", "500 predictions, newest first")
    assert len(show.short) > 800
    for _ in range(40):
        if rows.get_attribute("aria-label") != "500 predictions, newest first":
            break
        page.keyboard.press("Shift+ArrowLeft")
        page.wait_for_timeout(100)
    expect(rows).to_have_attribute("aria-label", f"{len(show.short)} predictions, newest first")
    until(lambda: coloured(page, RIGHT) > 50)  # the chart shows them too


def test_predictions_are_laid_over_bars_of_another_interval(show: Stage, visit: Opens) -> None:
    page = visit().open(f"&deployment={PAIR}&interval=1minute")
    rows = page.locator(".rows")
    expect(rows).to_have_attribute("aria-label", f"{len(show.short)} predictions, newest first")
    until(lambda: coloured(page, RIGHT) > 50)  # the last of each minute
    picture(page, "overlay")
    newest = show.short[-1].last_index
    page.locator(".call-row").nth(1).click()
    bar = next(bar for bar in show.bars if bar.first_index <= newest <= bar.last_index)
    expect(page.get_by_role("heading", name="Ticks of the bar")).to_be_visible()
    until(lambda: search(page).get("bar") == str(bar.ordinal))
    page.get_by_label("Deployment").select_option("none")
    page.get_by_label("Deployment").select_option(PAIR)
    expect(page.get_by_label("Interval").get_by_role("radio", checked=True)).to_have_value(SHORT)
    page.get_by_label("Interval").get_by_text("1m").click()
    until(lambda: coloured(page, RIGHT) > 50)
    assert search(page)["deployment"] == PAIR


def test_a_hole_in_the_feed_is_marked_at_its_bar(show: Stage, visit: Opens) -> None:
    page = visit().open("&deployment=none&interval=1minute")
    until(lambda: min(coloured(page, UP), coloured(page, DOWN)) > 200)
    unmarked = coloured(page, WRONG)
    show.hole(37)
    show.advance(show._sent + 3)
    until(lambda: coloured(page, WRONG) > unmarked)
    expect(legend(page)).to_contain_text("gap: 37 ticks missing")
    picture(page, "gap")
    page.reload()
    expect(legend(page)).to_contain_text("gap: 37 ticks missing")


def test_a_stream_that_predicts_on_request_says_where(show: Stage, visit: Opens) -> None:
    body = {"adapter": {"name": "restapi"}, "parameters": {"port": 12345}}
    url, bearer = f"{show.url}/api/teams/{TEAM}/streams/asked", {"Authorization": f"Bearer {show.token}"}
    assert httpx.put(url, json=body, headers=bearer, timeout=30).status_code == 200
    visitor = visit()
    visitor.page.goto(f"{show.cable.url}/t/{TEAM}/streams/asked?token={show.token}")
    expect(visitor.page.get_by_text("asked predicts on request")).to_be_visible()
    assert httpx.delete(url, headers=bearer, timeout=30).status_code == 204


def test_each_model_of_a_deployment_has_its_scores_and_can_be_chosen(show: Stage, visit: Opens) -> None:
    page = visit().open(f"&deployment={PAIR}&interval={SHORT}")
    summaries = page.locator(".scores")
    expect(summaries).to_have_count(2)
    expect(summaries.nth(0)).to_contain_text("100.0 %")
    expect(summaries.nth(1)).to_contain_text("0.0 %")
    until(lambda: coloured(page, RIGHT) > 50)
    page.get_by_role("button", name=MODELS[1]).click()
    expect(page.get_by_test_id("latest-p")).to_have_text("0.200")
    until(lambda: coloured(page, RIGHT) == 0)
    assert search(page)["model"] == MODELS[1]
    page.go_back()
    expect(page.get_by_test_id("latest-p")).to_have_text("0.900")


def test_one_without_a_session_must_log_in_and_is_then_where_they_wanted(show: Stage, visit: Opens) -> None:
    visitor = visit()
    visitor.tolerated = ("401",)
    page = visitor.page
    page.goto(f"{show.cable.url}/t/{TEAM}")
    page.get_by_role("textbox", name="Token").fill("not a token")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("This token is not known")).to_be_visible()
    page.get_by_role("textbox", name="Token").fill(show.token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="tape")).to_be_visible()
    assert urlsplit(page.url).path == f"/t/{TEAM}"


def test_a_list_that_fails_says_so_with_the_requests_id_and_can_be_tried_again(show: Stage, visit: Opens) -> None:
    visitor = visit()
    visitor.tolerated = ("400",)
    page = visitor.open()
    answer = {"detail": "The broker does not answer.", "request_id": "r-17"}
    page.route("**/streams", lambda route: route.fulfill(status=400, json=answer))
    page.goto(f"{show.cable.url}/t/{TEAM}")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The broker does not answer.")
    expect(alert).to_contain_text("r-17")
    page.unroute("**/streams")
    alert.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("link", name="tape")).to_be_visible()


def test_who_logs_out_must_log_in_again(show: Stage, visit: Opens) -> None:
    visitor = visit()
    page = visitor.open()
    visitor.tolerated = ("401",)
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("menuitem", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.goto(f"{show.cable.url}/t/{TEAM}")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_bars_that_do_not_exist_are_told_in_a_sentence(visit: Opens) -> None:
    page = visit().page
    stage_path = visit().stage
    page.goto(f"{stage_path.page_path}?token={stage_path.token}&symbol=IBM.N&interval=7parsec&deployment=none")
    expect(page.get_by_role("alert")).to_contain_text("unit 'parsec' is unknown")


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_serious_stands_in_anyones_way(show: Stage, visit: Opens, scheme: str, width: int) -> None:
    visitor = visit(color_scheme=scheme, viewport={"width": width, "height": 900})
    page = visitor.open()
    expect(page.get_by_test_id("scores")).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.goto(f"{show.page_path}?bar={show.bars[-9].ordinal}")
    expect(page.locator("button.tick-row").first).to_be_visible()
    assert violations(page) == []
    page.goto(f"{show.cable.url}/t/{TEAM}")
    expect(page.get_by_role("link", name="tape")).to_be_visible()
    assert violations(page) == []
    page.goto(f"{show.cable.url}/login")
    expect(page.get_by_role("textbox", name="Token")).to_be_visible()
    assert violations(page) == []


def test_a_dark_page_is_dark_before_its_scripts_run(show: Stage, visit: Opens) -> None:
    visitor = visit(color_scheme="dark")
    page = visitor.page
    page.route("**/assets/*.js", lambda route: route.abort())
    page.goto(show.page_path)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 18, 24)"
    visitor.complaints.clear()
