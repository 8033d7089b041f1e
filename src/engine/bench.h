// Speeds of the device's ops beside the peaks of the processor, in one run.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "devices/device.h"
#include "memory/cost.h"

namespace ingot {

struct BenchOptions {
  size_t num_threads = 1;
  std::string read_file;  // whose direct reads give the disk's rate; empty: not measured
  bool peaks_only = false;
  std::function<void(int done, int count)> progress = {};
  std::stop_token stop = {};
};

struct BenchedOp {
  std::string op;     // "linear", "attention", "conv2d", …
  std::string type;   // of the weights, or of the products: "Q4_0", "i16"
  std::string shape;  // "M=1280 N=3072 K=3072"
  double gops = 0;    // operations a second * 1e-9; a multiply-add counts 2
  double seconds = 0;
  double share_of_peak = 0;  // of the peak below that its products run at, measured beside it
};

struct BenchReport {
  double int8_gops = 0;  // medians of the peaks beside the ops
  double f32_gflops = 0;
  double disk_read_bytes_per_s = 0;
  std::vector<BenchedOp> ops;
};

// Shapes of Flux, T5 and the VAE with made-up data. An op's time is the median of
// several runs; the peak is measured before and after it, since the clock of a
// shared machine may halve for minutes.
Result<BenchReport> Bench(const BenchOptions& options);

// What plans predict seconds from, of a small case each: the fastest of several runs. All but
// reads and copies.
Result<DeviceRates> MeasureRates(Device& device);

}  // namespace ingot
