"""A real browser for the tests of this folder."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

BROWSERS = ["chromium", "chromium-browser", "google-chrome", "chrome", "msedge"]
BROWSER_PATHS = [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
]
QUIET = ["--disable-quic", "--disable-background-networking", "--disable-component-update"]
QUIET += ["--disable-sync", "--no-first-run"]


def find_browser() -> str | None:
    candidates = [shutil.which(name) for name in BROWSERS] + BROWSER_PATHS
    return next((path for path in candidates if path and Path(path).exists()), None)


@pytest.fixture
def page() -> Iterator[Page]:
    browser_path = find_browser()
    if browser_path is None:
        pytest.skip("no Chromium, Chrome or Edge is installed on this machine")
    sandbox = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=QUIET + sandbox)
        yield browser.new_page(viewport={"width": 1280, "height": 1600})
        browser.close()
