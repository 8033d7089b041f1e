"""All tests of the page in one process, so that they share one browser.

    run.py build/ingot                       all
    run.py build/ingot -k reload             those with "reload" in their name
"""
import os
import pathlib
import sys
import unittest

import browser


def main():
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        os.environ["INGOT"] = sys.argv.pop(1)
    if "INGOT" not in os.environ:
        sys.exit("expected the path of ingot as the argument or in $INGOT, found neither")
    here = str(pathlib.Path(browser.__file__).parent)
    # load_tests of unittest: `discover` is the one way to take all files and keep -k.
    unittest.main(module=None, verbosity=2,
                  argv=[sys.argv[0], "discover", "-s", here, "-p", "*_test.py", *sys.argv[1:]])


if __name__ == "__main__":
    main()
