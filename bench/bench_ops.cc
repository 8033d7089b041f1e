// Speed of the CPU kernels at Flux's shapes, beside the f32 peak of the same minute.
//
//   bench_ops [THREADS]
//
// The machine's clock may flip for minutes: the peak is measured before every
// row, the median of five runs is printed, and the share is what to compare.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "base/stopwatch.h"
#include "base/thread_pool.h"
#include "devices/cpu/cpu_device.h"

namespace ingot {
namespace {

// GFLOP/s of independent multiply-adds in registers, all threads.
double PeakGflops(ThreadPool& pool) {
  constexpr int kLanes = 16, kChains = 12, kRounds = 1 << 21;
  typedef float Vector __attribute__((vector_size(4 * kLanes)));
  std::vector<float> sink(pool.num_threads());
  const Stopwatch watch;
  pool.ParallelFor(pool.num_threads(), [&](size_t item, size_t) {
    Vector sums[kChains] = {}, factor = {}, term = {};
    factor += 0.999f;
    term += static_cast<float>(item) + 1e-3f;
    // Chains of equal values would be computed once for all.
    for (int chain = 0; chain < kChains; ++chain) sums[chain] += static_cast<float>(chain);
    for (int round = 0; round < kRounds; ++round) {
      for (Vector& sum : sums) sum = sum * factor + term;
    }
    for (const Vector& sum : sums) sink[item] += sum[0];
  });
  const double flops = 2.0 * kLanes * kChains * kRounds * static_cast<double>(pool.num_threads());
  return sink[0] == 0.5f ? 0 : flops / watch.seconds() * 1e-9;
}

struct Case {
  const char* name;
  op::Op op;
  std::vector<Shape> shapes;
  std::vector<DType> dtypes;
  double flops;
};

struct Operand {
  std::unique_ptr<Arena> arena;
  ConstTensorView view;
};

// Small positive numbers for f32; for blocks every byte 0x11, which is a sound
// block with finite scales in every format.
Operand MakeOperand(Device& device, const Shape& shape, DType dtype) {
  auto arena = *device.Allocate(NumBytes(dtype, shape));
  if (dtype == DType::kF32) {
    auto* values = reinterpret_cast<float*>(arena->bytes().data());
    for (int64_t i = 0; i < shape.num_elements(); ++i) {
      values[i] = 1e-3f * static_cast<float>(i % 997);
    }
  } else {
    std::fill(arena->bytes().begin(), arena->bytes().end(), std::byte{0x11});
  }
  const ConstTensorView view = {dtype, shape, arena->bytes().data()};
  return {std::move(arena), view};
}

double MedianSeconds(Device& device, const Case& c) {
  std::vector<Operand> operands;
  std::vector<ConstTensorView> views;
  for (size_t i = 0; i < c.shapes.size(); ++i) {
    operands.push_back(MakeOperand(device, c.shapes[i], c.dtypes[i]));
    views.push_back(operands.back().view);
  }
  const Shape out_shape = op::InferShape(c.op, c.shapes);
  const auto out = *device.Allocate(NumBytes(DType::kF32, out_shape));
  const OpSignature signature = {&c.op, c.shapes, c.dtypes, out_shape, DType::kF32};
  const auto workspace = *device.Allocate(device.WorkspaceBytes(signature));
  const OpCall call = {
      &c.op, views, {DType::kF32, out_shape, out->bytes().data()}, workspace->bytes()};
  std::vector<double> seconds;
  for (int run = 0; run < 5; ++run) {
    const Stopwatch watch;
    if (const Status status = device.Run(call, {}); !status.ok()) {
      std::fprintf(stderr, "%s\n", status.message().c_str());
      std::exit(1);
    }
    seconds.push_back(watch.seconds());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[2];
}

Case LinearCase(const char* name, DType type, int64_t m, int64_t n, int64_t k) {
  return {name, op::Linear{}, {{1, m, k}, {n, k}}, {DType::kF32, type}, 2.0 * m * n * k};
}

Case AttentionCase(const char* name, int64_t heads, int64_t length, int64_t head_dim) {
  const Shape shape = {1, length, heads, head_dim};
  return {name,
          op::Attention{0.088f, false},
          {shape, shape, shape},
          {DType::kF32, DType::kF32, DType::kF32},
          4.0 * static_cast<double>(heads * length * length * head_dim)};
}

Case ConvCase(const char* name, int64_t channels, int64_t side) {
  return {name,
          op::Conv2d{.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1},
          {{1, side, side, channels}, {channels, channels, 3, 3}},
          {DType::kF32, DType::kF32},
          18.0 * static_cast<double>(channels * channels * side * side)};
}

int Main(int argc, char** argv) {
  const size_t num_threads = argc > 1 ? static_cast<size_t>(std::max(1, std::atoi(argv[1])))
                                      : std::max(1u, std::thread::hardware_concurrency());
  ThreadPool pool(num_threads);
  auto device = *OpenCpuDevice({.num_threads = num_threads});
  const std::vector<Case> cases = {
      LinearCase("linear Q4_0 [512,3072]x[9216,3072]", DType::kQ4_0, 512, 9216, 3072),
      LinearCase("linear Q8_0 [512,3072]x[9216,3072]", DType::kQ8_0, 512, 9216, 3072),
      LinearCase("linear F32  [512,3072]x[9216,3072]", DType::kF32, 512, 9216, 3072),
      LinearCase("linear Q4_0 [512,15360]x[3072,15360]", DType::kQ4_0, 512, 3072, 15360),
      LinearCase("linear Q4_0 [1,3072]x[18432,3072]", DType::kQ4_0, 1, 18432, 3072),
      AttentionCase("attention 24 heads, 512 tokens, d 128", 24, 512, 128),
      AttentionCase("attention 1 head, 1024 tokens, d 512", 1, 1024, 512),
      ConvCase("conv 3x3, 512 channels, 64x64", 512, 64),
      ConvCase("conv 3x3, 128 channels, 256x256", 128, 256),
  };
  std::printf("%-40s %9s %9s %9s %7s   (%zu threads, %s)\n", "op", "ms", "GFLOP/s", "peak", "share",
              num_threads, std::string(device->name()).c_str());
  (void)PeakGflops(pool);  // threads wake up and the clock rises
  for (const Case& c : cases) {
    const double peak = PeakGflops(pool);
    const double seconds = MedianSeconds(*device, c);
    const double gflops = c.flops / seconds * 1e-9;
    std::printf("%-40s %9.2f %9.1f %9.1f %6.0f%%\n", c.name, seconds * 1e3, gflops, peak,
                100 * gflops / peak);
  }
  return 0;
}

}  // namespace
}  // namespace ingot

int main(int argc, char** argv) { return ingot::Main(argc, argv); }
