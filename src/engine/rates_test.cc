#include "engine/rates.h"

#include <gtest/gtest.h>

#include <fstream>

#include "devices/cpu/cpu_device.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

class RatesTest : public testing::Test {
 protected:
  RatesTest() {
    INGOT_CHECK(::mkdtemp(name_.data()) != nullptr);
    Result<std::unique_ptr<Device>> device = OpenCpuDevice({.num_threads = 2});
    INGOT_CHECK(device.ok());
    device_ = *std::move(device);
  }
  ~RatesTest() override { fs::remove_all(name_); }

  std::string name_ = (fs::temp_directory_path() / "ingot-rates-XXXXXX").string();
  std::unique_ptr<Device> device_;
};

TEST_F(RatesTest, WhatWasMeasuredIsRemembered) {
  const fs::path folder = fs::path(name_) / "cache" / "rates";
  EXPECT_FALSE(FindRates(*device_, 2, folder, /*may_measure=*/false).has_value());
  const auto measured = FindRates(*device_, 2, folder, /*may_measure=*/true);
  ASSERT_TRUE(measured.has_value());
  for (const double rate : measured->ops) EXPECT_GT(rate, 0);
  const auto remembered = FindRates(*device_, 2, folder, /*may_measure=*/false);
  ASSERT_TRUE(remembered.has_value());
  EXPECT_EQ(remembered->ops, measured->ops) << "to the last bit";
  EXPECT_EQ(remembered->weights, measured->weights);
  EXPECT_FALSE(FindRates(*device_, 3, folder, false).has_value()) << "three threads are others";
}

TEST_F(RatesTest, BrokenCacheIsMeasuredAnew) {
  ASSERT_TRUE(FindRates(*device_, 2, name_, true).has_value());
  for (const fs::path& path : fs::directory_iterator(name_)) std::ofstream(path) << "{\"key\": 1";
  EXPECT_FALSE(FindRates(*device_, 2, name_, false).has_value());
  EXPECT_TRUE(FindRates(*device_, 2, name_, true).has_value());
}

TEST_F(RatesTest, FolderThatCannotBeWrittenIsNoFault) {
  const fs::path file = fs::path(name_) / "file";
  std::ofstream(file) << "x";
  EXPECT_TRUE(FindRates(*device_, 2, file / "rates", true).has_value());
}

TEST_F(RatesTest, ReadsAreMeasuredOnceAFileSystem) {
  const fs::path path = fs::path(name_) / "weights";
  std::ofstream(path) << std::string(1 << 20, 'x');
  const auto file = File::Open(path);
  ASSERT_TRUE(file.ok());
  const fs::path folder = fs::path(name_) / "rates";
  EXPECT_EQ(FindReadRates(*device_, **file, folder, false), kUnmeasuredReads);
  const LinkRates measured = FindReadRates(*device_, **file, folder, true);
  EXPECT_GT(measured.bytes_per_s, 0);
  EXPECT_GT(measured.load_s, 0);
  EXPECT_EQ(FindReadRates(*device_, **file, folder, false), measured);
}

TEST_F(RatesTest, FixedBytesAreThoseOfTheGpuOfTheName) {
  const fs::path folder = fs::path(name_) / "rates";
  EXPECT_EQ(FindFixedBytes("a", folder), std::nullopt);
  const FixedBytes first = {.device = 300 << 20, .host = 90 << 20};
  const FixedBytes later = {.device = 310 << 20, .host = 91 << 20};
  for (const FixedBytes& fixed : {first, later}) {
    RememberFixedBytes("a", fixed, folder);
    EXPECT_EQ(FindFixedBytes("a", folder), fixed);
  }
  EXPECT_EQ(FindFixedBytes("b", folder), std::nullopt);
}

}  // namespace
}  // namespace ingot
