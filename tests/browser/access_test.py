"""Everybody can use the page: audits of axe-core, keyboard, phone width, light and dark."""
from browser import PHONE, VIEWS, BrowserTest


class AccessTest(BrowserTest):
    def each_view(self, **options):
        page = self.open(**options)
        for view in VIEWS:
            self.go(page, view)
            self.settle(page)
            yield view, page

    def test_no_view_has_a_serious_finding_in_light(self):
        for view, page in self.each_view():
            self.assert_accessible(page, view)

    def test_no_view_has_a_serious_finding_in_dark(self):
        for view, page in self.each_view(dark=True):
            self.assert_accessible(page, view)

    def test_no_view_has_a_serious_finding_on_a_phone(self):
        for view, page in self.each_view(viewport=PHONE):
            self.assert_accessible(page, view)
            self.assert_no_sideways_scroll(page, view)

    def test_dark_mode_is_dark(self):
        page = self.open(dark=True)
        lightness = page.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        self.assertLess(max(lightness[:3]), 80)
