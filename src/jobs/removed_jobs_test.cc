#include "jobs/removed_jobs.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

#include "jobs/sqlite_queue.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

TEST(RemovedJobs, RowAndPicturesEndAfterTheirTime) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("ingot-removed-{}", ::getpid());
  fs::create_directories(folder);
  const auto queue = *OpenSqliteQueue(folder / "queue.sqlite");
  Thumbnails thumbnails(folder / "thumbnails");
  const fs::path picture = folder / "picture.png";
  std::ofstream(picture) << "pixels";
  const JobRow row = *queue->Add({.output_folder = "o"});
  ASSERT_TRUE(queue->Claim("w", "")->has_value());
  const Json images = Json::array({{{"path", picture.string()}}});
  ASSERT_TRUE(
      queue->Finish(row.id, "w", {.state = JobState::kDone, .record = {{"images", images}}}).ok());
  ASSERT_TRUE(queue->Remove(row.id).ok());
  {
    const RemovedJobs patient(*queue, thumbnails, 3600);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_TRUE(fs::exists(picture));
  {
    const RemovedJobs removed(*queue, thumbnails, 0.1);
    for (int i = 0; i < 200 && fs::exists(picture); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  EXPECT_FALSE(fs::exists(picture));
  EXPECT_EQ(queue->Restore(row.id).status().code(), StatusCode::kNotFound);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace ingot
