"""Writes the trained demo model as files (GGUF, safetensors, tokenizers), and judges what those files draw."""
import argparse
import os
import random
import shutil
import time

import gguf
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import check
import model
import scenes
import text
import train

META = dict(default_width=256, default_height=256, default_steps=8, min_text_tokens=text.MIN_T5)
QUANT = {"Q8_0": (gguf.GGMLQuantizationType.Q8_0, 7), "Q4_0": (gguf.GGMLQuantizationType.Q4_0, 2)}
PATHS = dict(Q8_0="Stable-diffusion/ingot-demo.gguf", Q4_0="Stable-diffusion/ingot-demo-Q4_0.gguf", vae="VAE/ingot-demo-ae.safetensors",
             clip="text_encoder/ingot-demo-clip", t5="text_encoder/ingot-demo-t5")


def write_gguf(path, state, kind):
    qtype, ftype = QUANT[kind]
    w = gguf.GGUFWriter(path, "flux")
    w.add_name("Ingot demo")
    w.add_quantization_version(2)
    w.add_file_type(ftype)
    w.add_license("MIT")
    for k, v in META.items():
        w.add_uint32("ingot." + k, v)
    for name, t in state.items():
        a = t.float().numpy()
        if a.ndim == 1:
            w.add_tensor(name, a)
        elif "blocks." in name:
            w.add_tensor(name, gguf.quants.quantize(a, qtype), raw_dtype=qtype)
        else:
            w.add_tensor(name, a.astype(np.float16))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def read_gguf(path):
    out = {}
    for t in gguf.GGUFReader(path).tensors:
        a = gguf.quants.dequantize(t.data, t.tensor_type)
        out[t.name] = torch.from_numpy(np.array(a, np.float32)).reshape([int(n) for n in reversed(t.shape)])
    return out


def half(state):
    return {k: v.half().contiguous() for k, v in state.items()}


def export(work, out):
    for d in ("Stable-diffusion", "VAE", PATHS["clip"], PATHS["t5"]):
        os.makedirs(f"{out}/{d}", exist_ok=True)
    ck = torch.load(f"{work}/flow.pt")
    for kind in QUANT:
        write_gguf(f"{out}/{PATHS[kind]}", ck["ema"], kind)
    vae = model.VAE()
    for part in ("encoder", "decoder"):
        if os.path.exists(f"{work}/{part}.pt"):
            getattr(vae, part).load_state_dict(torch.load(f"{work}/{part}.pt")["net"])
    save_file(half(vae.state_dict()), f"{out}/{PATHS['vae']}",
              metadata={"format": "pt", "ingot.latent_rgb_factors": model.latent_rgb_factors()})
    enc = text.Encoders(work)
    enc.load_state_dict(torch.load(f"{work}/text.pt"))
    clip = {k if k.startswith("text_model.") else "text_model." + k: v for k, v in half(enc.clip.state_dict()).items() if "position_ids" not in k}
    save_file(clip, f"{out}/{PATHS['clip']}/ingot-demo-clip.safetensors", metadata={"format": "pt"})
    t5 = {k: v for k, v in half(enc.t5.state_dict()).items() if k != "encoder.embed_tokens.weight"}
    save_file(t5, f"{out}/{PATHS['t5']}/ingot-demo-t5.safetensors", metadata={"format": "pt"})
    for f in ("vocab.json", "merges.txt"):
        shutil.copy(f"{work}/{f}", f"{out}/{PATHS['clip']}/{f}")
    shutil.copy(f"{work}/spiece.model", f"{out}/{PATHS['t5']}/spiece.model")
    print(f"exported step {ck['step']} to {out}", flush=True)


class Pipeline:
    """The files of a models folder, read back and run in torch."""

    def __init__(self, folder, kind):
        self.flux = model.Flux()
        self.flux.load_state_dict(read_gguf(f"{folder}/{PATHS[kind]}"))
        self.vae = model.VAE()
        self.vae.load_state_dict({k: v.float() for k, v in load_file(f"{folder}/{PATHS['vae']}").items()})
        tmp = f"{folder}/{PATHS['t5']}", f"{folder}/{PATHS['clip']}"
        self.enc = built = text.Encoders(*tmp)
        t5 = {k: v.float() for k, v in load_file(f"{tmp[0]}/ingot-demo-t5.safetensors").items()}
        miss = built.t5.load_state_dict(t5, strict=False)
        assert set(miss.missing_keys) <= {"encoder.embed_tokens.weight"} and not miss.unexpected_keys, miss
        own = next(iter(built.clip.state_dict()))
        clip = load_file(f"{tmp[1]}/ingot-demo-clip.safetensors")
        clip = {k if own.startswith("text_model.") else k.removeprefix("text_model."): v.float() for k, v in clip.items()}
        miss = built.clip.load_state_dict(clip, strict=False)
        assert all("position_ids" in k for k in miss.missing_keys) and not miss.unexpected_keys, miss
        for m in (self.flux, self.vae, built):
            m.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, texts, W, H, steps, seed, cfg=1.0):
        x = torch.randn(len(texts), 16, H // 8, W // 8, generator=torch.Generator().manual_seed(seed))
        with torch.autocast("cpu", torch.bfloat16):
            # each prompt is padded by itself, as in use
            enc = [self.enc([t]) for t in texts]
            z = torch.empty_like(x)
            for n in sorted({e[0].shape[1] for e in enc}):
                i = [j for j, e in enumerate(enc) if e[0].shape[1] == n]
                txt, y = torch.cat([enc[j][0] for j in i]), torch.cat([enc[j][1] for j in i])
                empty = None
                if cfg != 1.0:
                    et, ey = self.enc([""], n)
                    empty = et.expand(len(i), -1, -1), ey.expand(len(i), -1)
                z[i] = model.sample(self.flux, x[i], txt, y, steps, cfg, empty)
            im = torch.cat([self.vae.decode(z[j:j + 1]).float() for j in range(len(texts))])
        return ((im.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def make_sheet(ims, W, H, path):
    grid = Image.new("RGB", (W * 6, H * ((len(ims) + 5) // 6)))
    for i, im in enumerate(ims):
        grid.paste(Image.fromarray(im), (i % 6 * W, i // 6 * H))
    grid.save(path)


def evaluate(folder, kind, size, steps, n, sheet=None, seed=1, captions=None, cfg=1.0, keep=None):
    W, H = size
    pipe, pairs, ims, t0 = Pipeline(folder, kind), [], [], time.time()
    lines = captions or scenes.heldout_captions()[:n]
    for i in range(0, len(lines), 10):
        part = pipe(lines[i:i + 10], W, H, steps, seed + i, cfg)
        ims += list(part)
        pairs += [(im, scenes.parse_caption(l)) for im, l in zip(part, lines[i:i + 10])]
        if len(ims) % 50 == 0 and len(ims) < len(lines):
            check.report(f"{kind} {W}x{H} {steps} steps", check.score(pairs))
        if sheet and len(ims) == min(30, len(lines)):
            make_sheet(ims, W, H, sheet)
    r = check.score(pairs)
    check.report(f"{kind} {W}x{H} {steps} steps", r)
    print("   fails:", r["fails"][:12], f"{(time.time() - t0) / len(lines):.2f} s a picture", flush=True)
    if keep:
        os.makedirs(keep, exist_ok=True)
        for i, im in enumerate(ims):
            Image.fromarray(im).save(f"{keep}/{i:03d}.png")
    return r


def reconstruct(folder, n=40):
    """The checker and the error on drawings that went through encoder and decoder of the f16 file."""
    pipe, rng, pairs, err, lat = Pipeline(folder, "Q8_0"), random.Random(9), [], [], []
    for _ in range(n):
        s = scenes.random_scene(rng, holdout=True)
        im = scenes.render(s, 256, 256, rng)
        x = torch.from_numpy(im.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            z = pipe.vae.encode(x)[0].float()
            y = pipe.vae.decode(z).float()
        lat.append((z - model.to_latent(x)).square().mean().item())
        err.append((y - x).square().mean().item() / 4)
        pairs.append((((y[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy(), s))
    check.report("drawings through the VAE", check.score(pairs))
    print(f"   PSNR {-10 * np.log10(np.mean(err)):.1f} dB, encoder's latent error (rms) {np.mean(lat) ** 0.5:.3f}")


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--work", help="export from this training folder")
    ap.add_argument("--out", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "models"))
    ap.add_argument("--eval", nargs="*", metavar="KIND", help="judge these files (Q8_0, Q4_0) on held-out captions")
    ap.add_argument("--size", nargs="*", default=["256x256"])
    ap.add_argument("--steps", type=int, nargs="*", default=[8])
    ap.add_argument("--n", type=int, default=300)
    ap.add_argument("--cfg", type=float, default=1.0)
    ap.add_argument("--sheet", help="PNG of the first 30 pictures")
    ap.add_argument("--keep", help="folder for all the pictures")
    ap.add_argument("--prompts", nargs="*", help="captions instead of the held-out ones")
    ap.add_argument("--vae", action="store_true", help="judge the VAE alone")
    ap.add_argument("--threads", type=int, default=1)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    if a.work:
        export(a.work, a.out)
    if a.vae:
        reconstruct(a.out)
    for kind in a.eval or []:
        for size in a.size:
            for steps in a.steps:
                evaluate(a.out, kind, tuple(map(int, size.split("x"))), steps, a.n, a.sheet, captions=a.prompts, cfg=a.cfg, keep=a.keep)


if __name__ == "__main__":
    main()
