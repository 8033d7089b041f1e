// What can be done with model files without a job: inspect, list, quantize.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "library/library.h"
#include "tensor/dtype.h"

namespace ingot {

// Elements and bytes of all tensors of one type.
struct TypeTotal {
  int64_t num_tensors = 0;
  int64_t num_elements = 0;
  int64_t num_bytes = 0;
};

// By the type's name.
std::map<std::string, TypeTotal> TotalsByType(const TensorFile& file);

// Where the SHA-256 of model files and the rates of the machine are remembered (XDG base
// directories).
std::filesystem::path HashFolder();
std::filesystem::path RatesFolder();

struct QuantizeProgress {
  int64_t done_bytes = 0;  // of the input's tensors
  int64_t total_bytes = 0;
};

// Writes `in` as a GGUF whose matrices have `type`; what stays as it is: vectors,
// convolutions, tensors whose rows are no whole blocks, and, for block formats,
// the projections in and out of a Flux, as in the files people share (city96).
// One tensor is in memory at a time. kInvalidArgument for a type Ingot does not
// encode; the finished file appears under its name, or nothing does.
Status QuantizeFile(const std::filesystem::path& in, const std::filesystem::path& out, DType type,
                    const std::function<void(const QuantizeProgress&)>& progress,
                    std::stop_token stop);

}  // namespace ingot
