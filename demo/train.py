"""Trains the demo model stage by stage: tokenizers, text, flow, decoder, encoder (see --help); each stage resumes."""
import argparse
import os
import random
import time

import torch

import scenes

HERE = os.path.dirname(os.path.abspath(__file__))


def logger(work, stage):
    os.makedirs(work, exist_ok=True)
    f = open(f"{work}/{stage}.log", "a")

    def log(msg):
        f.write(time.strftime("%H:%M:%S ") + msg + "\n")
        f.flush()
    return log


def save_to(path, obj):
    torch.save(obj, path + ".part")
    os.replace(path + ".part", path)


def stage_tokenizers(a):
    import text
    rng = random.Random(a.seed)
    text.train_tokenizers(a.work, [scenes.caption(scenes.random_scene(rng), rng)[0] for _ in range(30000)])


def stage_text(a):
    import text
    torch.manual_seed(a.seed)
    enc = text.Encoders(a.work)
    text.train_encoders(enc, a.steps or 1500, a.batch or 128, a.seed, logger(a.work, "text"), lambda: save_to(f"{a.work}/text.pt", enc.state_dict()))


def load_encoders(work):
    """Frozen text encoders, rounded to f16 as they will be in the files."""
    import text
    enc = text.Encoders(work)
    enc.load_state_dict(torch.load(f"{work}/text.pt"))
    return enc.half().float().eval().requires_grad_(False)


# ---------------------------------------------------------------------- flow
# Width x height of training pictures: about 64 tokens each, and the large ones around the default size.
SMALL = [(128, 128)] * 4 + [(160, 112), (112, 160), (192, 96), (96, 192), (144, 112), (112, 144)]
LARGE = [(256, 256)] * 9 + [(192, 192)] * 2 + [(304, 208), (208, 304), (256, 192), (192, 256), (320, 176), (176, 320), (224, 224), (288, 288)]


class FlowData(torch.utils.data.IterableDataset):
    """Ready batches (latent, T5 tokens, pooled); batch i is a function of seed and i alone."""

    def __init__(self, work, seed, start, total, tokens):
        self.work, self.seed, self.start, self.total, self.tokens = work, seed, start, total, tokens

    def __iter__(self):
        import numpy as np
        import model
        # the trainer may be pinned to one core; the drawing need not share it
        os.sched_setaffinity(0, range(os.cpu_count()))
        os.nice(10)
        torch.set_num_threads(1)
        enc = load_encoders(self.work)
        for group in range(self.start // 4, self.total // 4 + 1):
            rng = random.Random(self.seed * 1000003 + group)
            large = rng.random() < (0.2 if group * 4 < 0.45 * self.total else 0.75)
            W, H = rng.choice(LARGE if large else SMALL)
            B = max(2, round(self.tokens / (W * H / 256 + 36)))
            items = []
            for _ in range(4 * B):
                s = scenes.random_scene(rng)
                # 8 % of the pictures come without words, so that guidance (cfg > 1) has something to push against
                t = "" if rng.random() < 0.08 else scenes.caption(s, rng)[0]
                items.append((len(enc.t5_tok.sp.encode(t)) + 40 * (t == "") * rng.random(), t, s))
            items.sort(key=lambda x: x[0])      # captions of like length share a batch: less padding
            chunks = [items[i * B:(i + 1) * B] for i in range(4)]
            rng.shuffle(chunks)
            for j, c in enumerate(chunks):
                im = np.stack([scenes.render(s, W, H, rng) for _, _, s in c])
                x = model.to_latent(torch.from_numpy(im).permute(0, 3, 1, 2).float() / 127.5 - 1)
                least = 32 if rng.random() < 0.9 else rng.randint(32, 64)
                txt, y = enc([t for _, t, _ in c], least)
                if group * 4 + j >= self.start:
                    yield x, txt, y


def stage_flow(a):
    """Rectified flow: x = s noise + (1 - s) latent, the network says noise - latent."""
    import math
    import model
    from tqdm import tqdm
    total, lr = a.steps or 9000, 1e-3
    log = logger(a.work, "flow")
    torch.manual_seed(a.seed)
    net = model.Flux()
    ema = model.Flux()
    ema.load_state_dict(net.state_dict())
    opt = torch.optim.AdamW(net.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    start, path = 0, f"{a.work}/flow.pt"
    if os.path.exists(path):
        ck = torch.load(path)
        net.load_state_dict(ck["net"]), ema.load_state_dict(ck["ema"]), opt.load_state_dict(ck["opt"])
        start = ck["step"]
        log(f"resumed at {start}")
    data = iter(torch.utils.data.DataLoader(FlowData(a.work, a.seed, start, total, a.tokens), batch_size=None, num_workers=1, prefetch_factor=8))
    bins, t0 = [[0.0, 0] for _ in range(4)], time.time()
    for step in tqdm(range(start, total), initial=start, total=total, desc="flow", mininterval=10):
        x, txt, y = next(data)
        f = min(1, (step + 1) / 200) * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * step / total)))
        for g in opt.param_groups:
            g["lr"] = lr * f
        B = x.shape[0]
        gen = torch.Generator().manual_seed(a.seed * 7919 + step)
        t = torch.where(torch.rand(B, generator=gen) < 0.8, torch.randn(B, generator=gen).sigmoid(), torch.rand(B, generator=gen))
        s = math.e * t / (1 + (math.e - 1) * t)          # the sampler's shift, mu = 1
        noise = torch.randn(x.shape, generator=gen)
        sx = s[:, None, None, None]
        with torch.autocast("cpu", torch.bfloat16):
            v = net(sx * noise + (1 - sx) * x, s, txt, y)
        per = (v.float() - (noise - x)).square().mean((1, 2, 3))
        per.mean().backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        d = min(0.9985, (1 + step) / (20 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.parameters()), list(net.parameters()), 1 - d)
        for si, li in zip(s.tolist(), per.detach().tolist()):
            b = bins[min(3, int(si * 4))]
            b[0] += li
            b[1] += 1
        if step % 100 == 99:
            log(f"flow {step + 1}: loss by sigma quarter " + " ".join(f"{v / max(n, 1):.4f}" for v, n in bins) + f"; {(time.time() - t0) / 100:.3f} s/step")
            bins, t0 = [[0.0, 0] for _ in range(4)], time.time()
        if step % 250 == 249 or step + 1 == total:
            save_to(path, dict(net=net.state_dict(), ema=ema.state_dict(), opt=opt.state_dict(), step=step + 1))


# ------------------------------------------------------------ decoder, encoder
def picture_batch(rng, pixels=32768):
    """Crops and whole pictures of one batch, all with about the same number of pixels, in -1..1."""
    import numpy as np
    side = rng.choices((64, 128, 256), (12, 6, 1))[0]
    out = []
    for _ in range(max(1, pixels // side ** 2)):
        W, H = rng.choice(LARGE if side == 256 else SMALL + LARGE)
        im = scenes.render(scenes.random_scene(rng), W, H, rng)
        if side == 256:
            w, h = min(W, 256), min(H, 256)
        else:
            w = h = min(side, W // 8 * 8, H // 8 * 8)
        if side != 256 and w < side:
            im, w, h = scenes.render(scenes.random_scene(rng), side, side, rng), side, side
        x, y = rng.randint(0, im.shape[1] - w), rng.randint(0, im.shape[0] - h)
        out.append(im[y:y + h, x:x + w])
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).float() / 127.5 - 1


def vae_stage(a, name, default):
    import math
    import model
    from tqdm import tqdm
    total, lr = a.steps or default, 2e-3
    log = logger(a.work, name)
    torch.manual_seed(a.seed)
    net = getattr(model.VAE(), name).to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW(net.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    start, path, run, t0 = 0, f"{a.work}/{name}.pt", None, time.time()
    if os.path.exists(path):
        ck = torch.load(path)
        net.load_state_dict(ck["net"]), opt.load_state_dict(ck["opt"])
        start = ck["step"]
    for step in tqdm(range(start, total), initial=start, total=total, desc=name, mininterval=10):
        rng = random.Random(a.seed * 1000003 + step)
        gen = torch.Generator().manual_seed(a.seed * 7919 + step)
        for g in opt.param_groups:
            g["lr"] = lr * min(1, (step + 1) / 50) * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * step / total)))
        x = picture_batch(rng)
        z = model.to_latent(x)
        with torch.autocast("cpu", torch.bfloat16):
            if name == "decoder":
                # noise up to 0.3 stands for what the transformer leaves over; the decoder learns to draw past it
                noisy = z + torch.randn(z.shape, generator=gen) * torch.rand(z.shape[0], 1, 1, 1, generator=gen) * 0.3
                out = net((noisy / model.SCALE + model.SHIFT).contiguous(memory_format=torch.channels_last)).float()
                dx, dy = (out - x).diff(dim=3), (out - x).diff(dim=2)
                loss = (out - x).abs().mean() + 0.5 * (dx.abs().mean() + dy.abs().mean())
            else:
                mean, logvar = net(x.contiguous(memory_format=torch.channels_last)).float().chunk(2, 1)
                # log variance is aimed at e^-6: encoding is next to exact, whether a program samples or takes the mean
                loss = ((mean - model.SHIFT) * model.SCALE - z).abs().mean() + 0.02 * (logvar + 6).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        run = loss.item() if run is None else 0.98 * run + 0.02 * loss.item()
        if step % 50 == 49:
            log(f"{name} {step + 1}: loss {run:.4f}; {(time.time() - t0) / 50:.3f} s/step")
            t0 = time.time()
        if step % 100 == 99 or step + 1 == total:
            save_to(path, dict(net=net.state_dict(), opt=opt.state_dict(), step=step + 1))


def stage_decoder(a):
    vae_stage(a, "decoder", 1200)


def stage_encoder(a):
    vae_stage(a, "encoder", 400)


STAGES = dict(tokenizers=stage_tokenizers, text=stage_text, flow=stage_flow, decoder=stage_decoder, encoder=stage_encoder)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("stage", choices=list(STAGES))
    ap.add_argument("--work", default="demo-work", help="folder for checkpoints and logs")
    ap.add_argument("--steps", type=int, default=0)
    ap.add_argument("--batch", type=int, default=0)
    ap.add_argument("--tokens", type=int, default=3200, help="flow: image and text tokens per step")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--threads", type=int, default=1)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    STAGES[a.stage](a)


if __name__ == "__main__":
    main()
