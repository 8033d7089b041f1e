// A weights file that fails while it streams, and cancels in the middle of reads.
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "graph/passes/split.h"
#include "network.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

// Runs twice with the least ring; `fault` happens before op 8 of the first run.
class FaultsTest : public testing::Test {
 protected:
  FaultsTest() {
    EXPECT_TRUE(
        program_.PlaceWeights({.num_bytes = LeastBytes(program_.weight_uses()), .num_runs = 2})
            .ok());
  }
  Status RunWithFault(const std::function<void()>& fault) {
    auto execution = Execution::Start(program_, device_);
    EXPECT_TRUE(execution.ok());
    int num_ops = 0;
    device_.before_op = [&] {
      if (num_ops++ == 8) fault();
    };
    Status status = RunLayers(**execution, 0, {}, y_);
    if (status.ok()) status = RunLayers(**execution, 0, {}, y_);
    return status;
  }
  void ExpectNamed(const Status& status) {
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << status.message();
    EXPECT_NE(status.message().find(file_.path().string()), std::string::npos) << status.message();
  }

  const Graph graph_ = Layers(6);
  const WeightsFile file_ = WeightsFile(graph_);
  WatchedDevice device_;
  Program program_ = Compile(graph_, file_, device_);
  std::vector<float> y_;
};

TEST_F(FaultsTest, AFileCutWhileItStreamsIsNamed) {
  ExpectNamed(RunWithFault([&] { fs::resize_file(file_.path(), 10000); }));
}

TEST_F(FaultsTest, AFileCutToNothingIsNamed) {
  ExpectNamed(RunWithFault([&] { std::ofstream(file_.path(), std::ios::trunc).flush(); }));
}

TEST_F(FaultsTest, AFileWrittenOverWhileItStreamsIsNamed) {
  ExpectNamed(RunWithFault([&] {
    std::fstream file(file_.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(5000);
    file << "other weights";
  }));
}

TEST_F(FaultsTest, AFileReplacedByAnotherOfItsNameIsReadToItsEnd) {
  ASSERT_TRUE(RunWithFault([] {}).ok());
  const std::vector<float> expected = y_;
  EXPECT_TRUE(RunWithFault([&] {
                const fs::path other = file_.path().parent_path() / "other";
                std::ofstream(other) << "other weights";
                fs::rename(other, file_.path());
              }).ok());
  EXPECT_EQ(y_, expected);
}

TEST_F(FaultsTest, AnErrorOfTheDeviceEndsTheRunAndTheReader) {
  std::stop_source source;
  auto execution = Execution::Start(program_, device_);
  device_.before_op = [&] { source.request_stop(); };  // the device sees it
  EXPECT_EQ(RunLayers(**execution, 0, source.get_token(), y_).code(), StatusCode::kCancelled);
}

// 256 MiB in one tensor, a hole in the file.
TEST(CancelTest, InTheMiddleOfALongReadTakesAMomentOnly) {
  const int64_t rows = 1 << 16, width = 1 << 10;
  Graph g;
  g.MarkOutput("y", g.Linear(Scope(), g.Input("x", {1, width}), rows, {.bias = false}));
  const fs::path path = fs::path(testing::TempDir()) / "ingot_long_read.safetensors";
  std::string header =
      fmt::format(R"({{"weight":{{"dtype":"F32","shape":[{},{}],"data_offsets":[0,{}]}}}})", rows,
                  width, rows * width * 4);
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t header_bytes = header.size();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(&header_bytes), 8)
      .write(header.data(), static_cast<std::streamsize>(header_bytes));
  fs::resize_file(path, 8 + header_bytes + static_cast<uint64_t>(rows * width * 4));
  auto opened = OpenTensorFile(path);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const auto tensors =
      NameTensors(std::make_shared<TensorFile>(*std::move(opened)),
                  [](std::string_view name) { return std::optional<std::string>(name); });
  WatchedDevice device;
  const auto program = Program::Compile(std::move(g), tensors, device);
  ASSERT_TRUE(program.ok()) << program.status().message();
  // On a busy machine the read may end before the stop comes: then it is tried again.
  bool was_cut = false;
  for (int attempt = 0; attempt < 20 && !was_cut; ++attempt) {
    auto execution = Execution::Start(*program, device);
    ASSERT_TRUE(execution.ok()) << execution.status().message();
    std::stop_source source;
    std::chrono::steady_clock::time_point stopped;
    std::jthread canceller([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      stopped = std::chrono::steady_clock::now();
      source.request_stop();
    });
    const Status status = (*execution)->Run(source.get_token());
    was_cut = (*execution)->streamed_bytes() < rows * width * 4;
    execution->reset();
    const auto ended = std::chrono::steady_clock::now();
    canceller.join();
    if (!was_cut) continue;
    EXPECT_EQ(status.code(), StatusCode::kCancelled);
    EXPECT_LT(ended - stopped, std::chrono::milliseconds(300));
  }
  EXPECT_TRUE(was_cut);
  fs::remove(path);
}

// 64 columns of which [16, 48) are read.
Graph MiddleColumns(int64_t out) {
  Graph g;
  const Value y = g.Linear(Scope("fc"), g.Input("x", {4, 256}), out);
  g.MarkOutput("y", g.Slice(y, -1, 16, out - 16));
  return g;
}

TEST(RowsOfWeights, AreReadFromTheirPlaceInTheTensor) {
  const Graph whole = MiddleColumns(64), split = Split(whole);
  ASSERT_EQ(DumpText(split).find("slice"), std::string::npos);
  const WeightsFile file(whole);
  WatchedDevice device;
  std::vector<std::vector<float>> results;
  for (const Graph* graph : {&whole, &split}) {
    const Program program = Compile(*graph, file, device);
    auto execution = Execution::Start(program, device);
    ASSERT_TRUE(execution.ok()) << execution.status().message();
    const std::span<float> x = (*execution)->Input("x").As<float>();
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) - 6.0f;
    ASSERT_TRUE((*execution)->Run({}).ok());
    const std::span<const float> y = (*execution)->Output("y").As<float>();
    results.emplace_back(y.begin(), y.end());
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(RowsOfWeights, AreCheckedAgainstTheWholeTensor) {
  const WeightsFile file(MiddleColumns(96));
  const WatchedDevice device;
  const Status status = Program::Compile(Split(MiddleColumns(64)), file.Open(), device).status();
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
  EXPECT_NE(status.message().find("'fc.weight': expected shape [64, 256], found [96, 256]"),
            std::string::npos)
      << status.message();
}

}  // namespace
}  // namespace ingot
