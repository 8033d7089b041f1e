#!/usr/bin/env python3
"""Makes the files of this folder: generate.py VOCABULARIES FORGE.

VOCABULARIES is what tools/fetch_vocabularies.py filled, FORGE a checkout of
lllyasviel/stable-diffusion-webui-forge at dfdcbab685e57677014f05a3309b48cc87383167, whose own parser
and chunker run here. Needs exactly the packages of PINS, and sentencepiece for the tiny T5 vocabulary.
"""
import collections
import gzip
import importlib
import io
import json
import pathlib
import sys
import tempfile
import types

import sentencepiece
import tokenizers
import transformers
from transformers import CLIPTokenizerFast, T5TokenizerFast

from corpus import PROMPTS, corpus

PINS = {"transformers": "5.23.0", "tokenizers": "0.23.3", "sentencepiece": "0.2.3"}
HERE = pathlib.Path(__file__).parent
NUM_TINY_MERGES = 400
FORGE_PROMPTS = PROMPTS + [
    "", "(", ")", "[", "]", "()", "[]", "(a)", "[a]", "((a))", "[[a]]", "(a:1.5)", "(a:1.5", "a:1.5)", "[a:1.5]",
    "(a (b:1.2) c:0.7)", "(a [b] c)", "a (b", "a [b (c", "\\(a\\)", "\\[a\\]", "\\\\", "\\", "a\\b", "(a\\):1.3)",
    "(a: 1.3 )", "(a:+1.3)", "(a:-1.3)", "(a:.5)", "(a:5.)", "(a:1e3)", "(a:1.2.3)", "(a:.)", "(a:１.２)", "(a:٣)",
    "(a\u00a0:\u20031.4\u3000)", "a BREAK b", "a\nBREAK\nb", "aBREAKb", "BREAK", "BREAK BREAK", "a BREAKBREAK b",
    "éBREAK b", "a_BREAK b", "(a BREAK b:1.2)", "(BREAK:-1)", "a,BREAK,b", "(a)(b)", "(a) (b:1.1)", "a:b:c", "(:1.2)",
    "(a:1.2):1.3)", "[a)b]", "(a]b)", "(((a:1.5)))", "(a:0)", "(a:00001.5)", "\u6f22(\u5b57:1.2)", "a\x00(b)",
    "BREAK a", "a BREAK", "(a:1.3)BREAK(b:0.7)", "\\BREAK", "BR\\EAK", "(BR\\EAK:-1)",
    ", ".join(["a red fox"] * 40), " ".join(["fox"] * 200), ", ".join(["tree"] * 20) + " " + " ".join(["leaf"] * 70),
    "(" + ", ".join(["a very long and detailed prompt"] * 30) + ":1.3) BREAK [end]",
]


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7f | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def write(name, data):
    (HERE / name).write_bytes(gzip.compress(data, 9, mtime=0))


def write_ids(name, tokenizer, strings):
    rows = [tokenizer(text).input_ids for text in strings]
    write(name, b"".join(varint(len(row)) + b"".join(map(varint, row)) for row in rows))


def byte_alphabet():
    """Bytes in CLIP's order and their characters (bytes_to_unicode of clip/simple_tokenizer.py)."""
    printable = [b for b in range(256) if 0x21 <= b <= 0x7e or 0xa1 <= b <= 0xff and b != 0xad]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


def train_merges(words):
    """Byte pair encoding by its definition; ties go to the lesser pair."""
    alphabet = byte_alphabet()
    counts = collections.Counter(words)
    spelled = {w: [alphabet[b] for b in w.encode()] for w in counts}
    for symbols in spelled.values():
        symbols[-1] += "</w>"
    merges = []
    for _ in range(NUM_TINY_MERGES):
        pairs = collections.Counter()
        for w, symbols in spelled.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += counts[w]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for symbols in spelled.values():
            at = 0
            while at + 1 < len(symbols):
                if (symbols[at], symbols[at + 1]) == best:
                    symbols[at:at + 2] = ["".join(best)]
                at += 1
    return merges


def clip_tokenizer(merges_file):
    """CLIPTokenizerFast as FluxPipeline loads it; the flags are those of FLUX.1's tokenizer_config.json."""
    merges = [line.split(" ") for line in merges_file.read_text().splitlines() if not line.startswith("#version")]
    characters = list(byte_alphabet().values())
    tokens = characters + [c + "</w>" for c in characters] + ["".join(m) for m in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "special": True}
    config = {
        "added_tokens_decoder": {
            str(len(tokens) - 2): {"content": "<|startoftext|>", "normalized": True, **flags},
            str(len(tokens) - 1): {"content": "<|endoftext|>", "normalized": False, **flags}},
        "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>", "tokenizer_class": "CLIPTokenizer"}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
        (folder / "merges.txt").write_bytes(merges_file.read_bytes())
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        return CLIPTokenizerFast.from_pretrained(folder)


def t5_tokenizer(model):
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "spiece.model").write_bytes(model)
        return T5TokenizerFast.from_pretrained(folder)


def train_spiece(strings):
    known = set("".join(PROMPTS).lower() + "".join(PROMPTS).upper())
    sentences = [s for s in strings if s.isprintable() and len(s) < 300 and set(s) <= known]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, model_type="unigram", vocab_size=600,
        character_coverage=0.98, normalization_rule_name="nmt_nfkc", pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        num_threads=1, minloglevel=2)
    return model.getvalue()


def load_forge(forge):
    """Forge's text_processing package with what it imports for other purposes left empty."""
    for name in ("modules", "modules.shared", "backend.memory_management", "backend.text_processing.textual_inversion"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["modules.shared"].opts = None
    sys.modules["backend.text_processing.textual_inversion"].EmbeddingDatabase = None
    sys.path.insert(0, str(forge))
    import backend
    backend.memory_management = sys.modules["backend.memory_management"]
    return [importlib.import_module(f"backend.text_processing.{n}") for n in ("parsing", "classic_engine", "t5_engine")]


def forge_rows(forge, clip, t5):
    parsing, classic, t5_engine = load_forge(forge)
    emphasis = types.SimpleNamespace(name="Original")
    clip_engine = classic.ClassicTextProcessingEngine.__new__(classic.ClassicTextProcessingEngine)
    vars(clip_engine).update(
        tokenizer=clip, emphasis=emphasis, chunk_length=75, id_start=clip.bos_token_id, id_end=clip.eos_token_id,
        comma_token=clip.get_vocab().get(",</w>"),
        embeddings=types.SimpleNamespace(find_embedding_at_position=lambda tokens, at: (None, None)))
    t5_line = t5_engine.T5TextProcessingEngine.__new__(t5_engine.T5TextProcessingEngine)
    vars(t5_line).update(tokenizer=t5, emphasis=emphasis, min_length=256, id_end=1, id_pad=0)
    rows = []
    for prompt in FORGE_PROMPTS:
        try:
            segments = parsing.parse_prompt_attention(prompt, "Original")
        except ValueError:
            rows.append({"prompt": prompt, "error": True})
            continue
        row = {"prompt": prompt, "segments": segments}
        row["clip"] = [[c.tokens, c.multipliers] for c in clip_engine.tokenize_line(prompt)[0]]
        if ["BREAK", -1] not in segments:  # there Ingot keeps what Forge loses
            chunk, = t5_line.tokenize_line(prompt)[0]
            row["t5"] = [chunk.tokens, chunk.multipliers]
        rows.append(row)
    return rows


def main(vocabularies, forge):
    for package in (transformers, tokenizers, sentencepiece):
        if package.__version__ != PINS[package.__name__]:
            sys.exit(f"{package.__name__} {PINS[package.__name__]} expected, found {package.__version__}")
    strings = corpus()
    encoded = [s.encode() for s in strings]
    write("strings.gz", varint(len(strings)) + b"".join(varint(len(s)) + s for s in encoded))
    words = [w for p in PROMPTS for w in p.lower().split()]
    merges = train_merges(words)
    (HERE / "tiny_merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    spiece = train_spiece(strings)
    write("tiny_spiece.model.gz", spiece)
    tiny_clip, tiny_t5 = clip_tokenizer(HERE / "tiny_merges.txt"), t5_tokenizer(spiece)
    write_ids("tiny_clip_ids.gz", tiny_clip, strings)
    write_ids("tiny_t5_ids.gz", tiny_t5, strings)
    write_ids("clip_ids.gz", clip_tokenizer(vocabularies / "merges.txt"), strings)
    write_ids("t5_ids.gz", t5_tokenizer((vocabularies / "spiece.model").read_bytes()), strings)
    write("prompts.json.gz", json.dumps(forge_rows(forge, tiny_clip, tiny_t5)).encode())
    print(f"{len(strings)} strings, {len(FORGE_PROMPTS)} prompts")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
