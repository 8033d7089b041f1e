"""The demo model's tokenizers and text encoders: how they are made, wrapped and fed."""
import io
import json
import os
from collections import Counter

import regex
import sentencepiece as spm
import torch
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

import scenes

MIN_T5, CLIP_LEN = 32, 77
CLIP_SPLIT = regex.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE)


def byte_symbols():
    bs = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    cs, n = bs[:], 0
    for b in range(256):
        if b not in bs:
            bs.append(b)
            cs.append(256 + n)
            n += 1
    return dict(zip(bs, map(chr, cs)))


BYTES = byte_symbols()


def train_tokenizers(out, captions):
    """spiece.model (unigram, T5's special ids) and vocab.json + merges.txt (CLIP's layout) from captions."""
    os.makedirs(out, exist_ok=True)
    buf = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(captions), model_writer=buf, vocab_size=1000, model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        character_coverage=1.0, required_chars="".join(map(chr, range(33, 127))), normalization_rule_name="nmt_nfkc", minloglevel=1, num_threads=1)
    with open(f"{out}/spiece.model", "wb") as f:
        f.write(buf.getvalue())
    words = Counter(w for c in captions for w in CLIP_SPLIT.findall(c.lower()))
    words = {w: n for w, n in words.items() if n >= 20}
    split = {w: [BYTES[b] for b in w.encode()[:-1]] + [BYTES[w.encode()[-1]] + "</w>"] for w in words}
    merges = []
    while len(merges) < 700:
        pairs = Counter()
        for w, p in split.items():
            for ab in zip(p, p[1:]):
                pairs[ab] += words[w]
        if not pairs:
            break
        best = max(pairs, key=lambda k: (pairs[k], k))
        merges.append(best)
        for w, p in split.items():
            i = 0
            while i + 1 < len(p):
                if (p[i], p[i + 1]) == best:
                    p[i:i + 2] = [p[i] + p[i + 1]]
                i += 1
    vocab = list(BYTES.values()) + [b + "</w>" for b in BYTES.values()] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    with open(f"{out}/vocab.json", "w", encoding="utf-8") as f:
        json.dump({t: i for i, t in enumerate(vocab)}, f, ensure_ascii=False)
    with open(f"{out}/merges.txt", "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))


class ClipTokenizer:
    def __init__(self, folder):
        with open(f"{folder}/vocab.json", encoding="utf-8") as f:
            self.vocab = json.load(f)
        with open(f"{folder}/merges.txt", encoding="utf-8") as f:
            self.rank = {tuple(l.split()): i for i, l in enumerate(f.read().split("\n")[1:]) if l}
        self.bos, self.eos, self.cache = self.vocab["<|startoftext|>"], self.vocab["<|endoftext|>"], {}

    def word(self, w):
        if w not in self.cache:
            b = [BYTES[x] for x in w.encode()]
            p = b[:-1] + [b[-1] + "</w>"]
            while len(p) > 1:
                r, i = min((self.rank.get(ab, 1 << 30), i) for i, ab in enumerate(zip(p, p[1:])))
                if r == 1 << 30:
                    break
                p[i:i + 2] = [p[i] + p[i + 1]]
            if len(self.cache) > 20000:
                self.cache.clear()
            self.cache[w] = [self.vocab[t] for t in p]
        return self.cache[w]

    def __call__(self, texts, length=None):
        """ids padded with EOS to the batch's longest (causal: what follows the EOS has no effect)"""
        ids = [[self.bos] + [t for w in CLIP_SPLIT.findall(" ".join(x.lower().split())) for t in self.word(w)][:CLIP_LEN - 2] + [self.eos] for x in texts]
        n = length or max(map(len, ids))
        return torch.tensor([i + [self.eos] * (n - len(i)) for i in ids])


class T5Tokenizer:
    def __init__(self, folder):
        self.sp = spm.SentencePieceProcessor(model_file=f"{folder}/spiece.model")

    def __call__(self, texts, least=MIN_T5):
        ids = [self.sp.encode(x) + [1] for x in texts]
        n = max(least, max(map(len, ids)))
        return torch.tensor([i + [0] * (n - len(i)) for i in ids])

    def offsets(self, text):
        """(id, start, end) of each piece; the offsets are into the text (captions are ASCII)"""
        return [(p.id, p.begin, p.end) for p in self.sp.encode(text, return_type="proto").pieces]


class Encoders(torch.nn.Module):
    """Both text encoders with their tokenizers; called with texts gives what Flux takes: T5 tokens and CLIP's pooled vector."""

    def __init__(self, t5_folder, clip_folder=None, width=128):
        super().__init__()
        self.t5_tok, self.clip_tok = T5Tokenizer(t5_folder), ClipTokenizer(clip_folder or t5_folder)
        self.t5 = T5EncoderModel(T5Config(
            vocab_size=self.t5_tok.sp.get_piece_size(), d_model=width, d_kv=64, num_heads=2, d_ff=384, num_layers=4, dropout_rate=0.0,
            feed_forward_proj="gated-gelu", relative_attention_num_buckets=32, relative_attention_max_distance=128, use_cache=False))
        self.clip = CLIPTextModel(CLIPTextConfig(
            vocab_size=len(self.clip_tok.vocab), hidden_size=width, intermediate_size=4 * width, num_hidden_layers=4, num_attention_heads=width // 64,
            max_position_embeddings=77, hidden_act="quick_gelu", layer_norm_eps=1e-5, bos_token_id=self.clip_tok.bos, eos_token_id=self.clip_tok.eos,
            pad_token_id=self.clip_tok.eos, projection_dim=width))

    def run_t5(self, ids):
        return self.t5(input_ids=ids).last_hidden_state

    def run_clip(self, ids):
        return self.clip(input_ids=ids).pooler_output

    @torch.no_grad()
    def forward(self, texts, least=MIN_T5):
        return self.run_t5(self.t5_tok(texts, least)).float(), self.run_clip(self.clip_tok(texts)).float()


# ---------------------------------------------------------- their training
KINDS, COLS = {k: i + 1 for i, k in enumerate(scenes.KINDS)}, {c: i + 1 for i, c in enumerate(scenes.PALETTE)}
SLOTS = ["left", "centre", "right", 0, 1, 2]        # named places, then objects without one in the order told


def pooled_target(told):
    """15 class numbers, 0 for "not said": sky, ground, then kind and colour in each slot, then how many objects"""
    slot = {s: (0, 0) for s in SLOTS}
    for i, (k, c, p) in enumerate(told["objects"]):
        slot[p if p else i] = (KINDS[k], COLS[c])
    return [COLS.get(told["sky"], 0), COLS.get(told["ground"], 0)] + [v for s in SLOTS for v in slot[s]] + [len(told["objects"])]


def token_target(tok, text, spans, scene, told, n):
    """per T5 token: what (kind, 8 sky, 9 ground), colour, place; -100 where a token speaks of nothing"""
    ents = {i: (KINDS[k], COLS[c], 1 + scenes.PLACES.index(p) if any(o[2] for o in told["objects"]) else 0) for i, (k, c, p) in enumerate(scene["objects"])}
    ents[100], ents[101] = (8, COLS[scene["sky"]], 0), (9, COLS[scene["ground"]], 0)
    out = [[-100] * 3 for _ in range(n)]
    for j, (_, a, b) in enumerate(tok.offsets(text)):
        for s, e, ent in spans:
            if a < e and b > s and text[max(a, s):min(b, e)].strip():
                out[j] = list(ents[ent])
    return out


def train_encoders(enc, steps, batch, seed, log, save, lr=2e-3):
    """Each encoder learns to say, through linear maps that are then thrown away, what the caption says."""
    import random
    width = enc.t5.config.d_model
    n_pool = [11, 11] + [8, 11] * 6 + [4]
    pool, pool_t5 = torch.nn.Linear(width, sum(n_pool)), torch.nn.Linear(width, sum(n_pool))
    tok = torch.nn.Linear(width, 10 + 11 + 4)
    params = [p for m in (enc.t5, enc.clip, pool, pool_t5, tok) for p in m.parameters()]
    opt = torch.optim.AdamW(params, lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    rng = random.Random(seed)
    ce = torch.nn.functional.cross_entropy

    def pooled_loss(logits, y):
        parts = logits.float().split(n_pool, -1)
        loss = sum(ce(p, y[:, i]) for i, p in enumerate(parts))
        right = torch.stack([p.argmax(-1) == y[:, i] for i, p in enumerate(parts)]).all(0).float().mean()
        return loss, right.item()

    bar = tqdm(range(steps), desc="text", mininterval=5)
    run = [0.0, 0.0, 0.0]
    for step in bar:
        f = min(1, (step + 1) / 50) * (0.5 + 0.5 * __import__("math").cos(3.14159 * step / steps)) + 1e-3
        for g in opt.param_groups:
            g["lr"] = lr * f
        texts, ys, tys = [], [], []
        for _ in range(batch):
            s = scenes.random_scene(rng)
            t, sp, told = scenes.caption(s, rng)
            texts.append(t)
            ys.append(pooled_target(told))
            tys.append((t, sp, s, told))
        ids = enc.t5_tok(texts, MIN_T5 if rng.random() < 0.75 else rng.randint(MIN_T5, 80))
        ty = torch.tensor([token_target(enc.t5_tok, *x, ids.shape[1]) for x in tys])
        y = torch.tensor(ys)
        with torch.autocast("cpu", torch.bfloat16):
            h = enc.run_t5(ids)
            t_logits, p5 = tok(h), pool_t5(h.mean(1))
            pc = pool(enc.run_clip(enc.clip_tok(texts)))
        lc, ac = pooled_loss(pc, y)
        l5, a5 = pooled_loss(p5, y)
        parts = t_logits.float().split([10, 11, 4], -1)
        lt = sum(ce(p.flatten(0, 1), ty[..., i].flatten(), ignore_index=-100) for i, p in enumerate(parts))
        m = ty[..., 0] >= 0
        at = torch.stack([p.argmax(-1) == ty[..., i] for i, p in enumerate(parts)]).all(0)[m].float().mean().item()
        # a little pull towards size 1 keeps the f16 file and the transformer's inputs well scaled
        reg = 1e-3 * ((h.float().square().mean() - 1) ** 2)
        (lc + 3 * lt + 0.3 * l5 + reg).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        opt.zero_grad()
        run = [0.98 * r + 0.02 * v if step else v for r, v in zip(run, (ac, at, a5))]
        if step % 100 == 99:
            log(f"text {step + 1}: loss clip {lc.item():.3f} token {lt.item():.4f}; all right: clip {run[0]:.4f} token {run[1]:.4f} t5 pooled {run[2]:.3f}; t5 rms {h.float().square().mean().sqrt().item():.2f}")
        if step % 500 == 499 or step + 1 == steps:
            save()
