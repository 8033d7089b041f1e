"""All tests of the page in one process, so that they share one browser.

    build/test-venv/bin/python tests/browser/run.py build/ingot             all
    build/test-venv/bin/python tests/browser/run.py build/ingot -k reload   of that name
"""
import pathlib

import browser  # noqa: F401  (makes tests/e2e known)
import ingot

if __name__ == "__main__":
    ingot.main("discover", "-s", str(pathlib.Path(__file__).parent), "-p", "*_test.py", module=None)
