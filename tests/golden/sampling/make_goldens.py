#!/usr/bin/env python3
"""Writes noise.json, schedules.json and samplers.json by running the reference's own functions.

    make_goldens.py --forge DIR --comfyui DIR    checkouts of Stable Diffusion WebUI Forge and ComfyUI

Needs PyPI numpy, torch, scipy, torchsde, diffusers, tqdm and pillow. Everything but noise is in f64.
"""
import argparse
import importlib.util
import json
import pathlib
import sys
import types

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent


def load(name, path):
    """Imports one file of a checkout without the packages around it."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def stub(name, **values):
    module = types.ModuleType(name)
    module.__dict__.update(values)
    module.__path__ = []
    sys.modules[name] = module
    return module


def load_references(forge, comfyui):
    """k-diffusion and UniPC of ComfyUI; noise and schedulers of Forge."""
    stub("comfy"), stub("comfy.model_patcher")
    stub("comfy.ldm.modules.diffusionmodules.util", make_beta_schedule=None)
    flow = load("comfy.model_sampling", comfyui / "comfy/model_sampling.py")
    package = stub("comfy.k_diffusion")
    package.__path__ = [str(comfyui / "comfy/k_diffusion")]
    sys.modules["comfy"].model_sampling = flow
    k = load("comfy.k_diffusion.sampling", comfyui / "comfy/k_diffusion/sampling.py")
    uni_pc = load("uni_pc", comfyui / "comfy/extra_samplers/uni_pc.py")
    stub("k_diffusion", sampling=k)
    options = types.SimpleNamespace(beta_dist_alpha=0.6, beta_dist_beta=0.6)
    shared = stub("modules.shared", opts=options)
    philox = load("modules.rng_philox", forge / "modules/rng_philox.py")
    stub("modules", shared=shared, rng_philox=philox, devices=stub("modules.devices"))
    rng = load("modules.rng", forge / "modules/rng.py")
    schedulers = load("sd_schedulers", forge / "modules/sd_schedulers.py")
    return types.SimpleNamespace(k=k, uni_pc=uni_pc, flow=flow, philox=philox, rng=rng,
                                 schedulers=schedulers)


def fnv1a(values):
    digest = 0xcbf29ce484222325
    for byte in np.ascontiguousarray(values, np.float32).tobytes():
        digest = ((digest ^ byte) * 0x100000001b3) % 2**64
    return f"{digest:016x}"


def draw(values):
    """The first values, to read, and a digest of the bytes of all."""
    values = np.asarray(values, np.float32).ravel()
    return {"first": values[:4].tolist(), "fnv1a": fnv1a(values)}


def noise(ref):
    streams = []
    for seed in (0, 1, 42, 2**31 + 11, 2**32 - 1, 2**40 + 7):
        for size in (1, 4, 15, 16, 17, 31, 32, 100, 4096):
            cpu, nv = torch.Generator("cpu").manual_seed(seed), ref.philox.Generator(seed)
            streams.append({"seed": seed, "size": size,
                            "cpu": [draw(torch.randn(size, generator=cpu)) for _ in range(2)],
                            "nv": [draw(nv.randn((size,))) for _ in range(2)]})
    generator = torch.Generator("cpu").manual_seed(9)
    mixed = [{"size": size, "draw": draw(torch.randn(size, generator=generator))}
             for size in (5, 31, 3, 16, 7, 1)]
    shape = (4, 6, 5)
    a = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(3))
    b = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(4))
    # slerp takes a batch: Forge hands it [C, h, w], so that dim 1 is h.
    slerps = [{"strength": s, "parallel": parallel,
               "values": ref.rng.slerp(s, a.double(), (2 * a if parallel else b).double()).ravel().tolist()}
              for s in (0.0, 0.25, 0.5, 1.0) for parallel in (False, True)]
    return {"streams": streams, "mixed_seed": 9, "mixed": mixed, "slerp_shape": shape,
            "slerp_seeds": [3, 4], "slerp": slerps, "brownian": brownian(ref)}


def brownian(ref):
    cases = []
    for seed, sigma_min, sigma_max, sigmas in (
            (1234567890123, 0.02, 1.0, (0.9999, 0.8, 0.61, 0.3, 0.02)),
            (5, 0.0003156, 1.0, (0.9999, 0.98, 0.97, 0.5, 0.0003156)),
            (2**32 - 1, 0.1, 0.75, (0.75, 0.425, 0.1)), (77, 0.1, 0.9, (0.9, 0.1))):
        for size in (5, 64):
            x = torch.zeros(1, size, dtype=torch.float32)
            f32 = [torch.tensor(s, dtype=torch.float32) for s in (sigma_min, sigma_max, *sigmas)]
            sampler = ref.k.BrownianTreeNoiseSampler(x, f32[0], f32[1], seed=seed, cpu=True)
            values = [sampler(a, b).ravel().tolist() for a, b in zip(f32[2:], f32[3:])]
            cases.append({"seed": seed, "sigma_min": sigma_min, "sigma_max": sigma_max, "size": size,
                          "sigmas": sigmas, "values": values})
    return cases


class ForgeFlow:
    """What Forge's schedulers ask of the model: its table, and t = sigma as in PredictionFlux."""

    def __init__(self, mu):
        self.mu = mu
        self.sigmas = self.sigma(torch.arange(1, 10001, dtype=torch.float64) / 10000)

    def sigma(self, t):
        return np.exp(self.mu) / (np.exp(self.mu) + (1 / t - 1))

    def sigma_to_t(self, sigma):
        return sigma

    def t_to_sigma(self, t):
        return t

    def get_sigmas(self, n):  # in the table, where Forge takes the index for a sigma: decision 0004
        index = torch.linspace(len(self.sigmas) - 1, 0, n)
        return torch.cat([self.sigma((index + 1) / len(self.sigmas)), torch.zeros(1)])


NOT_OURS = ("automatic", "turbo", "align_your_steps")  # decision 0004


def schedules(ref):
    cases = []
    for mu in (1.15, 1.0):
        flow = ForgeFlow(mu)
        low, high = float(flow.sigmas[0]), float(flow.sigmas[-1])
        for scheduler in ref.schedulers.schedulers:
            if scheduler.name.startswith(NOT_OURS):
                continue
            for n in (1, 4, 20):
                arguments = {"n": n, "sigma_min": low, "sigma_max": high, "device": "cpu"}
                if scheduler.need_inner_model:
                    arguments["inner_model"] = flow
                sigmas = scheduler.function(**arguments).double().tolist()
                cases.append({"scheduler": scheduler.name, "mu": mu, "steps": n, "sigmas": sigmas})
    return cases


class Model:
    """The analytic denoiser, dressed as ComfyUI's samplers expect a model."""

    def __init__(self, ref):
        sampling = type("Flow", (ref.flow.CONST,), {})()
        # As Forge's PredictionFlux, rounded: sigmas are f32 on both sides.
        sampling.percent_to_sigma = lambda percent: float(np.float32(1.0 - percent))
        patcher = types.SimpleNamespace(get_model_object=lambda name: sampling)
        inner = types.SimpleNamespace(model_sampling=sampling)
        self.inner_model = types.SimpleNamespace(model_patcher=patcher, inner_model=inner)

    def __call__(self, x, sigma, **_):
        sigma = sigma.view(-1, *[1] * (x.ndim - 1))
        return torch.tanh(1.5 * x) * (1 - 0.5 * sigma) + 0.1 * torch.sin(5 * sigma)


def sample_ddim(model, x, sigmas, eta, noise_sampler):
    """diffusers' DDIM in its variables: x / sqrt(alpha^2 + sigma^2) has the noise model that it knows."""
    from diffusers import DDIMScheduler
    num_steps = len(sigmas) - 1
    ddim = DDIMScheduler(num_train_timesteps=num_steps, clip_sample=False, prediction_type="sample")
    ddim.set_timesteps(num_steps)
    norm = ((1 - sigmas) ** 2 + sigmas**2).sqrt()
    # At 0 and eta 1, rounding can put a negative number under diffusers' square root.
    cumprod = (((1 - sigmas) / norm) ** 2).clamp(min=1e-14)
    ddim.alphas_cumprod, ddim.final_alpha_cumprod = cumprod[:-1].flip(0), cumprod[-1]
    for i in range(num_steps):
        denoised = model(x, sigmas[i][None])
        fresh = noise_sampler(sigmas[i], sigmas[i + 1]) if eta > 0 and sigmas[i + 1] > 0 else torch.zeros_like(x)
        step = ddim.step(denoised, num_steps - 1 - i, x / norm[i], eta=eta, variance_noise=fresh)
        x = step.prev_sample * norm[i + 1]
    return x


def sample_uni_pc(ref, model, x, sigmas):
    sigmas = sigmas.clone()
    if sigmas[-1] == 0:
        sigmas[-1] = 1e-7  # ComfyUI would stop at 0.001 (decision 0004); at less its f64 runs out
    return ref.uni_pc.sample_unipc(model, x, sigmas, extra_args={}, disable=True)


def f32_tree(ref, x, sigmas):
    """ComfyUI's own noise of DPM++ 2M SDE, drawn in f32: in f64 it would be other noise."""
    low, high = sigmas[sigmas > 0].min().float(), sigmas.max().float()
    tree = ref.k.BrownianTreeNoiseSampler(x.float(), low, high, seed=SEED, cpu=True)
    return lambda sigma, sigma_next: tree(sigma.float(), sigma_next.float()).double()


SEED = 7
SIGMAS = {
    "twenty steps": [1.0] + [round(1.0 - (i / 20) ** 1.5, 4) for i in range(1, 20)] + [0.0],
    "four steps": [1.0, 0.9, 0.7, 0.4, 0.0],
    "two steps": [1.0, 0.5, 0.0],
    "from a picture": [0.62, 0.5, 0.33, 0.21, 0.1, 0.03, 0.0],
    "ends above zero": [1.0, 0.93, 0.85, 0.7, 0.55, 0.4, 0.2, 0.05],
}


def samplers(ref):
    start = (-2 + torch.arange(16) * 0.25).view(1, 1, 4, 4)
    model = Model(ref)
    cases = []

    def add(name, schedule, run, eta=0.0, s_noise=1.0):
        # f32 sigmas on both sides: what is compared is the sampler.
        sigmas = torch.tensor(SIGMAS[schedule], dtype=torch.float32).double()
        generator = torch.Generator("cpu").manual_seed(SEED)
        stream = lambda *_: torch.randn(16, generator=generator, dtype=torch.float32).double().view(1, 1, 4, 4)
        x = run(start.clone(), sigmas, stream)
        cases.append({"sampler": name, "schedule": schedule, "eta": eta, "s_noise": s_noise,
                      "x": x.ravel().tolist()})

    quiet = {"disable": True}
    for schedule in SIGMAS:
        add("Euler", schedule, lambda x, s, _: ref.k.sample_euler(model, x, s, **quiet))
        add("Heun", schedule, lambda x, s, _: ref.k.sample_heun(model, x, s, **quiet))
        add("DPM++ 2M", schedule, lambda x, s, _: ref.k.sample_dpmpp_2m(model, x, s, **quiet))
        add("LCM", schedule, lambda x, s, z: ref.k.sample_lcm(model, x, s, noise_sampler=z, **quiet), 1.0)
        add("UniPC", schedule, lambda x, s, _: sample_uni_pc(ref, model, x, s))
        for eta in (0.0, 0.4, 1.0):
            add("DDIM", schedule, lambda x, s, z: sample_ddim(model, x, s, eta, z), eta)
            for s_noise in (1.0, 0.8) if eta else (1.0,):
                noisy = {"eta": eta, "s_noise": s_noise, **quiet}
                add("Euler a", schedule, lambda x, s, z: ref.k.sample_euler_ancestral_RF(
                    model, x, s, noise_sampler=z, **noisy), eta, s_noise)
                add("DPM++ 2M SDE", schedule, lambda x, s, _: ref.k.sample_dpmpp_2m_sde(
                    model, x, s, noise_sampler=f32_tree(ref, x, s), **noisy), eta, s_noise)
    return {"seed": SEED, "x": start.ravel().tolist(), "sigmas": SIGMAS, "cases": cases}


def write(name, value):
    rows = json.dumps(value, allow_nan=False, separators=(",", ":"), sort_keys=True).replace("},{", "},\n{")
    (HERE / name).write_text(rows + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--forge", type=pathlib.Path, required=True)
    parser.add_argument("--comfyui", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    ref = load_references(arguments.forge, arguments.comfyui)
    write("noise.json", noise(ref))
    torch.set_default_dtype(torch.float64)
    write("schedules.json", schedules(ref))
    write("samplers.json", samplers(ref))


if __name__ == "__main__":
    main()
