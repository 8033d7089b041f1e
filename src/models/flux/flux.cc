#include "models/flux/flux.h"

#include "models/flux/layers.h"

namespace ingot::flux {

FluxInputs DeclareFluxInputs(Graph& g, const FluxConfig& c, const FluxShape& shape) {
  const int64_t b = shape.batch;
  FluxInputs in;
  in.img = g.Input("img", {b, shape.img_tokens, c.in_channels});
  in.img_ids = g.Input("img_ids", {b, shape.img_tokens, 3});
  in.txt = g.Input("txt", {b, shape.txt_tokens, c.context_in_dim});
  in.txt_ids = g.Input("txt_ids", {b, shape.txt_tokens, 3});
  in.timesteps = g.Input("timesteps", {b});
  in.y = g.Input("y", {b, c.vec_in_dim});
  if (c.guidance_embed) in.guidance = g.Input("guidance", {b});
  return in;
}

Value Flux(Graph& g, const FluxConfig& c, const Scope& w, const FluxInputs& in) {
  const op::TimestepEmbedding embedding;  // layers.py timestep_embedding: 256 wide, time * 1000
  Value img = g.Linear(w / "img_in", in.img, c.hidden_size, {.sensitive = true});
  Value vec = MLPEmbedder(g, c, w / "time_in", g.TimestepEmbedding(in.timesteps, embedding));
  if (c.guidance_embed) {
    const Value guidance = g.TimestepEmbedding(in.guidance, embedding);
    vec = g.Add(vec, MLPEmbedder(g, c, w / "guidance_in", guidance));
  }
  vec = g.Add(vec, MLPEmbedder(g, c, w / "vector_in", in.y));
  const Value txt = g.Linear(w / "txt_in", in.txt, c.hidden_size, {.sensitive = true});

  const Value ids = g.Concat({in.txt_ids, in.img_ids}, 1);
  const Conditioning cond = {vec, g.RopeTable(ids, c.axes_dim, c.theta)};

  ImgTxt x = {img, txt};
  for (int i = 0; i < c.depth; ++i) {
    x = DoubleStreamBlock(g, c, w / "double_blocks" / i, x, cond);
  }

  img = g.Concat({x.txt, x.img}, 1);
  for (int i = 0; i < c.depth_single_blocks; ++i) {
    img = SingleStreamBlock(g, c, w / "single_blocks" / i, img, cond);
  }
  img = g.Slice(img, 1, g.shape(txt)[1], g.shape(img)[1]);
  return LastLayer(g, c, w / "final_layer", img, vec);
}

}  // namespace ingot::flux
