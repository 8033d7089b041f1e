"""A page of `ingot serve` in Chromium. A test fails on whatever the browser complains of.

Needs playwright of PyPI and Debian's chromium; where one is missing, tests are skipped by its name.
"""
import atexit
import importlib.util
import os
import pathlib
import re
import shutil
import sys
import tempfile
import unittest
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from server import ServedTest, Server  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
PATIENCE_MS = 60_000
SERVER_FLAGS = ("--threads", "1")  # the browser needs a core as well
VIEWS = {"create": "Create", "gallery": "Gallery", "info": "PNG Info", "models": "Models",
         "settings": "Settings"}


def missing():
    """The name of what these tests need and the machine lacks, or None."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed"
    return None if CHROMIUM else "chromium is not installed"


def shared_browser():
    """One browser for all tests of the process."""
    if not hasattr(shared_browser, "browser"):
        from playwright.sync_api import sync_playwright
        playwright = sync_playwright().start()
        # Chromium's sandbox does not start as root, as which containers of CI run.
        flags = ["--no-sandbox"] if os.getuid() == 0 else []
        shared_browser.browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        atexit.register(lambda: (shared_browser.browser.close(), playwright.stop()))
    return shared_browser.browser


class Complaints:
    """What a browser finds wrong with the pages of one context."""

    def __init__(self, context, host):
        self.found = []
        self.expected = []  # patterns of complaints that the test provokes
        self.requests = []
        self.in_flight = set()
        self._host = host
        context.on("request", self._hear_request)
        for end in ("requestfinished", "requestfailed"):
            context.on(end, lambda request: self.in_flight.discard(request))
        context.on("console", self._hear_console)
        context.on("weberror", lambda error: self.found.append(f"page error: {error.error}"))
        context.add_init_script(
            "addEventListener('securitypolicyviolation', event => console.error(`Content Security "
            "Policy: ${event.violatedDirective} ${event.blockedURI}`))")

    def _hear_request(self, request):
        self.requests.append(request)
        if request.resource_type != "eventsource":
            self.in_flight.add(request)
        url = urllib.parse.urlsplit(request.url)
        if url.scheme not in ("data", "blob") and url.netloc != self._host:
            self.found.append(f"a request leaves the host: {request.url}")

    def _hear_console(self, message):
        if message.type == "error":
            place = message.location.get("url", "")
            self.found.append(f"console error: {message.text} ({place})")

    def unexpected(self):
        return [complaint for complaint in self.found
                if not any(re.search(pattern, complaint) for pattern in self.expected)]


@unittest.skipIf(missing(), missing() or "")
class BrowserTest(ServedTest):
    """Tests over one server. `open` gives a page of an empty profile, or a further tab of it."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.server = Server(cls.folder.name, flags=SERVER_FLAGS)

    def setUp(self):
        self.context = None
        self.addCleanup(self.close)

    def open(self, path="/", viewport=None, dark=False, tab=False):
        """A page of `path` that has loaded. `tab`: beside the one that is open."""
        if not tab:
            self.close()
            host = "{}:{}".format(*self.server.address)
            self.context = shared_browser().new_context(
                base_url=f"http://{host}", viewport=viewport or DESKTOP, locale="en-GB",
                color_scheme="dark" if dark else "light", accept_downloads=True)
            self.context.set_default_timeout(PATIENCE_MS)
            self.complaints = Complaints(self.context, host)
        page = self.context.new_page()
        page.goto(path)
        return page

    def go(self, page, view):
        """Shows a view by its link, as a reader does."""
        page.get_by_role("navigation").get_by_role("link", name=VIEWS[view], exact=True).click()
        self.expect(page).to_have_title(f"{VIEWS[view]} · Ingot")

    def settle(self, page):
        """Until nothing has been asked of the server for a while: the page stands still."""
        quiet_turns = 0
        while quiet_turns < 5:
            page.wait_for_timeout(100)
            quiet_turns = 0 if self.complaints.in_flight else quiet_turns + 1

    def expect(self, what):
        from playwright.sync_api import expect
        expect.set_options(timeout=PATIENCE_MS)
        return expect(what)

    def expect_complaint(self, pattern):
        """A complaint that the test provokes, such as the status of a refusal."""
        self.complaints.expected.append(pattern)

    def close(self):
        if self.context is None:
            return
        self.context.close()
        self.context = None
        self.assertEqual(self.complaints.unexpected(), [])

    def assert_accessible(self, page, what):
        """Serious and critical findings of axe-core, each as one line."""
        if importlib.util.find_spec("axe_playwright_python") is None:
            self.skipTest("axe-playwright-python is not installed")
        from axe_playwright_python.sync_playwright import Axe
        found = Axe().run(page).response["violations"]
        serious = [f"{finding['id']}: {finding['help']}: {node['html'][:120]} {why(node)}"
                   for finding in found if finding["impact"] in ("serious", "critical")
                   for node in finding["nodes"]]
        self.assertEqual(serious, [], what)

    def assert_no_sideways_scroll(self, page, what):
        width, inner = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        self.assertLessEqual(width, inner, what)


def why(node):
    return "; ".join(check["message"] for check in node["any"] + node["all"])[:200]
