// Seconds of ops from a few rates of a device: what a plan predicts. No choice depends on them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "devices/device.h"

namespace ingot {

// Products that have a rate of their own; by op::Compute.
enum class Product : uint8_t {
  kLinearF32,
  kLinearI16,
  kLinearI8,
  kAttentionF32,
  kAttentionI16,
  kAttentionI8,
  kConvF32,
  kConvI16,
};
inline constexpr size_t kNumProducts = 8;

// What one call of an op does.
struct OpCost {
  Product product = Product::kLinearF32;
  double num_ops = 0;      // of the product; a multiply-add counts 2
  double num_weights = 0;  // that a Linear unpacks
  double num_filters = 0;  // elements of the filters that a Conv2d transforms
  double num_bytes = 0;    // of all other operands and of the output
};

// A Conv2d counts the operations of the direct sum; two thirds of them where it upsamples: it
// computes four ninths of the products, of which Winograd saves less.
OpCost CostOf(const OpSignature& signature);

// What a load takes from where weights are kept: bytes / bytes_per_s + load_s.
struct LinkRates {
  double bytes_per_s = 0, load_s = 0;
  bool operator==(const LinkRates&) const = default;
};

// Facts of a device, measured (engine/bench.h): a second has so many.
struct DeviceRates {
  std::array<double, kNumProducts> ops = {};
  double weights = 0;
  double filters = 0;
  double bytes = 0;            // operands of norms and the like
  double calls = 0;            // of ops that do next to nothing
  double allocated_bytes = 0;  // of an arena
  LinkRates reads;             // from a file to where weights are used
  LinkRates copies;            // from RAM there, on a device with memory of its own
  bool operator==(const DeviceRates&) const = default;
};

// All that the op does, one after the other.
double Seconds(const OpCost& cost, const DeviceRates& rates);

}  // namespace ingot
