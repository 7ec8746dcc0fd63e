"""The dashboard in a real Chromium: it draws, complains of nothing, and fits a phone, light and dark."""

from __future__ import annotations

import shutil
import threading

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright.sync_api")

from playwright.sync_api import sync_playwright

from frontier_ops.monitor.dashboard import dashboard
from frontier_ops.web import serve_app

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def url(home):
    ready, found = threading.Event(), []
    app = dashboard(home, model_url="http://127.0.0.1:9")
    options = {"host": "127.0.0.1", "port": 0, "on_ready": lambda url: (found.append(url), ready.set())}
    threading.Thread(target=serve_app, args=[app], kwargs=options, daemon=True).start()
    assert ready.wait(240)
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_page_draws_the_loop_without_a_complaint(browser, url, scheme, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    page.wait_for_selector("body[data-ready]")
    assert complaints == []
    assert page.inner_text("#state") == "not running"
    assert page.inner_text("#skills h3:first-child").splitlines()[0] == "binary"
    assert "reason 2" in page.inner_text("#weights")
    assert "exit code 3" in page.inner_text("#jobs")
    assert page.locator("#lineage rect").count() >= 2
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    context.close()
