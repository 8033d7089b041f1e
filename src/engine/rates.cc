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

// {"key", "values"}: numbers above 0, all of `count`.
std::optional<std::vector<double>> Remembered(const fs::path& path, const std::string& key,
                                              size_t count) {
  const Result<std::string> text = ReadSmallFile(path);
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

// `measure` gives `count` numbers, or none.
template <typename Measure>
std::optional<std::vector<double>> Find(const fs::path& folder, const std::string& key,
                                        size_t count, bool may_measure, const Measure& measure) {
  const fs::path path = folder / Sha256(std::as_bytes(std::span(key))).substr(0, 16);
  if (auto known = Remembered(path, key, count)) return known;
  if (!may_measure) return std::nullopt;
  const std::optional<std::vector<double>> values = measure();
  if (!values) return std::nullopt;
  if (auto known = Remembered(path, key, count)) return known;
  std::error_code ignored;
  fs::create_directories(folder, ignored);
  const std::string text = Dump({{"key", key}, {"values", *values}});
  if (const auto out = AtomicFile::Create(path); out.ok()) {
    if ((*out)->Write(std::as_bytes(std::span(text))).ok()) static_cast<void>((*out)->Commit());
  }
  return values;
}

std::optional<std::vector<double>> MeasureReads(Device& cpu, const File& file) {
  constexpr int64_t kPieceBytes = 4 << 20, kMostBytes = 64 << 20;
  constexpr double kMostSeconds = 0.15;
  const Result<std::unique_ptr<Arena>> arena = cpu.Allocate(kPieceBytes);
  const int64_t end = std::min(kMostBytes, static_cast<int64_t>(file.size_bytes()));
  int64_t at = 0;
  const Stopwatch watch;
  while (arena.ok() && at < end && watch.seconds() < kMostSeconds) {
    const int64_t num_bytes = std::min(kPieceBytes, end - at);
    const auto pages = (*arena)->bytes().first(
        static_cast<size_t>(PagesBytes(static_cast<uint64_t>(at), num_bytes)));
    if (!file.ReadPages(static_cast<uint64_t>(at), num_bytes, pages, {}).ok()) return std::nullopt;
    at += num_bytes;
  }
  if (at == 0) return std::nullopt;
  return std::vector{static_cast<double>(at) / watch.seconds()};
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
  rates.read_bytes = kUnmeasuredReadRate;
  return rates;
}

double FindReadRate(Device& cpu, const File& file, const fs::path& folder, bool may_measure) {
  const std::string identity = file.identity();  // begins with the device of the file system
  const std::string key = fmt::format("reads of {}", identity.substr(0, identity.find('-')));
  const auto values = Find(folder, key, 1, may_measure, [&] { return MeasureReads(cpu, file); });
  return values ? values->front() : kUnmeasuredReadRate;
}

}  // namespace ingot
