"""The strings on which Ingot's tokenizers are compared with transformers': same list every time."""
import random
import unicodedata

PROMPTS = [
    "a photo of a red fox in the snow, 85mm, f/1.8, golden hour",
    "masterpiece, best quality, (detailed eyes:1.2), 1girl, solo, looking at viewer",
    "An oil painting of a cottage by the sea, in the style of Claude Monet",
    "A sign that says \"Hello, World!\" hanging on a wooden door",
    "cinematic still, 35mm film grain, bokeh, volumetric light, 8k uhd, hdr",
    "isometric 3D render of a tiny kitchen, Blender, octane, soft shadows",
    "Portrait d'une femme âgée, lumière douce, très détaillé, à l'aquarelle",
    "Ein Schloß im Nebel über dem Rhein, Öl auf Leinwand, 19. Jahrhundert",
    "桜の木の下で本を読む少女、アニメ調、柔らかい光",
    "一只戴着帽子的猫坐在窗边,水彩画风格",
    "Кот в скафандре на Луне, фотореализм",
    "قطة تجلس على كرسي خشبي في حديقة", "חתול ישן על ספר פתוח", "บ้านไม้ริมแม่น้ำตอนพระอาทิตย์ตก",
    "एक बाघ जंगल में, सुनहरी रोशनी", "서울의 밤거리, 네온사인, 비 오는 날",
    "it's the dog's toy; they'll say we've seen what I'd like, don't you'RE it'S",
    "<lora:flux_detail:0.8> neon city, cyberpunk", "logo, flat vector, #ff8800 & #222, 50% off!!!",
    "C++ code on a CRT monitor: int main() { return 0; } // 42",
    "two   spaces\tand\ttabs\nand lines\r\nand more", "e-mail me@example.org, 12,345.67 €, 3½ cups",
]
SPECIALS = ["<|startoftext|>", "<|endoftext|>", "<|STARTOFTEXT|>", "<|EndOfText|>", "</s>", "<pad>",
            "<unk>", "<extra_id_0>", "<extra_id_42>", "<extra_id_99>", "<extra_id_100>", "<s>", "</w>",
            "\u2581", "\uff1cextra_id_3\uff1e", "\uff1c/s\uff1e", "<|", "|>", "<|endoftext|", "<<|endoftext|>>"]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\v", "\f", "\x1c", "\x1f", "\x85", "\xa0", "\u1680", "\u2000",
          "\u2003", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u200b",
          "\u200c", "\u200d", "\u2060", "\ufeff", "\u180e", "\u00ad"]
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "🧑🏿‍🚀", "❤️", "☺︎", "1️⃣", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "🤷‍♀️", "©️", "🫠", "🪿"]
SCRIPTS = [(0x20, 0x7f), (0xa0, 0x250), (0x250, 0x370), (0x370, 0x400), (0x400, 0x530), (0x530, 0x590),
           (0x590, 0x600), (0x600, 0x780), (0x900, 0xe00), (0xe00, 0x1000), (0x1000, 0x1100), (0x1100, 0x1200),
           (0x1200, 0x1400), (0x1e00, 0x2000), (0x2000, 0x2c00), (0x3000, 0x3200), (0x4e00, 0x9fff),
           (0xa000, 0xab00), (0xac00, 0xd7a4), (0xf900, 0xfe00), (0xfe00, 0x10000), (0x10000, 0x11000),
           (0x11000, 0x12000), (0x16d40, 0x16ed4), (0x1d400, 0x1d800), (0x1e900, 0x1f000), (0x1f000, 0x1fb00),
           (0x20000, 0x20100), (0xe0000, 0xe0200), (0xf0000, 0xf0010)]
MARKS = [chr(c) for c in range(0x300, 0x370)] + list("\u05b4\u064b\u0651\u093c\u094d\u0e38\u3099\u309a\u1dc4\u20d0")


def character(random_source, script):
    while True:
        c = random_source.randrange(*script)
        if not 0xd800 <= c < 0xe000:
            return chr(c)


def word(r):
    return r.choice(r.choice(PROMPTS).split())


def change_case(r, text):
    return r.choice([text, text.upper(), text.title(), text.swapcase()])


def corpus():
    r = random.Random(20261123)
    strings = [""] + PROMPTS + SPECIALS + SPACES + EMOJI + MARKS
    strings += [chr(c) for c in range(0, 0x250)]
    for _ in range(900):  # prompts of prompts
        strings.append(", ".join(change_case(r, word(r)) + " " + word(r) for _ in range(r.randrange(1, 9))))
    for _ in range(1100):  # one script, sometimes with spaces and marks
        script = r.choice(SCRIPTS)
        text = "".join(character(r, script) + r.choice(["", "", "", " ", r.choice(MARKS)])
                       for _ in range(r.randrange(1, 24)))
        strings.append(r.choice([text, unicodedata.normalize("NFD", text)]))
    for _ in range(500):  # scripts mixed
        strings.append("".join(character(r, r.choice(SCRIPTS)) for _ in range(r.randrange(1, 20))))
    for _ in range(500):  # any code point at all
        strings.append("".join(character(r, (0, 0x110000)) for _ in range(r.randrange(1, 8))))
    for _ in range(400):  # spaces of every kind
        strings.append("".join(r.choice([word(r), r.choice(SPACES), r.choice(SPACES)]) for _ in range(r.randrange(1, 12))))
    for _ in range(300):  # specials amid text
        strings.append("".join(r.choice([word(r), " ", r.choice(SPECIALS), r.choice("!.,'")]) for _ in range(r.randrange(1, 10))))
    for _ in range(200):
        strings.append("".join(r.choice([r.choice(EMOJI), "\u200d", "\ufe0f", word(r), " "]) for _ in range(r.randrange(1, 10))))
    for _ in range(200):  # many marks on a letter
        strings.append("".join(r.choice("aeikoªº㈱ﬁ가") + "".join(r.choice(MARKS) for _ in range(r.randrange(0, 6))) for _ in range(r.randrange(1, 8))))
    for _ in range(250):  # numbers and punctuation
        strings.append("".join(r.choice("0123456789.,:;-+*/()[]{}'\"!?@#$%^&_=<>|\\~`½²٣५Ⅷ 'stremvld") for _ in range(r.randrange(1, 30))))
    for c in list(range(0x890, 0x8a0)) + list(range(0x8c8, 0x8d4)) + list(range(0x1ab0, 0x1af0)) + [
            0x130, 0x7fd, 0xc3c, 0xeba, 0x1c89, 0xa7cb, 0xa7dc, 0x10d24, 0x10d55, 0x11930, 0x11938, 0x11f41, 0x16ea3,
            0x16d67, 0x1e4ec, 0x1e5f5, 0x2ec00]:  # where versions of Unicode differ
        c = chr(c)
        strings.append(f"x{c}y \u00aa{c} q{c}\u0334\u0301 \U00011935{c} {c}{c}\u00aa\n{c}")
    for length in (300, 1000, 3000, 6000):  # words of thousands of characters
        strings += ["a" * length, "ab" * (length // 2), "0" * length, "!?" * (length // 2), "é" * length,
                    "漢字" * (length // 2), "\u0301" * length, "😀" * (length // 4),
                    "".join(r.choice("etaoinshrdlu") for _ in range(length))]
    return strings
