#include "devices/cuda/group_norm.h"

#include <algorithm>

#include "devices/cuda/kernel.h"

namespace ingot::cuda {
namespace {

// Sums of a row of one group: of the distances from the group's first element in the row, and of
// their squares.
struct RowSums {
  double first, sum, sum_of_squares;
};

// A block a row of a picture: grid (rows of the call, pictures). Neighbouring threads read
// neighbouring channels; each sums some pixels of its channels, and the sums of a group's channels
// are added in order.
template <class T>
__global__ void RowSumsKernel(Elements<const T> x, int64_t width, int channels, int num_groups,
                              int64_t first_row, int64_t picture_rows, RowSums* sums) {
  const int num_threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const int columns = channels < num_threads ? channels : num_threads;
  const int num_lanes = num_threads / columns;  // that share the pixels of a channel
  const int lane = thread / columns, group_channels = channels / num_groups;
  const int64_t row = blockIdx.x, picture = blockIdx.y;
  const int64_t begin = (picture * gridDim.x + row) * width * channels;
  auto* of_channels = DynamicShared<double2>();  // [num_lanes, channels]
  for (int channel = thread % columns; lane < num_lanes && channel < channels; channel += columns) {
    const double first = ToFloat(x[begin + channel / group_channels * group_channels]);
    double2 sum = {0.0, 0.0};
    for (int64_t pixel = lane; pixel < width; pixel += num_lanes) {
      const double distance = ToFloat(x[begin + pixel * channels + channel]) - first;
      sum.x += distance;
      sum.y += distance * distance;
    }
    of_channels[lane * channels + channel] = sum;
  }
  __syncthreads();
  for (int group = thread; group < num_groups; group += num_threads) {
    RowSums total = {ToFloat(x[begin + group * group_channels]), 0.0, 0.0};
    for (int i = 0; i < num_lanes * group_channels; ++i) {
      const double2 sum =
          of_channels[i / group_channels * channels + group * group_channels + i % group_channels];
      total.sum += sum.x;
      total.sum_of_squares += sum.y;
    }
    sums[(picture * num_groups + group) * picture_rows + first_row + row] = total;
  }
}

// A warp a group of a picture: mean and 1 / sqrt(variance + eps), from the sums of its rows (Chan,
// Golub and LeVeque 1983: of equal counts), lanes and then rows in order.
__global__ void StatsKernel(const RowSums* sums, int64_t picture_rows, double row_count, float eps,
                            float* stats) {
  const RowSums* rows = sums + static_cast<int64_t>(blockIdx.x) * picture_rows;
  double mean = 0.0;
  for (int64_t row = threadIdx.x; row < picture_rows; row += kWarp) {
    mean += rows[row].first + rows[row].sum / row_count;
  }
  mean = SumOfWarp(mean) / picture_rows;
  double variance = 0.0;
  for (int64_t row = threadIdx.x; row < picture_rows; row += kWarp) {
    const double shift = rows[row].sum / row_count;
    const double distance = rows[row].first + shift - mean;
    variance += rows[row].sum_of_squares / row_count - shift * shift + distance * distance;
  }
  variance = SumOfWarp(variance) / picture_rows;
  if (threadIdx.x == 0) {
    stats[2 * blockIdx.x] = static_cast<float>(mean);
    stats[2 * blockIdx.x + 1] = static_cast<float>(1.0 / sqrt(variance + eps));
  }
}

template <class T>
__global__ void NormalizeKernel(Elements<const T> x, const float* stats, const float* weight,
                                const float* bias, int64_t channels, int64_t num_groups,
                                int64_t picture_elements, Elements<float> out,
                                int64_t num_elements) {
  const int64_t i = ThreadNumber();
  if (i >= num_elements) return;
  const int64_t channel = i % channels, group = channel / (channels / num_groups);
  const float* of_group = stats + 2 * (i / picture_elements * num_groups + group);
  const float normalized = (ToFloat(x[i]) - of_group[0]) * of_group[1];
  out[i] = __fmaf_rn(normalized, weight[channel], bias[channel]);
}

// Statistics of the call's rows; written once the last row of the picture is there.
template <class T>
void FindStats(const ConstTensorView& x, int num_groups, float eps, const Strip& strip,
               RowSums* sums, float* stats, cudaStream_t stream) {
  const int64_t pictures = x.shape[0], rows = x.shape[1], width = x.shape[2], channels = x.shape[3];
  const auto dim = [](int64_t n) { return static_cast<unsigned>(n); };
  const int64_t num_sums = std::max<int64_t>(channels, kBlockThreads);
  Launch({dim3(dim(rows), dim(pictures)), dim3(kBlockThreads),
          static_cast<size_t>(num_sums) * sizeof(double2)},
         stream, RowSumsKernel<T>, ElementsOf<T>(x), width, static_cast<int>(channels), num_groups,
         strip.begin, strip.picture_rows, sums);
  if (strip.begin + rows < strip.picture_rows) return;
  Launch({dim3(dim(pictures * num_groups)), dim3(kWarp)}, stream, StatsKernel, sums,
         strip.picture_rows, static_cast<double>(width * (channels / num_groups)), eps, stats);
}

int64_t SumsBytes(const Shape& x, int num_groups) {
  return x[0] * num_groups * x[1] * static_cast<int64_t>(sizeof(RowSums));
}

// f(T) for the type of a picture.
template <class F>
void WithPictureType(DType dtype, const F& f) {
  dtype == DType::kF16 ? f(__half{}) : f(float{});
}

bool IsPictureType(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16; }

}  // namespace

void Run(const op::GroupNormStats& op, const OpCall& call, const Context& context) {
  const ConstTensorView& x = call.inputs[0];
  const Strip whole = {.picture_rows = x.shape[1]};
  WithPictureType(x.dtype, [&]<class T>(T) {
    FindStats<T>(x, op.num_groups, op.eps, call.strip != nullptr ? *call.strip : whole,
                 reinterpret_cast<RowSums*>(call.workspace.data()), FloatsOf(call.output),
                 context.stream);
  });
}

int64_t WorkspaceBytes(const op::GroupNormStats& op, const OpSignature& signature) {
  return SumsBytes(signature.input_shapes[0], op.num_groups);
}

bool AcceptsDType(const op::GroupNormStats&, int input_idx, DType dtype) {
  return input_idx == 0 ? IsPictureType(dtype) : dtype == DType::kF32;
}

void Run(const op::GroupNorm& op, const OpCall& call, const Context& context) {
  const ConstTensorView& x = call.inputs[0];
  const int64_t count = x.shape.num_elements();
  auto* sums = reinterpret_cast<RowSums*>(call.workspace.data());
  auto* stats = reinterpret_cast<float*>(call.workspace.data() + SumsBytes(x.shape, op.num_groups));
  WithPictureType(x.dtype, [&]<class T>(T) {
    FindStats<T>(x, op.num_groups, op.eps, {.picture_rows = x.shape[1]}, sums, stats,
                 context.stream);
    Launch(GridOver(count), context.stream, NormalizeKernel<T>, ElementsOf<T>(x), stats,
           FloatsOf(call.inputs[1]), FloatsOf(call.inputs[2]), x.shape[3],
           static_cast<int64_t>(op.num_groups), count / x.shape[0], ElementsOf<float>(call.output),
           count);
  });
}

int64_t WorkspaceBytes(const op::GroupNorm& op, const OpSignature& signature) {
  const Shape& x = signature.input_shapes[0];
  return SumsBytes(x, op.num_groups) +
         x[0] * op.num_groups * 2 * static_cast<int64_t>(sizeof(float));
}

bool AcceptsDType(const op::GroupNorm&, int input_idx, DType dtype) {
  return input_idx == 0 ? IsPictureType(dtype) : dtype == DType::kF32;
}

}  // namespace ingot::cuda
