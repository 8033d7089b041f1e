#include "jobs/sqlite_queue.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <chrono>

namespace ingot {
namespace {

namespace fs = std::filesystem;

PictureNames Names(const std::string& counter, int count, int64_t at_least = 0) {
  return {
      .counter = counter, .count = count, .at_least = at_least, .path = [](int64_t number, int) {
        return fs::path(fmt::format("/x/{}.png", number));
      }};
}

class SqliteQueueTest : public testing::Test {
 protected:
  SqliteQueueTest()
      : folder_(fs::temp_directory_path() / fmt::format("ingot-queue-{}", ::getpid())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    Open();
  }
  ~SqliteQueueTest() override { fs::remove_all(folder_); }

  fs::path path() const { return folder_ / "queue.sqlite"; }
  void Open() {
    queue_.reset();
    Result<std::unique_ptr<JobQueue>> queue = OpenSqliteQueue(path(), {.busy_timeout_ms = 50});
    ASSERT_TRUE(queue.ok()) << queue.status().message();
    queue_ = *std::move(queue);
  }
  JobRow Add(const std::string& prompt, int priority = 0, const std::string& client = "",
             const std::string& key = "") {
    QueuedJob job{.idempotency_key = key, .output_folder = "txt2img-images"};
    job.row.job = {{"prompt", prompt}, {"seed", 7}};
    job.row.door_state = {{"door", prompt}};
    job.row.plan = {{"peak_ram_bytes", 5}};
    job.row.priority = priority;
    job.row.client = client;
    const Result<JobRow> row = queue_->Add(job);
    EXPECT_TRUE(row.ok()) << row.status().message();
    return *row;
  }
  // The prompt of the next job; empty: none.
  std::string Claim() {
    const Result<std::optional<QueuedJob>> job = queue_->Claim("w", "");
    EXPECT_TRUE(job.ok()) << job.status().message();
    return *job ? (*job)->row.job["prompt"].get<std::string>() : "";
  }
  std::string ClaimAll() {
    std::string all;
    for (std::string prompt = Claim(); !prompt.empty(); prompt = Claim()) all += prompt + " ";
    return all;
  }
  void Execute(const char* sql) {
    sqlite3* other = nullptr;
    ASSERT_EQ(::sqlite3_open(path().c_str(), &other), SQLITE_OK);
    EXPECT_EQ(::sqlite3_exec(other, sql, nullptr, nullptr, nullptr), SQLITE_OK);
    ::sqlite3_close(other);
  }
  // Takes back what migrations have added.
  void MakeFirstVersion() {
    Execute(
        "DROP INDEX jobs_in_lists; DROP INDEX jobs_removed; DROP INDEX jobs_waiting;"
        "ALTER TABLE jobs DROP COLUMN model; ALTER TABLE jobs DROP COLUMN num_images;"
        "ALTER TABLE jobs DROP COLUMN removed; ALTER TABLE jobs DROP COLUMN place;"
        "CREATE INDEX jobs_waiting ON jobs (priority DESC, id) WHERE state = 'queued';"
        "PRAGMA user_version=1");
  }

  fs::path folder_;
  std::unique_ptr<JobQueue> queue_;
};

TEST_F(SqliteQueueTest, FirstComeFirstServedWithinAPriority) {
  Add("a"), Add("b"), Add("urgent", 1), Add("late", -1);
  EXPECT_EQ(Claim(), "urgent");
  EXPECT_EQ(Claim(), "a");
  EXPECT_EQ(Claim(), "b");
  EXPECT_EQ(Claim(), "late");
  EXPECT_EQ(Claim(), "");
}

TEST_F(SqliteQueueTest, PositionCountsThoseBefore) {
  const JobRow a = Add("a"), b = Add("b"), c = Add("c");
  EXPECT_EQ(*queue_->Position(a.id), 0);
  EXPECT_EQ(*queue_->Position(c.id), 2);
  ASSERT_TRUE(queue_->Move(c.id, {.priority = 1}).ok());
  EXPECT_EQ(*queue_->Position(c.id), 0);
  EXPECT_EQ(*queue_->Position(b.id), 2);
  EXPECT_EQ(*queue_->CountQueued(), 3);
  EXPECT_EQ(Claim(), "c");
  EXPECT_EQ(queue_->Move(c.id, {.priority = 1}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(queue_->Move("none", {.priority = 1}).code(), StatusCode::kNotFound);
}

TEST_F(SqliteQueueTest, AMovedJobStandsWhereItWasPutAlsoAfterAnotherOpen) {
  std::vector<std::string> ids;
  for (const char* prompt : {"a", "b", "c", "d", "e"}) ids.push_back(Add(prompt).id);
  const auto move = [&](size_t job, int position) {
    EXPECT_TRUE(queue_->Move(ids[job], {.position = position}).ok());
    EXPECT_EQ(*queue_->Position(ids[job]), std::min(position, 4));
  };
  move(3, 0);    // d a b c e
  move(0, 2);    // d b a c e
  move(4, 1);    // d e b a c
  move(3, 100);  // e b a c d
  Add("f");
  Open();
  EXPECT_EQ(ClaimAll(), "e b a c d f ");
}

TEST_F(SqliteQueueTest, AQueueOfTheFirstVersionKeepsItsOrder) {
  Add("a"), Add("b"), Add("urgent", 1), Add("c");
  MakeFirstVersion();
  Open();
  Add("d");
  EXPECT_EQ(ClaimAll(), "urgent a b c d ");
}

TEST_F(SqliteQueueTest, AMovedJobTakesItsNeighboursPriorityWhereItsOwnIsInTheWay) {
  const JobRow high = Add("high", 5), low = Add("low", -5), a = Add("a"), b = Add("b", 2);
  const auto priority = [&](const JobRow& job) { return (*queue_->Get(job.id)).priority; };
  ASSERT_TRUE(queue_->Move(low.id, {.position = 0}).ok());  // low high b a
  EXPECT_EQ(priority(low), 5);
  ASSERT_TRUE(queue_->Move(high.id, {.position = 3}).ok());  // low b a high
  EXPECT_EQ(priority(high), 0);
  ASSERT_TRUE(queue_->Move(a.id, {.priority = 3, .position = 1}).ok());  // low a b high
  EXPECT_EQ(priority(a), 3);
  EXPECT_EQ(priority(b), 2);
  EXPECT_EQ(ClaimAll(), "low a b high ");
}

TEST_F(SqliteQueueTest, ARunningJobIsQueuedAgainBeforeThoseThatWereMovedMeanwhile) {
  Add("a");
  const std::string id = (*queue_->Claim("w", ""))->row.id;
  Add("b");
  const JobRow c = Add("c");
  ASSERT_TRUE(queue_->Move(c.id, {.position = 0}).ok());
  ASSERT_TRUE(queue_->Requeue(id, "w", 0, std::nullopt).ok());
  EXPECT_EQ(ClaimAll(), "a c b ");
}

TEST_F(SqliteQueueTest, RowsAreWhatTheyWereAfterAnotherOpen) {
  const JobRow row = Add("a \"quoted\" é", 3, "me");
  Open();
  const Result<JobRow> again = queue_->Get(row.id);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->job, row.job);
  EXPECT_EQ(again->door_state, row.door_state);
  EXPECT_EQ(again->plan, row.plan);
  EXPECT_EQ(again->priority, 3);
  EXPECT_EQ(again->client, "me");
  EXPECT_EQ(again->state, JobState::kQueued);
  EXPECT_EQ(queue_->Get("none").status().code(), StatusCode::kNotFound);
}

TEST_F(SqliteQueueTest, IdsRiseAlsoOverAnOpen) {
  std::string last;
  for (int i = 0; i < 20; ++i) {
    const std::string id = Add("x").id;
    EXPECT_LT(last, id);
    last = id;
    if (i == 10) Open();
  }
}

TEST_F(SqliteQueueTest, AKeyOfAClientIsOneJob) {
  const std::string id = Add("a", 0, "me", "k").id;
  EXPECT_EQ(Add("other", 0, "me", "k").id, id);
  EXPECT_NE(Add("a", 0, "you", "k").id, id);
  EXPECT_NE(Add("a", 0, "me", "").id, Add("a", 0, "me", "").id);
  EXPECT_EQ((*queue_->FindByKey("me", "k"))->id, id);
  EXPECT_FALSE(queue_->FindByKey("me", "l")->has_value());
}

TEST_F(SqliteQueueTest, RunningJobsAreQueuedAgainAtTheirOldPlaceByTheNextServer) {
  Add("a"), Add("b");
  EXPECT_EQ(Claim(), "a");
  Open();
  EXPECT_EQ(Claim(), "a");
  EXPECT_EQ(Claim(), "b");
}

TEST_F(SqliteQueueTest, AJobEndsOnceAndOnlyForItsWorker) {
  const JobRow row = Add("a");
  EXPECT_EQ(Claim(), "a");
  EXPECT_TRUE(queue_->Renew(row.id, "w").ok());
  EXPECT_EQ(queue_->Renew(row.id, "v").code(), StatusCode::kNotFound);
  const JobEnd end{.state = JobState::kDone, .record = {{"images", {"x"}}}};
  EXPECT_EQ(queue_->Finish(row.id, "v", end).code(), StatusCode::kNotFound);
  EXPECT_TRUE(queue_->Finish(row.id, "w", end).ok());
  EXPECT_EQ(queue_->Finish(row.id, "w", end).code(), StatusCode::kNotFound);
  const JobRow done = *queue_->Get(row.id);
  EXPECT_EQ(done.state, JobState::kDone);
  EXPECT_EQ(done.record, end.record);
  EXPECT_EQ(done.plan, row.plan);
  EXPECT_GE(done.finished, done.started);
}

TEST_F(SqliteQueueTest, WhatIsQueuedAgainKeepsItsDeathsItsPathsAndItsBudget) {
  const JobRow row = Add("a");
  EXPECT_EQ(Claim(), "a");
  ASSERT_TRUE(queue_->NamePictures(row.id, Names("day", 2, 1)).ok());
  ASSERT_TRUE(queue_->Requeue(row.id, "w", 1, 300).ok());
  const Result<std::optional<QueuedJob>> again = queue_->Claim("w", "");
  ASSERT_TRUE(again.ok() && *again);
  EXPECT_EQ((*again)->row.num_deaths, 1);
  EXPECT_EQ((*again)->memory_bytes, 300);
  EXPECT_EQ((*again)->paths, (std::vector<fs::path>{"/x/1.png", "/x/2.png"}));
}

TEST_F(SqliteQueueTest, OnlyWhatWaitsIsCancelledHereAndOnlyWhatEndedRemoved) {
  const JobRow a = Add("a"), b = Add("b");
  EXPECT_EQ(Claim(), "a");
  EXPECT_FALSE(*queue_->CancelQueued(a.id));
  EXPECT_TRUE(*queue_->CancelQueued(b.id));
  EXPECT_FALSE(*queue_->CancelQueued(b.id));
  EXPECT_EQ(Claim(), "");
  EXPECT_EQ(queue_->Remove(a.id).status().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(queue_->Remove(b.id).ok());
  EXPECT_EQ(queue_->Remove(b.id).status().code(), StatusCode::kNotFound);
}

TEST_F(SqliteQueueTest, PagesAreNewestFirstAndFiltered) {
  const JobRow a = Add("a red house"), b = Add("a 100% green tree"), c = Add("a red tree");
  JobPage page = *queue_->List({.limit = 2});
  ASSERT_EQ(page.jobs.size(), 2u);
  EXPECT_EQ(page.jobs[0].id, c.id);
  EXPECT_EQ(page.num_total, 3);
  page = *queue_->List({.before_id = page.jobs[1].id});
  ASSERT_EQ(page.jobs.size(), 1u);
  EXPECT_EQ(page.jobs[0].id, a.id);
  EXPECT_EQ(queue_->List({.search = "RED"})->num_total, 2);
  EXPECT_EQ(queue_->List({.search = "%"})->num_total, 1);
  EXPECT_EQ(queue_->List({.state = JobState::kDone})->num_total, 0);
  EXPECT_EQ(queue_->List({.client = "nobody"})->num_total, 0);
}

TEST_F(SqliteQueueTest, JobsAreFoundByModelAndTimeAndBriefOnesAreLight) {
  QueuedJob job{.output_folder = "o"};
  job.row.job = {{"prompt", std::string(400, 'a')},
                 {"files", {{"diffusion", "/m/Stable-diffusion/flux.1-dev.gguf"}}}};
  job.row.plan = {{"peak_ram_bytes", 5}};
  const JobRow dev = *queue_->Add(job);
  const JobRow other = Add("b");
  EXPECT_EQ(queue_->List({.model = "Flux.1-dev"})->num_total, 1);
  EXPECT_EQ(queue_->List({.model = "flux"})->num_total, 0);
  EXPECT_EQ(queue_->List({.since = dev.accepted, .until = dev.accepted + 3600})->num_total, 2);
  EXPECT_EQ(queue_->List({.until = dev.accepted})->num_total, 0);
  EXPECT_EQ(queue_->List({.since = other.accepted + 3600})->num_total, 0);
  const JobRow brief = queue_->List({.model = "flux.1-dev", .is_brief = true})->jobs.at(0);
  EXPECT_EQ(brief.job["prompt"], std::string(300, 'a'));
  EXPECT_EQ(brief.job["files"], dev.job["files"]);
  EXPECT_TRUE(brief.plan.is_null());
}

TEST_F(SqliteQueueTest, PicturesOfAllPagesAreCounted) {
  for (const char* prompt : {"a", "b"}) {
    const JobRow row = Add(prompt);
    Claim();
    const Json images = Json::array({{{"path", "x"}}, {{"path", "y"}}});
    ASSERT_TRUE(
        queue_->Finish(row.id, "w", {.state = JobState::kDone, .record = {{"images", images}}})
            .ok());
  }
  Add("c");
  const JobPage page = *queue_->List({.state = JobState::kDone, .limit = 1, .is_brief = true});
  EXPECT_EQ(page.num_total, 2);
  EXPECT_EQ(page.num_images, 4);
  EXPECT_EQ(page.jobs.at(0).num_images, 2);
}

TEST_F(SqliteQueueTest, WhatIsRemovedIsHiddenUntilItIsRestoredOrPurged) {
  const JobRow row = Add("a", 0, "me", "k");
  ASSERT_TRUE(*queue_->CancelQueued(row.id));
  ASSERT_TRUE(queue_->Remove(row.id).ok());
  Open();
  EXPECT_EQ(queue_->Get(row.id).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(queue_->List({})->num_total, 0);
  EXPECT_NE(Add("a", 0, "me", "k").id, row.id) << "its key is free again";
  EXPECT_TRUE(queue_->Purge(row.accepted - 1)->empty());
  EXPECT_EQ(queue_->Restore(row.id)->job, row.job);
  EXPECT_EQ(queue_->List({})->num_total, 2);
  EXPECT_TRUE(queue_->Restore(row.id).ok()) << "of one that is there nothing";
  ASSERT_TRUE(queue_->Remove(row.id).ok());
  EXPECT_EQ(queue_->Purge(row.accepted + 3600)->at(0).id, row.id);
  EXPECT_EQ(queue_->Restore(row.id).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(queue_->List({})->num_total, 1);
}

TEST_F(SqliteQueueTest, AQueueOfTheFirstVersionKnowsItsModelsAndPicturesAfterOpening) {
  const JobRow row = Add("a");
  queue_.reset();
  Execute(
      "UPDATE jobs SET state = 'done', record = '{\"images\":[1,2]}', job = "
      "'{\"files\":{\"diffusion\":\"/m/flux.1-dev.gguf\"}}'");
  MakeFirstVersion();
  Open();
  EXPECT_EQ(queue_->List({.model = "flux.1-dev"})->num_images, 2);
}

TEST_F(SqliteQueueTest, AListOfTenThousandIsQuick) {
  Execute(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) INSERT INTO "
      "jobs (id, state, priority, client, prompt, job, door_state, plan, record, accepted, "
      "output_folder, model, num_images) SELECT printf('x%05d', i), 'done', 0, '', 'a red house, "
      "number ' || i || hex(randomblob(80)), '{\"width\":64}', '{}', hex(randomblob(5000)), "
      "hex(randomblob(2000)), i, '', 'm' || i % 10, 1 FROM n");
  const auto begin = std::chrono::steady_clock::now();
  const JobPage page = *queue_->List({.search = "number 42", .limit = 200, .is_brief = true});
  const JobPage all = *queue_->List({.before_id = "x05000", .limit = 200, .is_brief = true});
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_EQ(page.num_total, 111);
  EXPECT_EQ(all.num_total, 10000);
  EXPECT_EQ(all.jobs.at(0).id, "x04999");
  EXPECT_LT(seconds, 0.5) << "reading all rows would take a second";
  RecordProperty("seconds", std::to_string(seconds));
}

TEST_F(SqliteQueueTest, NumbersOfPicturesAreGivenOnce) {
  const std::string id = Add("a").id;
  using Paths = std::vector<fs::path>;
  EXPECT_EQ(*queue_->NamePictures(id, Names("day", 2)), (Paths{"/x/0.png", "/x/1.png"}));
  EXPECT_EQ(*queue_->NamePictures(id, Names("day", 1)), Paths{"/x/2.png"});
  EXPECT_EQ(*queue_->NamePictures(id, Names("day", 1, 10)), Paths{"/x/10.png"});
  EXPECT_EQ(*queue_->NamePictures(id, Names("other", 1)), Paths{"/x/0.png"});
  Open();
  EXPECT_EQ(*queue_->NamePictures(id, Names("day", 1)), Paths{"/x/11.png"});
}

TEST_F(SqliteQueueTest, SmallValuesSurvive) {
  EXPECT_FALSE(queue_->Load("options")->has_value());
  ASSERT_TRUE(queue_->Store("options", {{"a", 1}}).ok());
  ASSERT_TRUE(queue_->Store("options", {{"a", 2}}).ok());
  Open();
  EXPECT_EQ((**queue_->Load("options"))["a"], 2);
}

TEST_F(SqliteQueueTest, AClientHasItsCap) {
  Execute(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO "
      "jobs (id, state, priority, client, prompt, job, door_state, plan, accepted, output_folder) "
      "SELECT 'x' || i, 'queued', 0, 'greedy', '', '{}', '{}', '{}', 0, '' FROM n");
  QueuedJob job;
  job.row.client = "greedy";
  const Status full = queue_->Add(job).status();
  EXPECT_EQ(full.code(), StatusCode::kUnavailable);
  EXPECT_NE(full.message().find("client 'greedy', found 1000"), std::string::npos);
  Add("another's", 0, "modest");
}

TEST_F(SqliteQueueTest, ALockIsNamedAndChangesNothing) {
  sqlite3* other = nullptr;
  ASSERT_EQ(::sqlite3_open(path().c_str(), &other), SQLITE_OK);
  ASSERT_EQ(::sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  const Status locked = queue_->Add({}).status();
  EXPECT_EQ(locked.code(), StatusCode::kUnavailable);
  EXPECT_NE(locked.message().find("queue.sqlite: "), std::string::npos) << locked.message();
  EXPECT_NE(locked.message().find("locked"), std::string::npos);
  EXPECT_EQ(*queue_->CountQueued(), 0);
  ::sqlite3_close(other);
  Add("now");
  EXPECT_EQ(*queue_->CountQueued(), 1);
}

TEST_F(SqliteQueueTest, AFileThatIsNoQueueIsRefusedByName) {
  const fs::path other = folder_ / "other.sqlite";
  FILE* file = std::fopen(other.c_str(), "w");
  std::fputs("no database, and long enough to be looked at as one: ................", file);
  for (int i = 0; i < 1000; ++i) std::fputs("............", file);
  std::fclose(file);
  EXPECT_EQ(OpenSqliteQueue(other).status().code(), StatusCode::kCorruption);
  EXPECT_EQ(OpenSqliteQueue(folder_ / "none" / "queue.sqlite").status().code(),
            StatusCode::kUnavailable);
}

TEST_F(SqliteQueueTest, AQueueOfANewerIngotIsRefused) {
  queue_.reset();
  Execute("PRAGMA user_version=99");
  const Status status = OpenSqliteQueue(path()).status();
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("found 99"), std::string::npos);
}

}  // namespace
}  // namespace ingot
