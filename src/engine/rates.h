// What this machine does in a second, measured once and remembered from process to process.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>

#include "base/file.h"
#include "devices/copy_engine.h"
#include "devices/device.h"
#include "memory/cost.h"

namespace ingot {

// Of reads past the page cache, from a file system that was never measured.
inline constexpr LinkRates kUnmeasuredReads = {1e9, 1e-4};

// What MeasureRates holds at most, beside the process.
inline constexpr int64_t kMeasuringBytes = 24 << 20;

// Of the CPU device, but for reads: what `folder` remembers of this processor, its level, the
// threads and the numerics version. Else measured, where `may_measure`, and remembered: half a
// second on two slow cores. Of two processes that measure at once both take what the first has
// written. None where nothing is known; a folder that cannot be read or written is no fault.
std::optional<DeviceRates> FindRates(Device& cpu, size_t num_threads,
                                     const std::filesystem::path& folder, bool may_measure);

// Of the file system that holds `file`, in the same way: the beginning of the file is read, for
// 0.15 s at most, and some of its pages one by one.
LinkRates FindReadRates(Device& cpu, const File& file, const std::filesystem::path& folder,
                        bool may_measure);

// What the driver of the GPU of this name (CudaGpuName) was last seen to take, and the note of it
// for the processes that plan without a GPU's context.
std::optional<FixedBytes> FindFixedBytes(const std::string& gpu,
                                         const std::filesystem::path& folder);
void RememberFixedBytes(const std::string& gpu, const FixedBytes& fixed,
                        const std::filesystem::path& folder);

}  // namespace ingot
