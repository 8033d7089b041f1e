"""Draws the demo model's little picture-book scenes and words their captions."""
import argparse
import math
import random
import re
import zlib

import numpy as np
from PIL import Image, ImageDraw

# A colour as a person names it; the checker judges by these same numbers.
PALETTE = {
    "red": (215, 45, 45), "green": (60, 160, 70), "blue": (60, 110, 215), "yellow": (240, 210, 60),
    "white": (245, 245, 245), "purple": (130, 70, 170), "orange": (240, 140, 50), "black": (25, 25, 30),
    "pink": (245, 160, 190), "gray": (140, 140, 140),
}
SKIES = ["blue", "orange", "purple", "black", "pink"]
GROUNDS = ["green", "white", "yellow", "gray"]
KINDS = ["house", "tree", "ball", "boat", "star", "sun", "moon"]
COLOURS = ["red", "green", "blue", "yellow", "white", "purple", "orange", "black"]
PLACES = ["left", "centre", "right"]
WOOD, DOOR, PANE = (112, 76, 48), (92, 62, 44), (250, 238, 190)
AIRBORNE = {"star", "sun", "moon"}


# ------------------------------------------------------------------- scenes
def scene_key(scene):
    """One text per combination of attributes, whatever order they were given in."""
    return "|".join([scene["sky"], scene["ground"]] + sorted(f"{p}:{c} {k}" for k, c, p in scene["objects"]))


def held_out(scene):
    """The fixed 5 % of all attribute combinations that training never sees."""
    return zlib.crc32(scene_key(scene).encode()) % 20 == 0


def random_scene(rng, holdout=False):
    """A scene on the asked side of the hold-out line; no object has its sky's or its ground's colour."""
    while True:
        sky, ground = rng.choice(SKIES), rng.choice(GROUNDS)
        free = [c for c in COLOURS if c not in (sky, ground)]
        n = rng.choices((1, 2, 3), (3, 4, 3))[0]
        objects = [(rng.choice(KINDS), rng.choice(free), p) for p in sorted(rng.sample(PLACES, n), key=PLACES.index)]
        scene = dict(sky=sky, ground=ground, objects=objects)
        if held_out(scene) == holdout:
            return scene


# ------------------------------------------------------------------ drawing
def shade(c, k):
    """k < 0 darker, k > 0 lighter; black only ever gets lighter, so that parts stay visible."""
    if max(c) < 60:
        return tuple(int(v + 34) for v in c)
    return tuple(int(v * (1 + k)) if k < 0 else int(v + (255 - v) * k) for v in c)


def draw_object(d, kind, c, cx, base, w, h):
    """Draws into the box of width w and height h that stands on y = base around x = cx."""
    x0, x1, y0 = cx - w / 2, cx + w / 2, base - h
    dark, light = shade(c, -0.24), shade(c, 0.25)
    if kind == "house":
        eaves = y0 + 0.40 * h
        d.rectangle((x0 + 0.06 * w, eaves, x1 - 0.06 * w, base), fill=c)
        d.polygon([(x0, eaves), (cx, y0), (x1, eaves)], fill=dark)
        d.rectangle((cx - 0.09 * w, base - 0.30 * h, cx + 0.09 * w, base), fill=DOOR)
        for s in (-1, 1):
            wx = cx + s * 0.28 * w
            d.rectangle((wx - 0.08 * w, eaves + 0.12 * h, wx + 0.08 * w, eaves + 0.26 * h), fill=PANE)
    elif kind == "tree":
        d.rectangle((cx - 0.09 * w, base - 0.40 * h, cx + 0.09 * w, base), fill=WOOD)
        d.ellipse((x0, y0, x1, y0 + 0.74 * h), fill=c)
        d.ellipse((x0 + 0.18 * w, y0 + 0.10 * h, x0 + 0.48 * w, y0 + 0.32 * h), fill=light)
    elif kind == "ball":
        d.ellipse((x0, y0, x1, base), fill=c)
        d.chord((x0, y0, x1, base), 20, 160, fill=dark)
        d.ellipse((x0 + 0.20 * w, y0 + 0.16 * h, x0 + 0.40 * w, y0 + 0.36 * h), fill=light)
    elif kind == "boat":
        d.rectangle((cx - 0.025 * w, y0, cx + 0.025 * w, base - 0.25 * h), fill=WOOD)
        d.polygon([(cx + 0.05 * w, y0 + 0.02 * h), (cx + 0.05 * w, base - 0.36 * h), (x1 - 0.04 * w, base - 0.36 * h)], fill=c)
        d.polygon([(cx - 0.05 * w, y0 + 0.10 * h), (cx - 0.05 * w, base - 0.36 * h), (x0 + 0.08 * w, base - 0.36 * h)], fill=light)
        d.polygon([(x0, base - 0.30 * h), (x1, base - 0.30 * h), (x1 - 0.18 * w, base), (x0 + 0.18 * w, base)], fill=c)
    elif kind == "star":
        pts = []
        for i in range(10):
            r, a = (1.0 if i % 2 == 0 else 0.55), math.pi * (i / 5 - 0.5)
            pts.append((cx + r * w / 2 * math.cos(a), (y0 + base) / 2 + r * h / 2 * math.sin(a)))
        d.polygon(pts, fill=c)
    elif kind == "sun":
        cy = (y0 + base) / 2
        for i in range(12):
            a, b = 2 * math.pi * i / 12, math.pi / 15
            p = [(cx + math.cos(a) * w / 2, cy + math.sin(a) * h / 2)]
            p += [(cx + math.cos(a + s * b) * w * 0.37, cy + math.sin(a + s * b) * h * 0.37) for s in (1, -1)]
            d.polygon(p, fill=c)
        d.ellipse((cx - 0.39 * w, cy - 0.39 * h, cx + 0.39 * w, cy + 0.39 * h), fill=c)
    elif kind == "moon":
        # a crescent open to the right, drawn as one polygon so that the sky needs no repainting
        cy, n, out, inn = (y0 + base) / 2, 40, [], []
        for i in range(n + 1):
            a = math.radians(50 + 260 * i / n)
            out.append((cx + w / 2 * math.cos(a), cy + h / 2 * math.sin(a)))
        tx, ty = math.cos(math.radians(50)) / 2, math.sin(math.radians(50)) / 2
        for i in range(n + 1):
            u = 1 - 2 * i / n
            inn.append((cx + (tx - 0.36 * (1 - u * u) ** 0.5) * w, cy - ty * u * h))
        d.polygon(out + inn, fill=c)
    else:
        raise ValueError(kind)


# Part of the box that each kind covers, and how tall its box is to its width (low, high).
COVER = dict(house=0.72, tree=0.60, ball=0.785, boat=0.46, star=0.40, sun=0.52, moon=0.50)
TALL = dict(house=(0.95, 1.35), tree=(1.15, 1.7), ball=(1, 1), boat=(1.0, 1.3), star=(1, 1), sun=(1, 1), moon=(1, 1))


def place_object(rng, kind, place, W, H, horizon):
    """Centre, base, width and height of an object: at least 16 % of its third, 1/6 to 0.9 of the height."""
    third = W / 3
    tall = rng.uniform(*TALL[kind])
    least = math.sqrt(0.16 * third * H / (COVER[kind] * tall))
    most = max(least * 1.02, min(1.02 * third, 0.66 * H / tall))
    w = rng.uniform(least, max(least * 1.02, min(most, least * 1.35)))
    h = min(0.88 * H, max(H / 6 * 1.02, w * tall))
    # where a narrow third cannot hold the width, the object grows upward instead of over its neighbours
    if w > 1.04 * third and kind in ("house", "tree", "boat"):
        h, w = min(0.7 * H, h * w / (1.04 * third)), 1.04 * third
    slack = max(0.0, third - w) / 2 * 0.8
    cx = (PLACES.index(place) + 0.5) * third + rng.uniform(-slack, slack)
    if kind in AIRBORNE:
        low, high = 0.07 * H + h, max(0.07 * H + h, min(horizon - 0.02 * H, 0.20 * H + h))
        base = rng.uniform(low, high)
    else:
        base = rng.uniform(min(horizon + 0.05 * H, 0.84 * H), 0.85 * H)
        base = max(base, h + 0.03 * H)
    return cx, base, w, h


def render(scene, W, H, rng, ss=3):
    """The scene as an (H, W, 3) uint8 array; rng decides only sizes and small shifts."""
    im = Image.new("RGB", (W * ss, H * ss), PALETTE[scene["sky"]])
    d = ImageDraw.Draw(im)
    horizon = rng.uniform(0.60, 0.74) * H
    amp, phase = rng.uniform(0, 0.025) * H, rng.uniform(0, 2 * math.pi)
    hill = [(x * W * ss / 32, (horizon + amp * math.sin(phase + x / 32 * 2 * math.pi)) * ss) for x in range(33)]
    d.polygon(hill + [(W * ss, H * ss), (0, H * ss)], fill=PALETTE[scene["ground"]])
    for kind, colour, place in sorted(scene["objects"], key=lambda o: o[0] not in AIRBORNE):
        cx, base, w, h = place_object(rng, kind, place, W, H, horizon)
        draw_object(d, kind, PALETTE[colour], cx * ss, base * ss, w * ss, h * ss)
    return np.asarray(im.reduce(ss))


# ----------------------------------------------------------------- captions
SAY = dict(gray=("gray", "grey"), purple=("purple", "purple", "violet"))
WHERE = dict(
    left=("on the left", "on the left", "on the left", "to the left", "at the left", "on the left side", "at left", "on the left-hand side"),
    centre=("in the centre", "in the center", "in the middle", "in the middle", "at the center", "in the centre", "at the centre"),
    right=("on the right", "on the right", "on the right", "to the right", "at the right", "on the right side", "at right", "on the right-hand side"),
)
SHORT = dict(left=("left",), centre=("centre", "center", "middle"), right=("right",))
STUFF = dict(green=("grass", "meadow"), white=("snow",), yellow=("sand",), gray=("stone", "street"))
LEAD = ("", "", "", "", "", "", "a picture of ", "a scene with ", "a drawing of ", "an image of ", "there is ", "a children's book picture of ",
        "draw ", "paint ", "please draw ", "a painting of ", "show me ", "a simple scene: ")
TAIL = ("", "", "", "", "", "", "", ".", ".", ".", "!", ", children's book style", ", flat colours", ", picture book illustration", ", simple drawing")
EXTRA = ("little", "small", "big", "large", "pretty", "cute", "old", "tall", "bright", "happy", "lovely", "wooden", "round", "nice", "tiny",
         "shiny", "beautiful", "simple", "huge", "single", "friendly", "dark", "light", "plain")


def art(rng, word):
    return rng.choices(("an " if word[0] in "aeiou" else "a ", "the ", "one ", ""), (12, 2, 1, 2))[0]


def filler(rng):
    """Mostly nothing; else an adjective to be ignored, now and then a word nobody knows."""
    r = rng.random()
    if r < 0.88:
        return ""
    if r < 0.97:
        return rng.choice(EXTRA) + " "
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 9))) + " "


def say_object(rng, i, obj, where):
    """Pieces (text, entity) for one object; the entity number says whom a word speaks of."""
    kind, colour, place = obj
    e, word, r = i, filler(rng) + rng.choice(SAY.get(colour, (colour,))), rng.random()
    kind = filler(rng) + kind
    if where:
        place_words = rng.choice(WHERE[place])
        if r < 0.10:
            return [(place_words, e), (" ", None), (art(rng, word) + word, e), (" ", None), (kind, e)]
        if r < 0.16:
            return [(place_words, e), (rng.choice((": ", ", ")), None), (art(rng, word) + word, e), (" ", None), (kind, e)]
        if r < 0.20:
            return [(rng.choice(SHORT[place]), e), (": ", None), (word, e), (" ", None), (kind, e)]
        if r < 0.25:
            return [(word, e), (" ", None), (kind, e), (" ", None), (rng.choice(SHORT[place]), e)]
        if r < 0.30:
            return [(art(rng, kind) + kind, e), (rng.choice((" that is ", " which is ", " in ")), None), (word, e), (" ", None), (place_words, e)]
        if r < 0.36:
            return [(art(rng, word) + word, e), (" ", None), (kind, e), (rng.choice((" standing ", " placed ", " that is ", " is ")), None), (place_words, e)]
        return [(art(rng, word) + word, e), (" ", None), (kind, e), (" ", None), (place_words, e)]
    return [(art(rng, word) + word, e), (" ", None), (kind, e)]


def say_ground_like(rng, what, colour, e, link):
    """Pieces for sky or ground; link: a connecting wording ("under a blue sky") instead of a list item."""
    word = (filler(rng) if rng.random() < 0.5 else "") + rng.choice(SAY.get(colour, (colour,)))
    noun = what
    if what == "ground":
        r = rng.random()
        if r < 0.15:
            noun = rng.choice(STUFF[colour])
            if r < 0.07 and noun not in ("stone", "street"):
                return [("on " if link else "", None), (noun, e)]
        elif r < 0.20:
            noun = rng.choice(("floor", "land", "field"))
    a = rng.choices(("an " if word[0] in "aeiou" else "a ", "the ", ""), (5, 1, 6))[0] if what == "sky" else rng.choices(("the ", "a ", ""), (1, 1, 6))[0]
    pre = ""
    if link:
        pre = rng.choice(("under ", "below ", "with ", "against ", "and ")) if what == "sky" else rng.choice(("on ", "on ", "with ", "over ", "and ", "standing on "))
    elif rng.random() < 0.12 and noun == what:
        return [("the " if rng.random() < 0.4 else "", None), (noun, e), (rng.choice((" is ", ": ", " ", " in ")), None), (word, e)]
    return [(pre, None), (a + word, e), (" ", None), (noun, e)]


def caption(scene, rng, plain=False, full=False):
    """Words a scene.  Returns (text, spans, told): spans are (start, end, entity); entity i is object i,
    100 the sky, 101 the ground; told says which attributes the words name, as a scene with None for the rest.
    plain: the wording of the issue's example; full: nothing is left out."""
    objs = list(scene["objects"])
    n = len(objs)
    where = full or plain or rng.random() >= (0.15 if n == 1 else 0.05)
    sky = full or plain or rng.random() >= 0.12
    ground = full or plain or rng.random() >= 0.12
    order = list(range(n))
    if not plain:
        rng.shuffle(order)
    parts = [say_object(rng, i, objs[i], where) if not plain else
             [(("an " if objs[i][1][0] in "aeiou" else "a ") + objs[i][1], i), (" ", None), (objs[i][0], i), (" ", None),
              (("in the " if objs[i][2] == "centre" else "on the ") + objs[i][2], i)] for i in order]
    if plain:
        glue = [", "] * (n - 2) + [" and "] if n > 1 else []
        pieces = []
        for j, p in enumerate(parts):
            pieces += ([(glue[j - 1], None)] if j else []) + p
        pieces += [(", ", None), (scene["sky"], 100), (" ", None), ("sky", 100), (", ", None), (scene["ground"], 101), (" ", None), ("ground", 101)]
    else:
        link = rng.random() < 0.3
        extra = []
        if sky:
            extra.append(say_ground_like(rng, "sky", scene["sky"], 100, link))
        if ground:
            extra.append(say_ground_like(rng, "ground", scene["ground"], 101, link))
        rng.shuffle(extra)
        style = rng.random()
        last = rng.choice((" and ", " and ", ", ", ", and ", " with ", " next to ", " beside ")) if where else rng.choice((" and ", ", ", ", and ", " next to ", " beside "))
        sep = rng.choice((", ", ", ", ", ", "; ", " and "))
        pieces = []
        for j, p in enumerate(parts):
            if j:
                pieces.append((last if j == n - 1 else sep, None))
            pieces += p
        joint = " " if link else rng.choice((", ", ", ", ", ", ". ", "; ", " and "))
        if style < 0.18 and extra and not link:       # sky and ground first
            head = []
            for x in extra:
                head += x + [(rng.choice((", ", ", ", "; ")), None)]
            pieces = head + pieces
        else:
            for x in extra:
                pieces += [(joint, None)] + x
        lead = rng.choice(LEAD)
        pieces = [(lead, None)] + pieces + [(rng.choice(TAIL), None)]
    text, spans = "", []
    for t, e in pieces:
        if e is not None and t:
            spans.append((len(text), len(text) + len(t), e))
        text += t
    if not plain:
        r = rng.random()
        if r < 0.25:
            text = text[:1].upper() + text[1:]
        elif r < 0.27:
            text = text.upper()
    told = dict(sky=scene["sky"] if sky else None, ground=scene["ground"] if ground else None,
                objects=[(k, c, p if where else None) for k, c, p in (objs[i] for i in order)])
    return text, spans, told


# ------------------------------------------------------- reading a caption
_WORD = {"grey": "gray", "violet": "purple", "center": "centre", "middle": "centre"}
_NOUN = {**{k: k for k in KINDS}, "sky": "sky", "ground": "ground", "floor": "ground", "land": "ground", "field": "ground",
         **{s: "ground" for v in STUFF.values() for s in v}}


def parse_caption(text):
    """The scene that a plain caption ("a red house on the left, ... orange sky, white ground") asks for."""
    sky = ground = None
    objects = []
    for part in re.split(r",| and |;|\.", text.lower()):
        words = [_WORD.get(w, w) for w in re.findall(r"[a-z]+", part)]
        colour = next((w for w in words if w in PALETTE), None)
        noun = next((_NOUN[w] for w in words if w in _NOUN), None)
        place = next((w for w in words if w in PLACES), None)
        if noun == "sky":
            sky = colour
        elif noun == "ground":
            ground = colour
        elif noun:
            objects.append((noun, colour, place))
    return dict(sky=sky, ground=ground, objects=objects)


def heldout_captions(n=300, seed=2024):
    """The fixed captions that the accuracy is measured on, all of held-out combinations, nothing left out."""
    rng, out = random.Random(seed), []
    while len(out) < n:
        text = caption(random_scene(rng, holdout=True), rng, plain=True)[0]
        if text not in out:
            out.append(text)
    return out


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--sheet", help="write a sheet of sample scenes to this PNG")
    ap.add_argument("--captions", help="write the 300 held-out captions to this file")
    ap.add_argument("--size", default="192x192")
    ap.add_argument("--seed", type=int, default=0)
    a = ap.parse_args()
    W, H = map(int, a.size.split("x"))
    rng = random.Random(a.seed)
    if a.captions:
        with open(a.captions, "w") as f:
            f.write("\n".join(heldout_captions()) + "\n")
    if a.sheet:
        sheet = Image.new("RGB", (W * 6, H * 4))
        for i in range(24):
            s = random_scene(rng)
            sheet.paste(Image.fromarray(render(s, W, H, rng)), (i % 6 * W, i // 6 * H))
            print(caption(s, rng)[0])
        sheet.save(a.sheet)


if __name__ == "__main__":
    main()
