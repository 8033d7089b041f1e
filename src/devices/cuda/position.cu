#include "devices/cuda/position.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "devices/cuda/rows.h"

namespace ingot::cuda {
namespace {

// A thread a pair of the output: element i and element half + i of a picture.
__global__ void TimestepEmbeddingKernel(const float* t, int64_t half, double time_factor,
                                        double max_period, float* out, int64_t num_pairs) {
  const int64_t pair = ThreadNumber();
  if (pair >= num_pairs) return;
  const int64_t picture = pair / half, i = pair % half;
  const double exponent = -static_cast<double>(i) / static_cast<double>(half);
  const double angle = time_factor * t[picture] * pow(max_period, exponent);
  out[picture * 2 * half + i] = static_cast<float>(cos(angle));
  out[picture * 2 * half + half + i] = static_cast<float>(sin(angle));
}

struct RopeAxes {
  static constexpr int kCount = 3;
  int half_dims[kCount];
  int num_pairs;  // of a token
};

// A thread a pair of the table.
__global__ void RopeTableKernel(const float* ids, RopeAxes axes, double theta, float* out,
                                int64_t num_pairs) {
  const int64_t pair = ThreadNumber();
  if (pair >= num_pairs) return;
  const int64_t token = pair / axes.num_pairs;
  int i = static_cast<int>(pair % axes.num_pairs), axis = 0;
  while (i >= axes.half_dims[axis]) i -= axes.half_dims[axis++];
  const double exponent = -static_cast<double>(i) / axes.half_dims[axis];
  const double angle = ids[token * RopeAxes::kCount + axis] * pow(theta, exponent);
  out[2 * pair] = static_cast<float>(cos(angle));
  out[2 * pair + 1] = static_cast<float>(sin(angle));
}

// The pairs of x by (cos, sin) of each.
__device__ Quad Turned(const Quad& x, const Quad& table) {
  Quad out;
  for (int i = 0; i < 4; i += 2) {
    const float cos = table.values[i], sin = table.values[i + 1];
    out.values[i] = __fmaf_rn(x.values[i], cos, -__fmul_rn(x.values[i + 1], sin));
    out.values[i + 1] = __fmaf_rn(x.values[i], sin, __fmul_rn(x.values[i + 1], cos));
  }
  return out;
}

// Of a head of a token.
struct RopeOfRow {
  const float* weight;  // null: no norm
  float eps;
  const float* table;
  unsigned num_heads;

  template <int kTeam>
  __device__ void Make(const float* x, int64_t width, float* out, unsigned row) const {
    const float* of_token = table + row / num_heads * width;
    const float inverse_rms = weight != nullptr ? InverseRms<kTeam>(x, width, eps) : 0.0f;
    ForQuads<kTeam>(width, [&](int64_t begin) {
      Quad quad = LoadQuad(x, begin, width);
      if (weight != nullptr) {
        quad = RmsNormalized(quad, inverse_rms, LoadQuad(weight, begin, width));
      }
      StoreQuad(Turned(quad, LoadQuad(of_token, begin, width)), out, begin, width);
    });
  }
};

// Where each bucket of one direction begins. On the host, as the last bit of the logarithm picks
// the bucket of some distances, and a GPU's differs.
struct Buckets {
  static constexpr int kMaxCount = 128;
  int64_t begins[kMaxCount];
  int count;

  __device__ int Of(int64_t distance) const {
    int bucket = 0;
    while (bucket + 1 < count && begins[bucket + 1] <= distance) ++bucket;
    return bucket;
  }
};

// In f32 as in the reference (transformers T5Attention._relative_position_bucket).
int BucketOf(int64_t distance, int count, int max_distance) {
  const int max_exact = count / 2;
  if (distance < max_exact) return static_cast<int>(distance);
  const float log_distance =
      std::log(static_cast<float>(distance) / static_cast<float>(max_exact)) /
      static_cast<float>(std::log(static_cast<double>(max_distance) / max_exact)) *
      static_cast<float>(count - max_exact);
  return std::min(max_exact + static_cast<int>(log_distance), count - 1);
}

Buckets BucketsOf(int count, int max_distance, int64_t length) {
  INGOT_CHECK(count >= 2 && count <= Buckets::kMaxCount);
  Buckets buckets = {.count = count};
  int next = 0;
  for (int64_t distance = 0; distance < length; ++distance) {
    const int bucket = BucketOf(distance, count, max_distance);
    while (next <= bucket) buckets.begins[next++] = distance;
  }
  while (next < count) buckets.begins[next++] = length;  // beyond what there is
  return buckets;
}

// A block a query i and head: grid (length, H).
__global__ void RelativePositionBiasKernel(const float* table, Buckets buckets, float* out) {
  const int64_t length = gridDim.x, num_heads = gridDim.y;
  const int64_t i = blockIdx.x, head = blockIdx.y;
  float* row = out + (head * length + i) * length;
  for (int64_t j = threadIdx.x; j < length; j += blockDim.x) {
    const int bucket = j > i ? buckets.count + buckets.Of(j - i) : buckets.Of(i - j);
    row[j] = table[bucket * num_heads + head];
  }
}

}  // namespace

void Run(const op::TimestepEmbedding& op, const OpCall& call, const Context& context) {
  const int64_t half = op.dim / 2, num_pairs = call.inputs[0].shape.num_elements() * half;
  Launch(GridOver(num_pairs), context.stream, TimestepEmbeddingKernel, FloatsOf(call.inputs[0]),
         half, static_cast<double>(op.time_factor), static_cast<double>(op.max_period),
         FloatsOf(call.output), num_pairs);
}

void Run(const op::RopeTable& op, const OpCall& call, const Context& context) {
  static_assert(RopeAxes::kCount == std::tuple_size_v<decltype(op.axes_dim)>);
  RopeAxes axes = {};
  for (int axis = 0; axis < RopeAxes::kCount; ++axis) {
    axes.half_dims[axis] = op.axes_dim[static_cast<size_t>(axis)] / 2;
    axes.num_pairs += axes.half_dims[axis];
  }
  const int64_t num_pairs = call.output.shape.num_elements() / 2;
  Launch(GridOver(num_pairs), context.stream, RopeTableKernel, FloatsOf(call.inputs[0]), axes,
         static_cast<double>(op.theta), FloatsOf(call.output), num_pairs);
}

void Run(const op::Rope&, const OpCall& call, const Context& context) {
  MakeRows(RopeOfRow{.table = FloatsOf(call.inputs[1]),
                     .num_heads = static_cast<unsigned>(call.output.shape[2])},
           call, context.stream);
}

void Run(const op::RmsNormRope& op, const OpCall& call, const Context& context) {
  MakeRows(RopeOfRow{.weight = FloatsOf(call.inputs[1]),
                     .eps = op.eps,
                     .table = FloatsOf(call.inputs[2]),
                     .num_heads = static_cast<unsigned>(call.output.shape[2])},
           call, context.stream);
}

void Run(const op::RelativePositionBias& op, const OpCall& call, const Context& context) {
  const Shape& table = call.inputs[0].shape;
  const dim3 blocks(static_cast<unsigned>(op.length), static_cast<unsigned>(table[1]));
  Launch({blocks, dim3(kBlockThreads)}, context.stream, RelativePositionBiasKernel,
         FloatsOf(call.inputs[0]),
         BucketsOf(static_cast<int>(table[0] / 2), op.max_distance, op.length),
         FloatsOf(call.output));
}

}  // namespace ingot::cuda
