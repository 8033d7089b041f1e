#include "engine/bench.h"

#include <algorithm>
#include <array>
#include <limits>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/stopwatch.h"
#include "base/thread_pool.h"
#include "devices/cpu/cpu_device.h"
#include "devices/cpu/peaks.h"
#include "tensor/codec.h"

namespace ingot {
namespace {

enum class Unit { kInt8, kF32 };  // the peak that an op is held against

struct Case {
  std::string name, type, shape;
  op::Op op;
  std::vector<Shape> shapes;
  std::vector<DType> dtypes;
  double num_ops;
  Unit unit;
  DType output = DType::kF32;
};

Case LinearCase(DType type, op::Compute compute, int64_t m, int64_t n, int64_t k) {
  op::Linear op;
  op.compute = compute;
  return {.name = "linear",
          .type = std::string(Name(type)),
          .shape = fmt::format("M={} N={} K={}", m, n, k),
          .op = op,
          .shapes = {{1, m, k}, {n, k}},
          .dtypes = {DType::kF32, type},
          .num_ops = 2.0 * static_cast<double>(m * n * k),
          .unit = compute == op::Compute::kI8 ? Unit::kInt8 : Unit::kF32};
}

Case AttentionCase(op::Compute compute, int64_t length, int64_t heads, int64_t head_dim) {
  const Shape shape = {1, length, heads, head_dim};
  return {.name = "attention",
          .type = compute == op::Compute::kF32   ? "f32"
                  : compute == op::Compute::kI16 ? "i16"
                                                 : "i8",
          .shape = fmt::format("L={} H={} Dh={}", length, heads, head_dim),
          .op = op::Attention{.scale = 0.088f, .compute = compute},
          .shapes = {shape, shape, shape},
          .dtypes = {DType::kF32, DType::kF32, DType::kF32},
          .num_ops = 4.0 * static_cast<double>(heads * length * length * head_dim),
          .unit = compute == op::Compute::kF32 ? Unit::kF32 : Unit::kInt8};
}

// A convolution of the VAE's decoder, its norm in front; operations of the direct sum.
Case ConvCase(op::Compute compute, int64_t side, int64_t channels, int64_t filters, bool upsample) {
  op::Conv2d op{.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  op.compute = compute;
  op.norm_silu = !upsample;
  op.upsample = upsample;
  const DType picture = compute == op::Compute::kF32 ? DType::kF32 : DType::kF16;
  const int64_t out = upsample ? 2 * side : side;
  Case c{.name = upsample ? "upsample+conv2d" : "norm+silu+conv2d",
         .type = compute == op::Compute::kF32 ? "f32" : "i16",
         .shape = fmt::format("{0}x{0} C={1} O={2}", side, channels, filters),
         .op = op,
         .shapes = {{1, side, side, channels}},
         .dtypes = {picture},
         .num_ops = 18.0 * static_cast<double>(channels * filters * out * out),
         .unit = Unit::kF32,
         .output = picture};
  if (op.norm_silu) {
    c.shapes.insert(c.shapes.end(), {{1, 32, 2}, {channels}, {channels}});
    c.dtypes.insert(c.dtypes.end(), 3, DType::kF32);
  }
  c.shapes.push_back({filters, channels, 3, 3});
  c.dtypes.push_back(DType::kF32);
  return c;
}

std::vector<Case> Cases() {
  using op::Compute;
  std::vector<Case> cases;
  for (int64_t m : {1280, 4352}) {
    for (DType type : {DType::kQ4_0, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K, DType::kQ5_0}) {
      cases.push_back(LinearCase(type, Compute::kI8, m, 12288, 3072));
    }
    cases.push_back(LinearCase(DType::kQ4_0, Compute::kI8, m, 3072, 3072));
    cases.push_back(LinearCase(DType::kQ4_0, Compute::kI8, m, 21504, 3072));
    cases.push_back(LinearCase(DType::kQ4_0, Compute::kI8, m, 3072, 15360));
  }
  for (DType type : {DType::kF16, DType::kBF16, DType::kF32}) {
    cases.push_back(LinearCase(type, Compute::kI16, 1280, 3072, 3072));
  }
  cases.push_back(LinearCase(DType::kF16, Compute::kF32, 1280, 3072, 3072));
  cases.push_back(LinearCase(DType::kQ4_0, Compute::kF32, 4, 18432, 3072));
  for (Compute compute : {Compute::kI16, Compute::kI8, Compute::kF32}) {
    for (int64_t length : {1280, 4352}) cases.push_back(AttentionCase(compute, length, 24, 128));
  }
  cases.push_back(AttentionCase(Compute::kI16, 4096, 1, 512));
  for (Compute compute : {Compute::kI16, Compute::kF32}) {
    cases.push_back(ConvCase(compute, 64, 512, 512, false));
    cases.push_back(ConvCase(compute, 128, 512, 512, false));
    cases.push_back(ConvCase(compute, 256, 256, 256, false));
    cases.push_back(ConvCase(compute, 512, 256, 128, false));
    cases.push_back(ConvCase(compute, 512, 128, 128, false));
    cases.push_back(ConvCase(compute, 256, 256, 256, true));
  }
  return cases;
}

// Normal numbers; in a quantized type where it can be written, else blocks of
// 0x11, which are sound and finite in every format.
void FillOperand(DType dtype, const Shape& shape, std::span<std::byte> out) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(std::min<int64_t>(shape.num_elements(), 1 << 16)));
  for (float& value : values) value = normal(random);
  const int64_t num_elements = shape.num_elements();
  const DTypeInfo& info = Info(dtype);
  const bool writable = dtype == DType::kF32 || CanQuantize(dtype);
  if (!writable) {
    std::ranges::fill(out, std::byte{0x11});
    return;
  }
  for (int64_t at = 0; at < num_elements; at += static_cast<int64_t>(values.size())) {
    const int64_t count = std::min<int64_t>(static_cast<int64_t>(values.size()), num_elements - at);
    std::byte* to = out.data() + at / info.block_elements * info.block_bytes;
    QuantizeRow(dtype, values.data(), to, count);
  }
}

OpSignature SignatureOf(const Case& c) {
  return {&c.op, c.shapes, c.dtypes, op::InferShape(c.op, c.shapes), c.output};
}

// Of several runs, the fastest first.
Result<std::vector<double>> RunSeconds(Device& device, const Case& c, std::stop_token stop) {
  std::vector<std::unique_ptr<Arena>> arenas;
  std::vector<ConstTensorView> views;
  for (size_t i = 0; i < c.shapes.size(); ++i) {
    INGOT_ASSIGN_OR_RETURN(auto arena, device.Allocate(NumBytes(c.dtypes[i], c.shapes[i])));
    FillOperand(c.dtypes[i], c.shapes[i], arena->bytes());
    views.push_back({c.dtypes[i], c.shapes[i], arena->bytes().data()});
    arenas.push_back(std::move(arena));
  }
  const OpSignature signature = SignatureOf(c);
  const Shape shape = signature.output_shape;
  INGOT_ASSIGN_OR_RETURN(const auto out, device.Allocate(NumBytes(c.output, shape)));
  INGOT_RETURN_IF_ERROR(device.Supports(signature));
  INGOT_ASSIGN_OR_RETURN(const auto workspace, device.Allocate(device.WorkspaceBytes(signature)));
  const OpCall call = {&c.op, views, {c.output, shape, out->bytes().data()}, workspace->bytes()};
  std::vector<double> seconds;
  for (int run = 0; run < 5; ++run) {
    const Stopwatch watch;
    INGOT_RETURN_IF_ERROR(device.Run(call, stop));
    seconds.push_back(watch.seconds());
  }
  std::ranges::sort(seconds);
  return seconds;
}

// Of the first GiB, in pieces as large as a weight.
Result<double> DiskRate(const std::string& path) {
  INGOT_ASSIGN_OR_RETURN(const std::shared_ptr<const File> file, File::Open(path));
  std::vector<std::byte> piece(16 << 20);
  const uint64_t end = std::min<uint64_t>(file->size_bytes(), 1 << 30);
  const Stopwatch watch;
  for (uint64_t at = 0; at < end; at += piece.size()) {
    const auto bytes = std::span(piece).first(std::min<uint64_t>(piece.size(), end - at));
    INGOT_RETURN_IF_ERROR(file->ReadAndDrop(at, bytes));
  }
  return static_cast<double>(end) / watch.seconds();
}

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

Result<BenchReport> Bench(const BenchOptions& options) {
  BenchReport report;
  if (!options.read_file.empty()) {
    INGOT_ASSIGN_OR_RETURN(report.disk_read_bytes_per_s, DiskRate(options.read_file));
  }
  INGOT_ASSIGN_OR_RETURN(auto device, OpenCpuDevice({.num_threads = options.num_threads}));
  ThreadPool pool(options.num_threads);
  std::vector<double> int8, f32;
  const auto measure_peaks = [&] {
    const cpu::Peaks peaks = cpu::MeasurePeaks(pool);
    int8.push_back(peaks.int8_ops * 1e-9);
    f32.push_back(peaks.f32_flops * 1e-9);
  };
  measure_peaks();
  const std::vector<Case> cases = options.peaks_only ? std::vector<Case>() : Cases();
  for (const Case& c : cases) {
    INGOT_ASSIGN_OR_RETURN(const std::vector<double> runs, RunSeconds(*device, c, options.stop));
    const double seconds = runs[runs.size() / 2];
    measure_peaks();
    std::vector<double>& peaks = c.unit == Unit::kInt8 ? int8 : f32;
    const double peak = std::max(peaks[peaks.size() - 2], peaks.back());
    const double gops = c.num_ops / seconds * 1e-9;
    report.ops.push_back({c.name, c.type, c.shape, gops, seconds, gops / peak});
    if (options.progress) {
      options.progress(static_cast<int>(report.ops.size()), static_cast<int>(cases.size()));
    }
  }
  report.int8_gops = Median(int8);
  report.f32_gflops = Median(f32);
  return report;
}

Result<DeviceRates> MeasureRates(Device& device) {
  using op::Compute;
  constexpr double kUnknown = std::numeric_limits<double>::infinity();
  DeviceRates rates = {.weights = kUnknown,
                       .filters = kUnknown,
                       .bytes = kUnknown,
                       .calls = kUnknown,
                       .allocated_bytes = kUnknown};
  rates.ops.fill(kUnknown);
  // `rate` is what makes `amount` take all of the case's time that the rates before do not explain;
  // at least a tenth of it.
  const auto measure = [&](const Case& c, double& rate, double OpCost::*amount) -> Status {
    INGOT_ASSIGN_OR_RETURN(const std::vector<double> runs, RunSeconds(device, c, {}));
    const OpCost cost = CostOf(SignatureOf(c));
    const double explained = Seconds(cost, rates);
    rate = cost.*amount / std::max(runs.front() - explained, runs.front() / 10);
    return {};
  };
  const Case call = LinearCase(DType::kF32, Compute::kF32, 1, 64, 64);
  INGOT_ASSIGN_OR_RETURN(const std::vector<double> calls, RunSeconds(device, call, {}));
  rates.calls = 1 / calls.front();
  const Case norm = {.name = "rms_norm",
                     .type = "f32",
                     .shape = "",
                     .op = op::RmsNorm{.eps = 1e-6f},
                     .shapes = {{1, 256, 3072}, {3072}},
                     .dtypes = {DType::kF32, DType::kF32},
                     .num_ops = 0,
                     .unit = Unit::kF32};
  INGOT_RETURN_IF_ERROR(measure(norm, rates.bytes, &OpCost::num_bytes));
  INGOT_RETURN_IF_ERROR(measure(LinearCase(DType::kQ4_0, Compute::kF32, 1, 1024, 3072),
                                rates.weights, &OpCost::num_weights));
  INGOT_RETURN_IF_ERROR(
      measure(ConvCase(Compute::kI16, 8, 256, 256, false), rates.filters, &OpCost::num_filters));
  const auto measure_product = [&](Product product, const Case& c) {
    return measure(c, rates.ops[static_cast<size_t>(product)], &OpCost::num_ops);
  };
  const std::array<std::pair<Product, Case>, kNumProducts> products = {{
      {Product::kLinearF32, LinearCase(DType::kF16, Compute::kF32, 256, 512, 1024)},
      {Product::kLinearI16, LinearCase(DType::kF16, Compute::kI16, 256, 512, 1024)},
      {Product::kLinearI8, LinearCase(DType::kQ4_0, Compute::kI8, 256, 1024, 1024)},
      {Product::kAttentionF32, AttentionCase(Compute::kF32, 512, 2, 128)},
      {Product::kAttentionI16, AttentionCase(Compute::kI16, 512, 2, 128)},
      {Product::kAttentionI8, AttentionCase(Compute::kI8, 512, 2, 128)},
      {Product::kConvF32, ConvCase(Compute::kF32, 64, 128, 128, false)},
      {Product::kConvI16, ConvCase(Compute::kI16, 64, 128, 128, false)},
  }};
  for (const auto& [product, c] : products) INGOT_RETURN_IF_ERROR(measure_product(product, c));
  constexpr int64_t kArenaBytes = 16 << 20;
  std::vector<double> allocations;
  for (int i = 0; i < 3; ++i) {
    const Stopwatch watch;
    INGOT_RETURN_IF_ERROR(device.Allocate(kArenaBytes).status());
    allocations.push_back(watch.seconds());
  }
  rates.allocated_bytes = static_cast<double>(kArenaBytes) / *std::ranges::min_element(allocations);
  return rates;
}

}  // namespace ingot
