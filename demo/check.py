"""Judges pictures by their pixels: does each named colour stand in its named place?  Needs numpy and Pillow alone."""
import argparse
import os
import random
import sys

import numpy as np
from PIL import Image

import scenes

NAMES = list(scenes.PALETTE)
RGB = np.array([scenes.PALETTE[n] for n in NAMES], np.float32)
# A drawn object covers at least 15 % of its third, a half or more of that in its own colour and not in a shade;
# so 6 % of the third must have the colour.
OBJECT_SHARE = 0.06
# Of the top fifth and the bottom seventh, the share that sky and ground must have; flying objects may hide the rest.
SKY_SHARE, GROUND_SHARE = 0.40, 0.60
# A pixel farther than this from every palette colour (of the 441 from black to white) counts as none of them.
FAR = 70.0


def classify(im):
    """(H, W, 3) uint8 -> index into NAMES, -1 where no palette colour is near"""
    d = np.linalg.norm(im.astype(np.float32)[:, :, None] - RGB, axis=-1)
    c = d.argmin(-1)
    return np.where(d.min(-1) <= FAR, c, -1)


def share(c, colour):
    return float((c == NAMES.index(colour)).mean()) if c.size else 0.0


def judge(im, want):
    """List of (what, passed, share), one for each attribute that `want` (a scene; None: not named) names."""
    c = classify(im)
    H, W = c.shape
    out = []
    if want["sky"]:
        s = share(c[:max(1, round(H / 5))], want["sky"])
        out.append((f"sky {want['sky']}", s >= SKY_SHARE, s))
    if want["ground"]:
        s = share(c[H - max(1, round(H / 7)):], want["ground"])
        out.append((f"ground {want['ground']}", s >= GROUND_SHARE, s))
    for kind, colour, place in want["objects"]:
        if not colour:
            continue
        at = [scenes.PLACES.index(place)] if place else range(3)
        s = max(share(c[:, round(i * W / 3):round((i + 1) * W / 3)], colour) for i in at)
        out.append((f"{colour} {kind} {place or 'anywhere'}", s >= OBJECT_SHARE, s))
    return out


def score(pairs):
    """pairs of (image, scene) -> dict with the share of attributes and of whole pictures that pass, and by sort"""
    by, whole, fails = {}, [], []
    for i, (im, want) in enumerate(pairs):
        r = judge(im, want)
        whole.append(all(p for _, p, _ in r))
        for what, p, s in r:
            sort = what.split()[0] if what.split()[0] in ("sky", "ground") else "object"
            by.setdefault(sort, []).append(p)
            if not p:
                fails.append((i, what, round(s, 3)))
    every = [p for v in by.values() for p in v]
    return dict(attributes=float(np.mean(every)), named=len(every), pictures=float(np.mean(whole)), count=len(whole),
                fails=fails, **{k: float(np.mean(v)) for k, v in by.items()})


def report(name, r):
    sorts = ", ".join(f"{k} {100 * r[k]:.1f} %" for k in ("sky", "ground", "object") if k in r)
    print(f"{name}: {100 * r['attributes']:.2f} % of {r['named']} named colours in place ({sorts}); "
          f"{100 * r['pictures']:.1f} % of {r['count']} pictures wholly right", flush=True)


def validate(n, size):
    """The checker on drawings: the true captions must pass, captions of other drawings must fail."""
    W, H = size
    rng = random.Random(5)
    ss = [scenes.random_scene(rng, holdout=True) for _ in range(n)]
    ims = [scenes.render(s, W, H, rng) for s in ss]
    report(f"drawings {W}x{H}, own captions", score(list(zip(ims, ss))))
    report(f"drawings {W}x{H}, another's captions", score(list(zip(ims, ss[1:] + ss[:1]))))


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("single", nargs="*", help='PNG "caption"')
    ap.add_argument("--images", help="folder of PNGs; sorted by name they answer to the captions' lines")
    ap.add_argument("--captions", help="file of captions, one to a line")
    ap.add_argument("--validate", type=int, metavar="N", help="check the checker itself on N drawings")
    ap.add_argument("--size", default="256x256")
    ap.add_argument("--need", type=float, default=0.0, help="exit with 1 below this percentage of named colours")
    a = ap.parse_args()
    if a.validate:
        validate(a.validate, tuple(map(int, a.size.split("x"))))
        return 0
    if a.images:
        names = sorted(f for f in os.listdir(a.images) if f.lower().endswith((".png", ".jpg", ".webp")))
        with open(a.captions) as f:
            lines = [l.strip() for l in f if l.strip()]
        if len(names) != len(lines):
            print(f"{len(names)} pictures but {len(lines)} captions; judging the first {min(len(names), len(lines))}")
        pairs = [(np.asarray(Image.open(os.path.join(a.images, n)).convert("RGB")), scenes.parse_caption(l)) for n, l in zip(names, lines)]
        r = score(pairs)
        for i, what, s in r["fails"]:
            print(f"  {names[i]}: {what} has {100 * s:.1f} %")
        report(a.images, r)
        return int(100 * r["attributes"] < a.need)
    if len(a.single) != 2:
        ap.error('give PNG "caption", or --images with --captions, or --validate')
    rows = judge(np.asarray(Image.open(a.single[0]).convert("RGB")), scenes.parse_caption(a.single[1]))
    for what, p, s in rows:
        print(f"{'ok  ' if p else 'FAIL'} {what}: {100 * s:.1f} %")
    return int(not all(p for _, p, _ in rows))


if __name__ == "__main__":
    sys.exit(main())
