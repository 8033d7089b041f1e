"""The demo model's networks in torch, with the tensor names of the public Flux.1 files: transformer, VAE, latent basis."""
import math

import torch
import torch.nn.functional as F
from torch import nn

SHIFT, SCALE = 0.1159, 0.3611          # Flux: model latent = (z - SHIFT) * SCALE


# -------------------------------------------------------------- transformer
def timestep_embedding(t, dim=256, max_period=10000, factor=1000.0):
    half = dim // 2
    freqs = torch.exp(-math.log(max_period) * torch.arange(half, dtype=torch.float32) / half)
    args = (factor * t.float())[:, None] * freqs[None]
    return torch.cat([args.cos(), args.sin()], -1)


def rope_table(ids, axes, theta=10000):
    """ids (L, 3) -> cos, sin of (L, Dh/2)"""
    out = []
    for i, d in enumerate(axes):
        omega = 1.0 / theta ** (torch.arange(0, d, 2, dtype=torch.float64) / d)
        out.append(ids[:, i, None].double() * omega)
    a = torch.cat(out, -1)
    return a.cos().float(), a.sin().float()


def rotate(x, cos, sin):
    """x (B, H, L, D): neighbouring pairs are turned, as in the reference"""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


class RMSNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.scale


class QKNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.query_norm, self.key_norm = RMSNorm(dim), RMSNorm(dim)


class Embedder(nn.Module):
    def __init__(self, n_in, hidden):
        super().__init__()
        self.in_layer, self.out_layer = nn.Linear(n_in, hidden), nn.Linear(hidden, hidden)

    def forward(self, x):
        return self.out_layer(F.silu(self.in_layer(x)))


class Mod(nn.Module):
    def __init__(self, hidden, n):
        super().__init__()
        self.n, self.lin = n, nn.Linear(hidden, n * hidden)

    def forward(self, vec):
        return self.lin(F.silu(vec))[:, None, :].chunk(self.n, -1)


class SelfAttention(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.qkv, self.proj = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.norm = QKNorm(hidden // heads)


def norm(x, shift, scale):
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


def split_heads(qkv, heads):
    B, L, _ = qkv.shape
    return qkv.view(B, L, 3, heads, -1).permute(2, 0, 3, 1, 4)


def attention(q, k, v, pe):
    q, k = rotate(q, *pe).to(v.dtype), rotate(k, *pe).to(v.dtype)
    # written out: on a CPU in bf16 torch's fused kernel takes two to four times as long at these lengths
    s = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
    x = torch.matmul(s.softmax(-1).to(v.dtype), v)
    return x.transpose(1, 2).flatten(2)


def mlp(hidden, ratio=4):
    return nn.Sequential(nn.Linear(hidden, ratio * hidden), nn.GELU(approximate="tanh"), nn.Linear(ratio * hidden, hidden))


class DoubleBlock(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.img_mod, self.txt_mod = Mod(hidden, 6), Mod(hidden, 6)
        self.img_attn, self.txt_attn = SelfAttention(hidden, heads), SelfAttention(hidden, heads)
        self.img_mlp, self.txt_mlp = mlp(hidden), mlp(hidden)

    def forward(self, img, txt, vec, pe):
        im, tm = self.img_mod(vec), self.txt_mod(vec)
        qkv = []
        for x, m, a in ((txt, tm, self.txt_attn), (img, im, self.img_attn)):
            q, k, v = split_heads(a.qkv(norm(x, m[0], m[1])), self.heads)
            qkv.append((a.norm.query_norm(q), a.norm.key_norm(k), v))
        out = attention(*(torch.cat(p, 2) for p in zip(*qkv)), pe)
        T = txt.shape[1]
        img = img + im[2] * self.img_attn.proj(out[:, T:])
        img = img + im[5] * self.img_mlp(norm(img, im[3], im[4]))
        txt = txt + tm[2] * self.txt_attn.proj(out[:, :T])
        txt = txt + tm[5] * self.txt_mlp(norm(txt, tm[3], tm[4]))
        return img, txt


class SingleBlock(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads, self.hidden = heads, hidden
        self.linear1, self.linear2 = nn.Linear(hidden, 7 * hidden), nn.Linear(5 * hidden, hidden)
        self.norm, self.modulation = QKNorm(hidden // heads), Mod(hidden, 3)

    def forward(self, x, vec, pe):
        shift, scale, gate = self.modulation(vec)
        qkv, m = self.linear1(norm(x, shift, scale)).split([3 * self.hidden, 4 * self.hidden], -1)
        q, k, v = split_heads(qkv, self.heads)
        a = attention(self.norm.query_norm(q), self.norm.key_norm(k), v, pe)
        return x + gate * self.linear2(torch.cat((a, F.gelu(m, approximate="tanh")), -1))


class FinalLayer(nn.Module):
    def __init__(self, hidden, n_out):
        super().__init__()
        self.linear = nn.Linear(hidden, n_out)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden))

    def forward(self, x, vec):
        shift, scale = self.adaLN_modulation(vec)[:, None, :].chunk(2, -1)
        return self.linear(norm(x, shift, scale))


class Flux(nn.Module):
    """FLUX.1 schnell's architecture at a small size."""

    def __init__(self, hidden=256, heads=4, double=2, single=2, ctx=128, vec=128):
        super().__init__()
        self.heads, self.hidden = heads, hidden
        dh = hidden // heads
        self.axes = (dh // 8, 7 * dh // 16, 7 * dh // 16)
        self.img_in, self.txt_in = nn.Linear(64, hidden), nn.Linear(ctx, hidden)
        self.time_in, self.vector_in = Embedder(256, hidden), Embedder(vec, hidden)
        self.double_blocks = nn.ModuleList(DoubleBlock(hidden, heads) for _ in range(double))
        self.single_blocks = nn.ModuleList(SingleBlock(hidden, heads) for _ in range(single))
        self.final_layer = FinalLayer(hidden, 64)
        self._pe = {}
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif p.ndim == 2:
                nn.init.xavier_uniform_(p)
            # blocks start as the identity, the output at zero: the usual start for such networks
            if p.ndim == 2 and any(s in name for s in ("mod.lin", "modulation.lin", "final_layer")):
                nn.init.zeros_(p)

    def pe(self, T, h, w):
        if (T, h, w) not in self._pe:
            ids = torch.zeros(T + h * w, 3)
            ids[T:, 1] = torch.arange(h).repeat_interleave(w)
            ids[T:, 2] = torch.arange(w).repeat(h)
            self._pe[T, h, w] = rope_table(ids, self.axes)
        return self._pe[T, h, w]

    def forward(self, x, t, txt, y):
        """x (B, 16, H, W) latent, t (B) sigma, txt (B, T, ctx), y (B, vec) -> velocity like x"""
        B, _, H, W = x.shape
        h, w = H // 2, W // 2
        img = self.img_in(F.pixel_unshuffle(x, 2).flatten(2).transpose(1, 2))     # (c ph pw) order
        txt = self.txt_in(txt)
        vec = self.time_in(timestep_embedding(t)) + self.vector_in(y)
        pe = self.pe(txt.shape[1], h, w)
        for b in self.double_blocks:
            img, txt = b(img, txt, vec, pe)
        z = torch.cat((txt, img), 1)
        for b in self.single_blocks:
            z = b(z, vec, pe)
        out = self.final_layer(z[:, txt.shape[1]:], vec)
        return F.pixel_shuffle(out.transpose(1, 2).unflatten(2, (h, w)), 2)


def sigmas(n, mu=1.0):
    """Forge's "Simple" schedule for schnell: n values from 10000 shifted steps, and 0."""
    t = torch.arange(1, 10001, dtype=torch.float64) / 10000
    table = math.exp(mu) / (math.exp(mu) + (1 / t - 1))
    return [float(table[-(1 + int(i * 10000 / n))]) for i in range(n)] + [0.0]


@torch.no_grad()
def sample(flux, noise, txt, y, steps, cfg=1.0, empty=None):
    x, s = noise, sigmas(steps)
    for a, b in zip(s, s[1:]):
        t = torch.full((x.shape[0],), a)
        v = flux(x, t, txt, y).float()
        if cfg != 1.0:
            u = flux(x, t, *empty).float()
            v = u + cfg * (v - u)
        x = x + (b - a) * v
    return x


# ---------------------------------------------------------------------- VAE
def gn(c):
    return nn.GroupNorm(32, c, eps=1e-6)


def conv(i, o, k=3, s=1):
    return nn.Conv2d(i, o, k, s, 1 if k == 3 and s == 1 else 0)


class Res(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.norm1, self.conv1, self.norm2, self.conv2 = gn(i), conv(i, o), gn(o), conv(o, o)
        if i != o:
            self.nin_shortcut = conv(i, o, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x):
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class Attn(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = gn(c)
        self.q, self.k, self.v, self.proj_out = (conv(c, c, 1) for _ in range(4))
        nn.init.zeros_(self.proj_out.weight)

    def forward(self, x):
        h = self.norm(x)
        q, k, v = (f(h).flatten(2).transpose(1, 2)[:, None] for f in (self.q, self.k, self.v))
        o = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).reshape(x.shape)
        return x + self.proj_out(o)


class Mid(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = Res(c, c), Attn(c), Res(c, c)

    def forward(self, x):
        return self.block_2(self.attn_1(self.block_1(x)))


class Stage(nn.Module):
    pass


class Encoder(nn.Module):
    def __init__(self, ch=64, mult=(1, 1, 1, 2), nres=1, z=16):
        super().__init__()
        self.conv_in, c = conv(3, ch), ch
        self.down = nn.ModuleList()
        for i, m in enumerate(mult):
            s = Stage()
            s.block = nn.ModuleList()
            for _ in range(nres):
                s.block.append(Res(c, ch * m))
                c = ch * m
            if i + 1 < len(mult):
                s.downsample = Stage()
                s.downsample.conv = conv(c, c, 3, 2)
            self.down.append(s)
        self.mid, self.norm_out, self.conv_out = Mid(c), gn(c), conv(c, 2 * z)

    def forward(self, x):
        x = self.conv_in(x)
        for s in self.down:
            for b in s.block:
                x = b(x)
            if hasattr(s, "downsample"):
                x = s.downsample.conv(F.pad(x, (0, 1, 0, 1)))
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    def __init__(self, ch=64, mult=(1, 1, 1, 2), nres=1, z=16):
        super().__init__()
        c = ch * mult[-1]
        self.conv_in, self.mid = conv(z, c), Mid(c)
        self.up = nn.ModuleList(Stage() for _ in mult)
        for i in reversed(range(len(mult))):
            s = self.up[i]
            s.block = nn.ModuleList()
            for _ in range(nres + 1):
                s.block.append(Res(c, ch * mult[i]))
                c = ch * mult[i]
            if i:
                s.upsample = Stage()
                s.upsample.conv = conv(c, c)
        self.norm_out, self.conv_out = gn(c), conv(c, 3)

    def forward(self, z):
        x = self.mid(self.conv_in(z))
        for s in reversed(self.up):
            for b in s.block:
                x = b(x)
            if hasattr(s, "upsample"):
                x = s.upsample.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        return self.conv_out(F.silu(self.norm_out(x)))


class VAE(nn.Module):
    def __init__(self, **kw):
        super().__init__()
        self.encoder, self.decoder = Encoder(**kw), Decoder(**kw)

    def decode(self, latent):
        """model latent -> picture in -1..1"""
        return self.decoder(latent / SCALE + SHIFT)

    def encode(self, x):
        """picture -> (model latent, log variance)"""
        mean, logvar = self.encoder(x).chunk(2, 1)
        return (mean - SHIFT) * SCALE, logvar


# ------------------------------------------------------------- latent basis
# The latent space is chosen, not found: the 16 lowest cosine waves of each 8x8 patch (six of the brightness,
# five of each colour difference).  Flat shapes fit into it well, it costs one matrix product to compute, and
# so the transformer, the decoder (which learns to draw sharp edges from it) and the encoder (which learns to
# imitate it) can each be trained alone.
WAVES = [(0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (1, 1)]
# Measured over 256x256 scenes: means of the three flat channels; the gains bring the flat channels to a std of
# 1.3 and the others to 0.35-0.6 (their raw std is 0.02-0.1 of the flat ones'), so noise hides edges last.
LATENT_MEAN = [1.0, 0, 0, 0, 0, 0, 1.1, 0, 0, 0, 0, 1.03, 0, 0, 0, 0]
LATENT_GAIN = [0.203, 0.88, 0.70, 1.45, 1.1, 1.5, 0.483, 1.6, 1.4, 2.6, 2.05, 0.306, 1.04, 0.88, 1.65, 1.3]


def basis():
    """(16, 3, 8, 8) orthonormal analysis kernels"""
    n = torch.arange(8, dtype=torch.float64)
    f = [torch.cos(math.pi * (n + 0.5) * k / 8) * math.sqrt((1 if k == 0 else 2) / 8) for k in range(3)]
    tone = torch.tensor([[1, 1, 1], [1, -1, 0], [1, 1, -2]], dtype=torch.float64)
    tone = tone / tone.norm(dim=1, keepdim=True)
    ks = []
    for i in range(3):
        for u, v in WAVES[:6 if i == 0 else 5]:
            ks.append(tone[i][:, None, None] * (f[u][:, None] * f[v][None]))
    return torch.stack(ks).float()


def raw_latent(x):
    return F.conv2d(x, basis(), stride=8)


def to_latent(x):
    """picture (B, 3, H, W) in -1..1 -> model latent (B, 16, H/8, W/8)"""
    m, g = (torch.tensor(v)[None, :, None, None] for v in (LATENT_MEAN, LATENT_GAIN))
    return (raw_latent(x) - m) * g


def latent_rgb_factors():
    """Text for the VAE's metadata: mean colour of a patch (-1..1) from its model latent; 16 rows and the bias."""
    waves = basis().mean((2, 3))  # a synthesis kernel is its analysis kernel: only the flat ones have a mean
    rows = waves / torch.tensor(LATENT_GAIN)[:, None]
    bias = (waves * torch.tensor(LATENT_MEAN)[:, None]).sum(0)
    return "  ".join(" ".join(f"{v:.6g}" for v in row.tolist()) for row in (*rows, bias))
