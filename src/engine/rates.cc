#include "engine/rates.h"

#include <algorithm>
#include <array>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/sha256.h"
#include "base/stopwatch.h"
#include "devices/cpu/cpu_target.h"
#include "engine/bench.h"
#include "engine/json.h"
#include "pipeline/record.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

// "model name" of the first processor; empty where the kernel tells none.
std::string ProcessorName() {
  const Result<std::string> text = ReadSmallFile("/proc/cpuinfo");
  if (!text.ok()) return {};
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("model name")) return line;
  }
  return {};
}

fs::path NoteOf(const fs::path& folder, const std::string& key) {
  return folder / Sha256(std::as_bytes(std::span(key))).substr(0, 16);
}

// {"key", "values"}: numbers above 0, all of `count`.
std::optional<std::vector<double>> Remembered(const fs::path& folder, const std::string& key,
                                              size_t count) {
  const Result<std::string> text = ReadSmallFile(NoteOf(folder, key));
  if (!text.ok()) return std::nullopt;
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object() || json.value("key", Json()) != key) return std::nullopt;
  const Json& values = json.value("values", Json());
  if (!values.is_array() || values.size() != count) return std::nullopt;
  std::vector<double> numbers;
  for (const Json& value : values) {
    if (!value.is_number() || !(value.get<double>() > 0)) return std::nullopt;
    numbers.push_back(value.get<double>());
  }
  return numbers;
}

void Remember(const fs::path& folder, const std::string& key, const std::vector<double>& values) {
  std::error_code ignored;
  fs::create_directories(folder, ignored);
  const std::string text = Dump({{"key", key}, {"values", values}});
  const auto out = AtomicFile::Create(NoteOf(folder, key));
  if (!out.ok() || !(*out)->Write(std::as_bytes(std::span(text))).ok()) return;
  static_cast<void>((*out)->Commit());
}

// `measure` gives `count` numbers, or none.
template <typename Measure>
std::optional<std::vector<double>> Find(const fs::path& folder, const std::string& key,
                                        size_t count, bool may_measure, const Measure& measure) {
  if (auto known = Remembered(folder, key, count)) return known;
  if (!may_measure) return std::nullopt;
  const std::optional<std::vector<double>> values = measure();
  if (!values) return std::nullopt;
  if (auto known = Remembered(folder, key, count)) return known;
  Remember(folder, key, *values);
  return values;
}

// Seconds of reads of `piece_bytes`, every `stride` of the file, and how many bytes there were; few
// where `most_s` are over sooner. None: the file cannot be read.
struct TimedReads {
  double seconds = 0, num_reads = 0, num_bytes = 0;
};
std::optional<TimedReads> TimeReads(const File& file, std::span<std::byte> pages,
                                    int64_t piece_bytes, int64_t stride, int64_t most_bytes,
                                    double most_s) {
  const int64_t end = std::min(most_bytes, static_cast<int64_t>(file.size_bytes()));
  TimedReads reads;
  const Stopwatch watch;
  for (int64_t at = 0; at < end && reads.seconds < most_s; at += stride) {
    const int64_t num_bytes = std::min(piece_bytes, end - at);
    const auto size = static_cast<size_t>(PagesBytes(static_cast<uint64_t>(at), num_bytes));
    if (!file.ReadPages(static_cast<uint64_t>(at), num_bytes, pages.first(size), {}).ok()) {
      return std::nullopt;
    }
    ++reads.num_reads;
    reads.num_bytes += static_cast<double>(num_bytes);
    reads.seconds = watch.seconds();
  }
  return reads.num_bytes > 0 ? std::optional(reads) : std::nullopt;
}

std::optional<std::vector<double>> MeasureReads(Device& cpu, const File& file) {
  constexpr int64_t kPieceBytes = 4 << 20, kMostBytes = 64 << 20, kStride = 64 << 10;
  const Result<std::unique_ptr<Arena>> arena = cpu.Allocate(kPieceBytes);
  if (!arena.ok()) return std::nullopt;
  const std::span<std::byte> pages = (*arena)->bytes();
  const auto large = TimeReads(file, pages, kPieceBytes, kPieceBytes, kMostBytes, 0.15);
  const auto small = TimeReads(file, pages, kPageBytes, kStride, 32 * kStride, 0.05);
  if (!large || !small) return std::nullopt;
  return std::vector{large->num_bytes / large->seconds, small->seconds / small->num_reads};
}

}  // namespace

std::optional<DeviceRates> FindRates(Device& cpu, size_t num_threads, const fs::path& folder,
                                     bool may_measure) {
  const std::string key = fmt::format("{}; {}; {} threads; numerics {}; rates 1", ProcessorName(),
                                      cpu::ActiveTarget(), num_threads, kNumericsVersion);
  DeviceRates rates;
  std::vector<double*> fields = {&rates.weights, &rates.filters, &rates.bytes, &rates.calls,
                                 &rates.allocated_bytes};
  for (double& product : rates.ops) fields.push_back(&product);
  const auto measure = [&]() -> std::optional<std::vector<double>> {
    const Result<DeviceRates> measured = MeasureRates(cpu);
    if (!measured.ok()) return std::nullopt;
    rates = *measured;
    std::vector<double> values;
    for (const double* field : fields) values.push_back(*field);
    return values;
  };
  const auto values = Find(folder, key, fields.size(), may_measure, measure);
  if (!values) return std::nullopt;
  for (size_t i = 0; i < fields.size(); ++i) *fields[i] = (*values)[i];
  rates.reads = kUnmeasuredReads;
  return rates;
}

LinkRates FindReadRates(Device& cpu, const File& file, const fs::path& folder, bool may_measure) {
  const std::string identity = file.identity();  // begins with the device of the file system
  const std::string key = fmt::format("reads of {}", identity.substr(0, identity.find('-')));
  const auto values = Find(folder, key, 2, may_measure, [&] { return MeasureReads(cpu, file); });
  return values ? LinkRates{(*values)[0], (*values)[1]} : kUnmeasuredReads;
}

std::optional<FixedBytes> FindFixedBytes(const std::string& gpu, const fs::path& folder) {
  const auto values = Remembered(folder, "fixed bytes of " + gpu, 2);
  if (!values) return std::nullopt;
  return FixedBytes{static_cast<int64_t>((*values)[0]), static_cast<int64_t>((*values)[1])};
}

void RememberFixedBytes(const std::string& gpu, const FixedBytes& fixed, const fs::path& folder) {
  if (FindFixedBytes(gpu, folder) == fixed) return;
  Remember(folder, "fixed bytes of " + gpu,
           {static_cast<double>(fixed.device), static_cast<double>(fixed.host)});
}

}  // namespace ingot
