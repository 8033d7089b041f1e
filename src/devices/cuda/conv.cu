#include "devices/cuda/conv.h"

#include <algorithm>

#include "devices/cuda/activation.h"
#include "devices/cuda/kernel.h"
#include "devices/cuda/matmul.h"

namespace ingot::cuda {
namespace {

// Bytes of windows at a time: pixels enough for a product that fills the GPU (7168 of 9 * 512
// channels in 16 bits), few enough for a small card.
constexpr int64_t kWindowsBytes = int64_t{64} << 20;
constexpr int64_t kPixelGrid = 256;  // of the number of pixels at a time
constexpr int64_t kAlignment = 256;  // of the parts of the workspace

int64_t Aligned(int64_t num_bytes) {
  return (num_bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// What the rows of windows are made of. Rows are of the whole picture, and of the view from
// window_begin on.
template <class T>
struct Picture {
  const T* data;
  int64_t pixel_stride;
  int rows, view_rows, window_begin, width, channels;
  // Null: the picture is x itself; else silu(group_norm(x)).
  const float* stats;
  const float* norm_weight;
  const float* norm_bias;
  int num_groups;

  // Channels from `channel` on of a pixel.
  template <int V>
  __device__ Vector<float, V> at(int picture, int row, int column, int channel) const {
    const int64_t pixel =
        (static_cast<int64_t>(picture) * view_rows + row - window_begin) * width + column;
    const auto x = Vector<T, V>::At(data + pixel * pixel_stride + channel);
    Vector<float, V> out;
    for (int i = 0; i < V; ++i) {
      out.values[i] = ToFloat(x.values[i]);
      if (stats != nullptr) out.values[i] = Activated(out.values[i], picture, channel + i);
    }
    return out;
  }

 private:
  __device__ float Activated(float x, int picture, int channel) const {
    const float* of_group = stats + 2 * (picture * num_groups + channel / (channels / num_groups));
    const float normalized = (x - of_group[0]) * of_group[1];
    return Activate(op::UnaryKind::kSilu,
                    __fmaf_rn(normalized, norm_weight[channel], norm_bias[channel]));
  }
};

// Where the windows of the call's output pixels begin, and how far they reach.
struct Windows {
  int kernel_rows, kernel_columns, stride, pad_top, pad_left;
  int begin;  // first row of the call's output in the whole one
  int out_rows, out_width;
  bool upsample;
};

// Rows of windows [num_pixels, kernel_rows * kernel_columns * channels] of the output pixels from
// first_pixel on. A thread V channels of a pixel and tap: grid (pixels and channels, taps).
template <class T, class Out, int V>
__global__ void WindowsKernel(Picture<T> x, Windows windows, int64_t first_pixel, int num_pixels,
                              Out* out) {
  const int vectors = x.channels / V, tap = static_cast<int>(blockIdx.y);
  const auto thread = static_cast<int>(ThreadNumber());
  const int at = thread / vectors, channel = thread % vectors * V;
  if (at >= num_pixels) return;
  const int64_t pixel = first_pixel + at, line = pixel / windows.out_width;
  const int column = static_cast<int>(pixel - line * windows.out_width);
  const int row = static_cast<int>(line % windows.out_rows) + windows.begin;
  const int picture = static_cast<int>(line / windows.out_rows);
  const int y = row * windows.stride - windows.pad_top + tap / windows.kernel_columns;
  const int x_at = column * windows.stride - windows.pad_left + tap % windows.kernel_columns;
  const int factor = windows.upsample ? 2 : 1;
  Vector<float, V> values = {};
  if (y >= 0 && y < x.rows * factor && x_at >= 0 && x_at < x.width * factor) {
    values = x.template at<V>(picture, y / factor, x_at / factor, channel);
  }
  Vector<Out, V> made;
  for (int i = 0; i < V; ++i) made.values[i] = FromFloat<Out>(values.values[i]);
  Vector<Out, V>::At(out + (static_cast<int64_t>(at) * gridDim.y + tap) * x.channels + channel) =
      made;
}

// Filters [O, C, taps], at any address -> [O, taps, C].
template <class T, class Out>
__global__ void FiltersKernel(const unsigned char* filters, float scale, int64_t channels,
                              int64_t taps, Out* out, int64_t num_elements) {
  const int64_t i = ThreadNumber();
  if (i >= num_elements) return;
  const int64_t channel = i % channels, tap = i / channels % taps, filter = i / channels / taps;
  const int64_t from = (filter * channels + channel) * taps + tap;
  const T value = LoadUnaligned<T>(filters + from * static_cast<int64_t>(sizeof(T)));
  out[i] = FromFloat<Out>(ToFloat(value) * scale);
}

// out = product + residual of the pixels from first_pixel on; no residual: null.
template <class Residual, class Out>
__global__ void StoreKernel(const float* product, const Residual* residual, int64_t residual_stride,
                            int64_t num_filters, int64_t first_pixel, Out* out, int64_t out_stride,
                            int64_t num_elements) {
  const int64_t i = ThreadNumber();
  if (i >= num_elements) return;
  const int64_t pixel = first_pixel + i / num_filters, filter = i % num_filters;
  float value = product[i];
  if (residual != nullptr) value += ToFloat(residual[pixel * residual_stride + filter]);
  out[pixel * out_stride + filter] = FromFloat<Out>(value);
}

// f(T) for the type of a picture, of filters or of a product.
template <class F>
void WithType(DType dtype, const F& f) {
  if (dtype == DType::kF32) return f(float{});
  if (dtype == DType::kF16) return f(__half{});
  INGOT_CHECK(dtype == DType::kBF16);
  f(__nv_bfloat16{});
}

bool IsPictureType(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16; }

// Of an element of the windows and of the filters in the product, on any GPU.
int64_t ElementBytes(const op::Conv2d& op) { return op.compute == op::Compute::kF32 ? 4 : 2; }

// The parts of a workspace, by the shapes of the op.
struct Parts {
  int64_t num_pixels;  // at a time
  int64_t windows_bytes, filters_bytes, product_bytes;
  int64_t num_bytes() const {
    return windows_bytes + filters_bytes + product_bytes + Matmul::kWorkspaceBytes;
  }
};

Parts PartsOf(const op::Conv2d& op, const Shape& filters, int64_t num_pixels) {
  const int64_t k = filters[1] * filters[2] * filters[3];
  const int64_t row_bytes = k * ElementBytes(op);
  const int64_t most = std::max(kWindowsBytes / row_bytes / kPixelGrid * kPixelGrid, kPixelGrid);
  const int64_t pixels = std::min(most, num_pixels);
  return {.num_pixels = pixels,
          .windows_bytes = Aligned(pixels * row_bytes),
          .filters_bytes = Aligned(filters[0] * row_bytes),
          .product_bytes = Aligned(pixels * filters[0] * static_cast<int64_t>(sizeof(float)))};
}

}  // namespace

bool AcceptsDType(const op::Conv2d& op, int input_idx, DType dtype) {
  const op::Conv2dOperands at = op::OperandsOf(op);
  if (input_idx == at.weight) return IsPictureType(dtype) || dtype == DType::kBF16;
  const bool is_picture = input_idx <= 0 || input_idx == at.residual;
  return is_picture ? IsPictureType(dtype) : dtype == DType::kF32;
}

int64_t WorkspaceBytes(const op::Conv2d& op, const OpSignature& signature) {
  const Shape& filters = signature.input_shapes[static_cast<size_t>(op::OperandsOf(op).weight)];
  const Shape& out = signature.output_shape;
  return PartsOf(op, filters, out[0] * out[1] * out[2]).num_bytes();
}

void Run(const op::Conv2d& op, const OpCall& call, const Context& context) {
  const op::Conv2dOperands at = op::OperandsOf(op);
  const auto operand = [&](int idx) { return call.inputs[static_cast<size_t>(idx)]; };
  const auto floats = [&](int idx) { return idx < 0 ? nullptr : FloatsOf(operand(idx)); };
  const ConstTensorView &x = call.inputs[0], &weight = operand(at.weight);
  const Shape& out = call.output.shape;
  const Strip strip = call.strip != nullptr ? *call.strip : Strip{.picture_rows = x.shape[1]};
  const int64_t channels = x.shape[3], num_filters = out[3];
  const int64_t taps = weight.shape[2] * weight.shape[3];
  const int64_t num_pixels = out[0] * out[1] * out[2];
  const Parts parts = PartsOf(op, weight.shape, num_pixels);
  INGOT_CHECK(static_cast<int64_t>(call.workspace.size()) >= parts.num_bytes());
  std::byte* const windows = call.workspace.data();
  std::byte* const filters = windows + parts.windows_bytes;
  auto* const product = reinterpret_cast<float*>(filters + parts.filters_bytes);
  const std::span<std::byte> scratch(filters + parts.filters_bytes + parts.product_bytes,
                                     Matmul::kWorkspaceBytes);
  const DType dtype = op.compute == op::Compute::kF32 ? DType::kF32 : context.matmul.half_type();
  const auto number = [](int64_t n) { return static_cast<int>(n); };

  const Windows places = {
      number(weight.shape[2]), number(weight.shape[3]), op.stride,      op.pad_top, op.pad_left,
      number(strip.begin),     number(out[1]),          number(out[2]), op.upsample};
  const auto write_filters = [&]<class Out>(Out) {
    WithType(weight.dtype, [&]<class T>(T) {
      const int64_t count = weight.shape.num_elements();
      Launch(GridOver(count), context.stream, FiltersKernel<T, Out>,
             reinterpret_cast<const unsigned char*>(weight.data), weight.scale, channels, taps,
             reinterpret_cast<Out*>(filters), count);
    });
  };
  const auto write_windows = [&](int64_t first_pixel, int64_t count) {
    const auto write = [&]<class T, class Out>(T, Out) {
      const Picture<T> picture = {
          .data = reinterpret_cast<const T*>(x.data),
          .pixel_stride = x.RowStride(channels),
          .rows = number(strip.picture_rows),
          .view_rows = number(x.shape[1]),
          .window_begin = number(strip.window_begin),
          .width = number(x.shape[2]),
          .channels = number(channels),
          .stats = op.norm_silu ? floats(at.stats) : nullptr,
          .norm_weight = floats(at.norm_weight),
          .norm_bias = floats(at.norm_bias),
          .num_groups = op.norm_silu ? number(operand(at.stats).shape[1]) : 0};
      constexpr int kVector = 4;
      const bool takes_vectors =
          channels % kVector == 0 && picture.pixel_stride % kVector == 0 &&
          reinterpret_cast<uintptr_t>(picture.data) % alignof(Vector<T, kVector>) == 0;
      const int64_t elements = count * channels;
      Grid grid = GridOver(takes_vectors ? elements / kVector : elements);
      grid.blocks.y = static_cast<unsigned>(taps);
      Launch(grid, context.stream,
             takes_vectors ? WindowsKernel<T, Out, kVector> : WindowsKernel<T, Out, 1>, picture,
             places, first_pixel, number(count), reinterpret_cast<Out*>(windows));
    };
    WithType(x.dtype,
             [&]<class T>(T t) { WithType(dtype, [&]<class Out>(Out o) { write(t, o); }); });
  };
  const auto store = [&](int64_t first_pixel, int64_t count) {
    const int64_t elements = count * num_filters;
    const auto run = [&]<class Residual, class Out>(Residual, Out) {
      const Residual* residual = nullptr;
      int64_t stride = 0;
      if (at.residual >= 0) {
        residual = reinterpret_cast<const Residual*>(operand(at.residual).data);
        stride = operand(at.residual).RowStride(num_filters);
      }
      Launch(GridOver(elements), context.stream, StoreKernel<Residual, Out>, product, residual,
             stride, num_filters, first_pixel, reinterpret_cast<Out*>(call.output.data),
             call.output.RowStride(num_filters), elements);
    };
    WithType(at.residual < 0 ? DType::kF32 : operand(at.residual).dtype,
             [&]<class Residual>(Residual r) {
               WithType(call.output.dtype, [&]<class Out>(Out o) { run(r, o); });
             });
  };

  WithType(dtype, write_filters);
  for (int64_t first = 0; first < num_pixels; first += parts.num_pixels) {
    const int64_t count = std::min(parts.num_pixels, num_pixels - first);
    write_windows(first, count);
    context.matmul.Run({.dtype = dtype,
                        .m = count,
                        .n = num_filters,
                        .k = taps * channels,
                        .x = windows,
                        .weight = filters,
                        .bias = floats(at.bias),
                        .y = product,
                        .y_stride = num_filters},
                       scratch, context.stream);
    store(first, count);
  }
}

}  // namespace ingot::cuda
