#!/usr/bin/env python3
"""Makes the files of this folder: make_goldens.py FLUX.

FLUX is a checkout of black-forest-labs/flux at 802fb4713906133fcbd0d8dc5351620ca4773036, whose own
code runs here (it needs einops). T5 and CLIP run in transformers 5.23.0, the VAE of Stable Diffusion
in diffusers 0.42.1, block formats come from gguf; torch 2.15.0.

Each file is a tiny checkpoint with random weights under its real names, and beside them `golden.X`:
the inputs and outputs X of the reference in f32. Matrices are rounded to F8_E4M3 (to be small) or to
block formats, vectors to F16; the reference runs in f32 on the rounded values.
"""
import pathlib
import sys

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent


def round_to(dtype, x):
    return x.to(dtype).to(torch.float32)


def randomize(module, seed):
    """Weights of such a size that activations stay near 1, rounded to the types of the file."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in module.named_parameters():
        x = torch.randn(p.shape, generator=generator)
        if p.ndim >= 2:
            fan_in = 1 if "embed" in name or "shared" in name else p[0].numel()
            p.data = round_to(torch.float8_e4m3fn, x / fan_in**0.5)
        else:
            is_scale = "norm" in name and not name.endswith("bias")
            p.data = round_to(torch.float16, 0.1 * x + (1.0 if is_scale else 0.0))
    return module.eval()


def save(name, weights, golden):
    tensors = {n: w.to(torch.float8_e4m3fn if w.ndim >= 2 else torch.float16) for n, w in weights.items()}
    tensors |= {f"golden.{n}": x for n, x in golden.items()}
    save_file({n: x.detach().contiguous() for n, x in tensors.items()}, HERE / name)


def flux_model(guidance, depth_single_blocks=2):
    from flux.model import Flux, FluxParams
    return Flux(FluxParams(in_channels=16, out_channels=16, vec_in_dim=32, context_in_dim=64,
                           hidden_size=64, mlp_ratio=1.5, num_heads=2, depth=1,
                           depth_single_blocks=depth_single_blocks, axes_dim=[4, 14, 14],
                           theta=10_000, qkv_bias=True, guidance_embed=guidance))


def flux_inputs(batch=2, txt_tokens=4, rows=3, columns=5):
    """A picture of odd sides in patches, as flux/sampling.py prepares it."""
    generator = torch.Generator().manual_seed(7)
    randn = lambda *shape: torch.randn(shape, generator=generator)
    ids = torch.zeros(rows, columns, 3)
    ids[..., 1] = torch.arange(rows)[:, None]
    ids[..., 2] = torch.arange(columns)[None, :]
    return dict(img=randn(batch, rows * columns, 16),
                img_ids=ids.reshape(1, -1, 3).repeat(batch, 1, 1),
                txt=randn(batch, txt_tokens, 64), txt_ids=torch.zeros(batch, txt_tokens, 3),
                timesteps=torch.tensor([0.9, 0.3]), y=randn(batch, 32),
                guidance=torch.tensor([3.5, 1.0]))


def flux():
    dev = randomize(flux_model(guidance=True), 1)
    schnell = flux_model(guidance=False).eval()
    schnell.load_state_dict({n: w for n, w in dev.state_dict().items() if "guidance_in" not in n})
    x = flux_inputs()
    pe = dev.pe_embedder(torch.cat((x["txt_ids"], x["img_ids"]), dim=1))
    generator = torch.Generator().manual_seed(8)
    block = {f"block_{n}": torch.randn(2, *shape, generator=generator)
             for n, shape in dict(img=(15, 64), txt=(4, 64), vec=(64,)).items()}
    img, txt, vec = block.values()
    double_img, double_txt = dev.double_blocks[0](img=img, txt=txt, vec=vec, pe=pe)
    single = dev.single_blocks[0](torch.cat((txt, img), 1), vec=vec, pe=pe)
    save("flux.safetensors", dev.state_dict(), x | block | dict(
        dev=dev(**x), schnell=schnell(**x), double_img=double_img, double_txt=double_txt,
        single=single))


def flux_quantized():
    """Q4_0 and Q8_0 in turn, as in published files: F16 where 32 does not divide the rows."""
    model = randomize(flux_model(guidance=True, depth_single_blocks=1), 2)
    writer = gguf.GGUFWriter(HERE / "flux_q4_q8.gguf", "flux")
    types = [gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q8_0]
    num_quantized = 0
    for name, p in model.named_parameters():
        if p.ndim == 2 and p.shape[1] % 32 == 0:
            block_type = types[num_quantized % 2]
            num_quantized += 1
            packed = gguf.quants.quantize(p.detach().numpy(), block_type)
            p.data = torch.from_numpy(gguf.quants.dequantize(packed, block_type))
            writer.add_tensor(name, packed, raw_dtype=block_type)
        else:
            writer.add_tensor(name, p.detach().numpy().astype(np.float16))
    x = flux_inputs()
    for name, value in (x | dict(dev=model(**x).detach())).items():
        writer.add_tensor(f"golden.{name}", value.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def t5():
    from transformers import T5Config, T5EncoderModel
    model = randomize(T5EncoderModel(T5Config(
        vocab_size=50, d_model=64, d_kv=16, d_ff=96, num_layers=2, num_heads=2,
        feed_forward_proj="gated-gelu")), 3)
    # Longer than the 128 tokens at which the position buckets end.
    ids = torch.randint(0, 50, (1, 150), generator=torch.Generator().manual_seed(3))
    weights = {n: w for n, w in model.state_dict().items() if "embed_tokens" not in n}
    save("t5.safetensors", weights, dict(input_ids=ids.to(torch.int32),
                                         last_hidden_state=model(input_ids=ids).last_hidden_state))


def clip():
    from transformers import CLIPTextConfig, CLIPTextModel
    eos = 59
    model = randomize(CLIPTextModel(CLIPTextConfig(
        vocab_size=60, hidden_size=128, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=24, hidden_act="quick_gelu",
        bos_token_id=58, eos_token_id=eos, pad_token_id=eos)), 4)
    ids = torch.randint(0, 58, (2, 20), generator=torch.Generator().manual_seed(4))
    eos_idx = torch.tensor([11, 19])
    for row, at in zip(ids, eos_idx):
        row[at:] = eos
    out = model(input_ids=ids, output_hidden_states=True)
    weights = {"text_model." + n.removeprefix("text_model."): w for n, w in model.state_dict().items()}
    save("clip.safetensors", {n: w for n, w in weights.items() if "position_ids" not in n}, dict(
        input_ids=ids.to(torch.int32), eos_idx=eos_idx.to(torch.int32),
        last_hidden_state=out.last_hidden_state, pooler_output=out.pooler_output,
        skip_1=out.hidden_states[-2]))


def vae_flux():
    from flux.modules.autoencoder import AutoEncoder, AutoEncoderParams
    model = randomize(AutoEncoder(AutoEncoderParams(
        resolution=16, in_channels=3, ch=32, out_ch=3, ch_mult=[1, 1], num_res_blocks=1,
        z_channels=16, scale_factor=0.3611, shift_factor=0.1159)), 5)
    generator = torch.Generator().manual_seed(5)
    z = torch.randn(2, 16, 3, 5, generator=generator)
    x = torch.rand(2, 3, 6, 10, generator=generator) * 2 - 1
    mean, logvar = model.encoder(x).chunk(2, dim=1)
    save("vae_flux.safetensors", model.state_dict(),
         dict(z=z, decoded=model.decode(z), x=x, mean=mean, logvar=logvar))


def vae_sd():
    """The decoder under the names of diffusers, with a shortcut and post_quant_conv."""
    from diffusers import AutoencoderKL
    model = randomize(AutoencoderKL(
        block_out_channels=(64, 32, 32, 32), layers_per_block=1, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4), 6)
    z = torch.randn(1, 4, 1, 3, generator=torch.Generator().manual_seed(6))
    weights = {n: w for n, w in model.state_dict().items()
               if n.startswith(("decoder.", "post_quant_conv."))}
    save("vae_sd_diffusers.safetensors", weights,
         dict(z=z, decoded=model.decode(z / 0.18215).sample))


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(sys.argv[1]) / "src"))
    with torch.no_grad():
        for make in (flux, flux_quantized, t5, clip, vae_flux, vae_sd):
            make()
