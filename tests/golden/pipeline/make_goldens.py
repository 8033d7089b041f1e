#!/usr/bin/env python3
"""Makes pipeline.safetensors: two pictures of the demo model by diffusers and transformers in f32.

Weights are the files of demo/models, block formats dequantized by gguf; the networks and tokenizers
are those of diffusers 0.42.1, transformers 5.23.0 and torch 2.15.0; the chain between them is here.
The file holds, of each of CASES, the T5 and CLIP outputs of its prompts, the latents at the end and
the picture as RGB8. Run it again whenever the demo model changes.
"""
import math
import pathlib

import gguf
import numpy as np
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from safetensors.torch import load_file, save_file
from transformers import (CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel,
                          T5Tokenizer)

HERE = pathlib.Path(__file__).parent
MODELS = HERE.parents[2] / "demo" / "models"
MIN_T5_TOKENS = 32  # ingot.min_text_tokens of the diffusion file
SCALE, SHIFT = 0.3611, 0.1159  # latent = (z - SHIFT) * SCALE

# As in pipeline_golden_test.cc. The negative prompt, of more than MIN_T5_TOKENS, pads the prompt.
CASES = {
    "square": dict(
        width=128, height=128, steps=8, seed=1, cfg=1.0, negative="",
        prompt="a red house on the left and a green tree on the right, orange sky, white ground"),
    "cfg": dict(
        width=96, height=160, steps=4, seed=7, cfg=2.0,
        prompt="a yellow star on the right, black sky, gray ground",
        negative="a purple boat on the left and a blue ball in the middle and a white moon on the "
                 "right-hand side, an orange sky above them, a yellow ground below them, blurred, "
                 "smudged"),
}


def flux_weights(path):
    """Flux.1's own names to those of diffusers, whose converter knows only a width of 3072."""
    source = {}
    for t in gguf.GGUFReader(path).tensors:
        values = np.array(gguf.quants.dequantize(t.data, t.tensor_type), np.float32)
        source[t.name] = torch.from_numpy(values).reshape([int(n) for n in reversed(t.shape)])
    width = source["img_in.weight"].shape[0]
    out = {}

    def linear(name, to, convert=lambda x: x):
        for kind in ("weight", "bias"):
            out[f"{to}.{kind}"] = convert(source.pop(f"{name}.{kind}"))

    def split(name, names, sizes):
        for kind in ("weight", "bias"):
            parts = source.pop(f"{name}.{kind}").split(sizes)
            out.update({f"{to}.{kind}": part for to, part in zip(names, parts)})

    def norms(name, query, key):
        out[f"{query}.weight"] = source.pop(f"{name}.query_norm.scale")
        out[f"{key}.weight"] = source.pop(f"{name}.key_norm.scale")

    linear("img_in", "x_embedder")
    linear("txt_in", "context_embedder")
    for name, to in (("time_in", "timestep_embedder"), ("vector_in", "text_embedder")):
        linear(f"{name}.in_layer", f"time_text_embed.{to}.linear_1")
        linear(f"{name}.out_layer", f"time_text_embed.{to}.linear_2")
    num_double = 1 + max(int(n.split(".")[1]) for n in source if n.startswith("double_blocks."))
    num_single = 1 + max(int(n.split(".")[1]) for n in source if n.startswith("single_blocks."))
    for i in range(num_double):
        a, b = f"double_blocks.{i}", f"transformer_blocks.{i}"
        linear(f"{a}.img_mod.lin", f"{b}.norm1.linear")
        linear(f"{a}.txt_mod.lin", f"{b}.norm1_context.linear")
        split(f"{a}.img_attn.qkv", [f"{b}.attn.to_{x}" for x in "qkv"], width)
        split(f"{a}.txt_attn.qkv", [f"{b}.attn.add_{x}_proj" for x in "qkv"], width)
        norms(f"{a}.img_attn.norm", f"{b}.attn.norm_q", f"{b}.attn.norm_k")
        norms(f"{a}.txt_attn.norm", f"{b}.attn.norm_added_q", f"{b}.attn.norm_added_k")
        linear(f"{a}.img_attn.proj", f"{b}.attn.to_out.0")
        linear(f"{a}.txt_attn.proj", f"{b}.attn.to_add_out")
        for name, to in (("img_mlp", "ff"), ("txt_mlp", "ff_context")):
            linear(f"{a}.{name}.0", f"{b}.{to}.net.0.proj")
            linear(f"{a}.{name}.2", f"{b}.{to}.net.2")
    for i in range(num_single):
        a, b = f"single_blocks.{i}", f"single_transformer_blocks.{i}"
        linear(f"{a}.modulation.lin", f"{b}.norm.linear")
        split(f"{a}.linear1", [f"{b}.attn.to_{x}" for x in "qkv"] + [f"{b}.proj_mlp"],
              [width] * 3 + [4 * width])
        norms(f"{a}.norm", f"{b}.attn.norm_q", f"{b}.attn.norm_k")
        linear(f"{a}.linear2", f"{b}.proj_out")
    linear("final_layer.linear", "proj_out")
    # diffusers has scale before shift
    linear("final_layer.adaLN_modulation.1", "norm_out.linear",
           lambda x: torch.cat(x.chunk(2)[::-1]))
    assert not source, list(source)
    return out


def load(model, weights, may_lack=()):
    weights = {n: w.float() for n, w in weights.items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all(n.endswith(may_lack) for n in missing), (missing, unexpected)
    return model.eval()


class Pipeline:
    def __init__(self):
        clip, t5 = MODELS / "text_encoder/ingot-demo-clip", MODELS / "text_encoder/ingot-demo-t5"
        self.clip_tokenizer = CLIPTokenizer.from_pretrained(clip)
        self.t5_tokenizer = T5Tokenizer.from_pretrained(t5)
        weights = load_file(clip / "ingot-demo-clip.safetensors")
        rows, width = weights["text_model.embeddings.token_embedding.weight"].shape
        end = self.clip_tokenizer.convert_tokens_to_ids("<|endoftext|>")
        self.clip = CLIPTextModel(CLIPTextConfig(
            vocab_size=rows, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=4,
            num_attention_heads=width // 64, hidden_act="quick_gelu", bos_token_id=end - 1,
            eos_token_id=end, pad_token_id=end))
        own = next(iter(self.clip.state_dict()))
        if not own.startswith("text_model."):
            weights = {n.removeprefix("text_model."): w for n, w in weights.items()}
        load(self.clip, weights, ("position_ids",))
        weights = load_file(t5 / "ingot-demo-t5.safetensors")
        rows, width = weights["shared.weight"].shape
        self.t5 = load(T5EncoderModel(T5Config(
            vocab_size=rows, d_model=width, d_kv=64, num_heads=2, d_ff=384, num_layers=4,
            feed_forward_proj="gated-gelu")), weights, ("embed_tokens.weight",))
        self.flux = load(FluxTransformer2DModel(
            in_channels=64, num_layers=2, num_single_layers=2, attention_head_dim=64,
            num_attention_heads=4, joint_attention_dim=width, pooled_projection_dim=width,
            guidance_embeds=False, axes_dims_rope=(8, 28, 28)),
            flux_weights(MODELS / "Stable-diffusion/ingot-demo.gguf"))
        self.vae = AutoencoderKL(
            block_out_channels=(64, 64, 64, 128), layers_per_block=1, latent_channels=16,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            use_quant_conv=False, use_post_quant_conv=False)
        weights = load_file(MODELS / "VAE/ingot-demo-ae.safetensors")
        load(self.vae, convert_ldm_vae_checkpoint(weights, self.vae.config))

    def encode(self, texts):
        """[(txt, pooled)]; T5 rows are padded to the longest, as FluxPipeline::Tokenize does."""
        rows = [self.t5_tokenizer(text).input_ids for text in texts]
        length = max(MIN_T5_TOKENS, *map(len, rows))
        out = []
        for text, row in zip(texts, rows):
            ids = torch.tensor([row + [self.t5_tokenizer.pad_token_id] * (length - len(row))])
            clip_ids = self.clip_tokenizer(text, return_tensors="pt").input_ids
            out.append((self.t5(input_ids=ids).last_hidden_state,
                        self.clip(input_ids=clip_ids).pooler_output))
        return out

    def velocity(self, x, sigma, txt, pooled):
        channels, h, w = x.shape
        patches = x.reshape(channels, h // 2, 2, w // 2, 2).permute(1, 3, 0, 2, 4)
        ids = torch.zeros(h // 2, w // 2, 3)
        ids[..., 1] = torch.arange(h // 2)[:, None]
        ids[..., 2] = torch.arange(w // 2)[None, :]
        out = self.flux(hidden_states=patches.reshape(1, -1, 4 * channels), timestep=sigma[None],
                        encoder_hidden_states=txt, pooled_projections=pooled,
                        img_ids=ids.reshape(-1, 3), txt_ids=torch.zeros(txt.shape[1], 3)).sample
        return out.reshape(patches.shape).permute(2, 0, 3, 1, 4).reshape(channels, h, w)

    def sample(self, noise, steps, cfg, conds):
        """k-diffusion's sample_euler on the denoised picture x - sigma v."""
        sigmas = simple_schedule(steps)
        x = sigmas[0] * noise
        for sigma, next_sigma in zip(sigmas, sigmas[1:]):
            denoised = [x - sigma * self.velocity(x, sigma, *cond) for cond in conds]
            d = denoised[0] if cfg == 1.0 else denoised[1] + cfg * (denoised[0] - denoised[1])
            x = x + (x - d) / sigma * (next_sigma - sigma)
        return x

    def __call__(self, width, height, steps, seed, cfg, prompt, negative):
        conds = self.encode([prompt] if cfg == 1.0 else [prompt, negative])
        generator = torch.Generator("cpu").manual_seed(seed)
        noise = torch.randn((16, height // 8, width // 8), generator=generator)
        latents = self.sample(noise, steps, cfg, conds)
        picture = self.vae.decode(latents[None] / SCALE + SHIFT).sample[0]
        rgb = ((picture / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
        texts = {f"{name}.{i}": x for i, cond in enumerate(conds)
                 for name, x in zip(("txt", "pooled"), cond)}
        return texts | dict(latents=latents, rgb=rgb)


def simple_schedule(steps, mu=1.0, num_timesteps=10000):
    """Forge's "Simple" in its table of FLUX.1 schnell: sigma = e^mu / (e^mu + 1/t - 1)."""
    table = [math.exp(mu) / (math.exp(mu) + num_timesteps / i - 1)
             for i in range(1, num_timesteps + 1)]
    sigmas = [table[-(1 + int(i * num_timesteps / steps))] for i in range(steps)]
    return torch.tensor(sigmas + [0.0])


if __name__ == "__main__":
    with torch.no_grad():
        pipeline = Pipeline()
        tensors = {f"{case}.{name}": x.contiguous() for case, job in CASES.items()
                   for name, x in pipeline(**job).items()}
    save_file(tensors, HERE / "pipeline.safetensors")
