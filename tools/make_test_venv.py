#!/usr/bin/env python3
"""Makes the virtual environment of the tests that need PyPI: make_test_venv.py FOLDER.

It holds tests/requirements.txt; nothing is done where it holds that file already. Where PyPI is
out of reach, says so and succeeds: those tests are then skipped.
"""
import hashlib
import pathlib
import shutil
import subprocess
import sys

REQUIREMENTS = pathlib.Path(__file__).resolve().parents[1] / "tests" / "requirements.txt"


def run(command):
    """Why it failed, in one line, or None."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode == 0:
        return None
    lines = (done.stderr + done.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def make(folder):
    """Why it could not be made, or None."""
    return run([sys.executable, "-m", "venv", folder]) or run(
        [folder / "bin" / "python", "-m", "pip", "install", "--only-binary=:all:",
         "--disable-pip-version-check", "--quiet", "--retries", "1", "--timeout", "20",
         "--requirement", REQUIREMENTS])


def main(folder):
    stamp = folder / "requirements.sha256"  # written last: a folder without it is half made
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        print(f"test packages: already in {folder}")
        return
    shutil.rmtree(folder, ignore_errors=True)
    if reason := make(folder):
        shutil.rmtree(folder, ignore_errors=True)
        print(f"test packages: left out, tests that need them are skipped ({reason})")
        return
    stamp.write_text(wanted)
    print(f"test packages: {REQUIREMENTS.name} in {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
