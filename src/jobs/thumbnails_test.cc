#include "jobs/thumbnails.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "engine/questions.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

class ThumbnailsTest : public testing::Test {
 protected:
  ThumbnailsTest()
      : folder_(fs::temp_directory_path() / fmt::format("ingot-thumbs-{}", ::getpid())) {
    fs::create_directories(folder_);
    const std::string png = *PngBytes(600, 300, std::vector<uint8_t>(600 * 300 * 3, 40));
    std::ofstream(folder_ / "p.png", std::ios::binary) << png;
  }
  ~ThumbnailsTest() override { fs::remove_all(folder_); }
  JobRow Row(const std::string& id) const {
    const Json images = Json::array({{{"path", (folder_ / "p.png").string()}}});
    return {.id = id, .state = JobState::kDone, .record = {{"images", images}}, .num_images = 1};
  }
  size_t NumKept() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_ / "t"), {}));
  }
  static std::pair<int, int> Size(const std::string& png) {
    // Width and height of IHDR, which is the first chunk: 8 bytes of signature, 8 of its head.
    const auto number = [&](size_t at) {
      int value = 0;
      for (size_t i = at; i < at + 4; ++i) value = value << 8 | static_cast<uint8_t>(png[i]);
      return value;
    };
    return {number(16), number(20)};
  }

  fs::path folder_;
};

TEST_F(ThumbnailsTest, AreMadeOnceInOneOfThreeSizes) {
  Thumbnails thumbnails(folder_ / "t");
  EXPECT_EQ(Size(*thumbnails.Get(Row("a"), 0, 200)), std::pair(256, 128));
  EXPECT_EQ(Size(*thumbnails.Get(Row("a"), 0, 5000)), std::pair(512, 256));
  EXPECT_EQ(NumKept(), 2u);
  fs::remove(folder_ / "p.png");
  EXPECT_TRUE(thumbnails.Get(Row("a"), 0, 256).ok());
  EXPECT_EQ(thumbnails.Get(Row("a"), 0, 1).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(thumbnails.Get(Row("a"), 1, 256).status().code(), StatusCode::kNotFound);
}

TEST_F(ThumbnailsTest, StayWithinTheirBytes) {
  Thumbnails all(folder_ / "t");
  const auto num_bytes = static_cast<int64_t>(all.Get(Row("first"), 0, 128)->size());
  Thumbnails thumbnails(folder_ / "t", num_bytes * 8);
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(thumbnails.Get(Row(fmt::format("j{}", i)), 0, 128).ok());
    EXPECT_LE(NumKept(), 8u);
  }
  EXPECT_GE(NumKept(), 6u);
  EXPECT_FALSE(fs::exists(folder_ / "t" / "first-0-128.png")) << "the oldest goes";
}

TEST_F(ThumbnailsTest, GoWithTheirJob) {
  Thumbnails thumbnails(folder_ / "t");
  ASSERT_TRUE(thumbnails.Get(Row("a"), 0, 128).ok());
  thumbnails.Remove(Row("a"));
  EXPECT_EQ(NumKept(), 0u);
}

}  // namespace
}  // namespace ingot
