#include "jobs/sqlite_queue.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <mutex>
#include <utility>

#include "jobs/sqlite.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

// Each brings a file from version i to i + 1 (user_version).
constexpr std::array<const char*, 3> kMigrations = {R"(
CREATE TABLE jobs (
  id TEXT PRIMARY KEY NOT NULL,
  state TEXT NOT NULL,
  priority INTEGER NOT NULL,
  client TEXT NOT NULL,
  idempotency_key TEXT,
  prompt TEXT NOT NULL,
  job TEXT NOT NULL,
  door_state TEXT NOT NULL,
  plan TEXT NOT NULL,
  record TEXT NOT NULL DEFAULT 'null',
  error TEXT NOT NULL DEFAULT '',
  error_code TEXT NOT NULL DEFAULT '',
  num_deaths INTEGER NOT NULL DEFAULT 0,
  accepted REAL NOT NULL,
  started REAL NOT NULL DEFAULT 0,
  finished REAL NOT NULL DEFAULT 0,
  output_folder TEXT NOT NULL,
  forge_inference_memory INTEGER,
  memory_bytes INTEGER,
  paths TEXT NOT NULL DEFAULT '[]',
  worker TEXT NOT NULL DEFAULT '');
CREATE UNIQUE INDEX jobs_by_key ON jobs (client, idempotency_key)
  WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_waiting ON jobs (priority DESC, id) WHERE state = 'queued';
CREATE INDEX jobs_by_state ON jobs (state, id);
CREATE TABLE counters (name TEXT PRIMARY KEY NOT NULL, next INTEGER NOT NULL);
CREATE TABLE small_values (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL);
)",
                                                    R"(
ALTER TABLE jobs ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET place = rowid;
DROP INDEX jobs_waiting;
CREATE INDEX jobs_waiting ON jobs (priority DESC, place) WHERE state = 'queued';
)",
                                                    R"(
ALTER TABLE jobs ADD COLUMN model TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN num_images INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN removed REAL NOT NULL DEFAULT 0;
UPDATE jobs SET model = ModelOf(job),
  num_images = coalesce(json_array_length(record, '$.images'), 0);
CREATE INDEX jobs_removed ON jobs (removed) WHERE removed > 0;
CREATE INDEX jobs_in_lists ON jobs (id, state, client, model, accepted, num_images, prompt)
  WHERE removed = 0;
)"};

// Jobs of one priority run in the order of their places, which differ.
constexpr const char* kQueueOrder = " ORDER BY priority DESC, place ";

// All that a filter looks at, so that a list of many jobs reads no plan and no record: a page of
// 200 of 10,000, searched and counted, takes 18 ms.
constexpr const char* kFromLists = " FROM jobs INDEXED BY jobs_in_lists WHERE removed = 0";

constexpr const char* kRowColumns =
    "id, state, priority, client, job, door_state, plan, record, error, error_code, num_deaths, "
    "accepted, started, finished, num_images";
constexpr const char* kBriefColumns =
    "id, state, priority, client, json_set(job, '$.prompt', substr(prompt, 1, 300)), 'null', "
    "'null', 'null', error, error_code, num_deaths, "
    "accepted, started, finished, num_images";

double Now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

constexpr std::string_view kIdDigits = "0123456789abcdefghjkmnpqrstvwxyz";

// Of time in ms since the epoch: ten digits that sort as the number does (as ULIDs begin).
std::string IdOf(int64_t ms) {
  std::string id(10, '0');
  for (size_t i = id.size(); i-- > 0; ms >>= 5) id[i] = kIdDigits[static_cast<size_t>(ms & 31)];
  return id;
}

// ModelOf in SQL, for the migration.
std::string ModelOfText(const std::string& text) {
  const Json job = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return job.is_discarded() ? std::string() : ModelOf(job);
}

JobRow ReadRow(const SqliteQuery& query) {
  JobRow row;
  row.id = query.Text(0);
  row.state = FindJobState(query.Text(1)).value_or(JobState::kFailed);
  row.priority = static_cast<int>(query.Int(2));
  row.client = query.Text(3);
  row.job = query.ReadJson(4);
  row.door_state = query.ReadJson(5);
  row.plan = query.ReadJson(6);
  row.record = query.ReadJson(7);
  row.error = query.Text(8);
  row.error_code = query.Text(9);
  row.num_deaths = static_cast<int>(query.Int(10));
  row.accepted = query.Double(11);
  row.started = query.Double(12);
  row.finished = query.Double(13);
  row.num_images = static_cast<int>(query.Int(14));
  return row;
}

int64_t NumImages(const Json& record) {
  const auto images = record.is_object() ? record.find("images") : record.end();
  return images != record.end() ? static_cast<int64_t>(images->size()) : 0;
}

// For LIKE … ESCAPE '\': the text anywhere, wildcards as they are.
std::string LikePattern(std::string_view text) {
  std::string pattern = "%";
  for (const char c : text) {
    if (c == '%' || c == '_' || c == '\\') pattern += '\\';
    pattern += c;
  }
  return pattern + "%";
}

Status NoSuchJob(std::string_view id) {
  return NotFound("job: expected the id of a job, found '{}'", id.substr(0, 80));
}

class SqliteQueue final : public JobQueue {
 public:
  Status Open(const fs::path& path, const SqliteQueueOptions& options) {
    path_ = path.string();
    INGOT_RETURN_IF_ERROR(writer_.Open(path, options.busy_timeout_ms));
    INGOT_RETURN_IF_ERROR(writer_.AddFunction("ModelOf", ModelOfText));
    INGOT_RETURN_IF_ERROR(
        writer_.Execute("PRAGMA journal_mode=WAL; PRAGMA journal_size_limit=16777216;"));
    INGOT_RETURN_IF_ERROR(Migrate());
    INGOT_RETURN_IF_ERROR(
        writer_.Execute("UPDATE jobs SET state = 'queued', worker = '' WHERE state = 'running'"));
    INGOT_RETURN_IF_ERROR(ReadLastId());
    INGOT_RETURN_IF_ERROR(reader_.Open(path, options.busy_timeout_ms));
    return reader_.Execute("PRAGMA query_only=1");
  }

  Result<JobRow> Add(const QueuedJob& job) override {
    JobRow row = job.row;
    INGOT_RETURN_IF_ERROR(Write([&]() -> Status {
      if (!job.idempotency_key.empty()) {
        INGOT_ASSIGN_OR_RETURN(std::optional<JobRow> earlier,
                               FindByKeyIn(writer_, row.client, job.idempotency_key));
        if (earlier) {
          row = *std::move(earlier);
          return {};
        }
      }
      INGOT_RETURN_IF_ERROR(CheckCaps(row.client));
      row.state = JobState::kQueued;
      row.accepted = Now();
      row.id = NextId(row.accepted);
      return Insert(job, row);
    }));
    return row;
  }

  Result<std::optional<JobRow>> FindByKey(const std::string& client,
                                          const std::string& key) override {
    const std::lock_guard lock(reader_mutex_);
    return FindByKeyIn(reader_, client, key);
  }

  // One worker: its order is that of the queue, whatever it has loaded.
  Result<std::optional<QueuedJob>> Claim(const std::string& worker,
                                         const std::string& /*loaded_model*/) override {
    std::optional<QueuedJob> job;
    INGOT_RETURN_IF_ERROR(WriteSoon([&]() -> Status {
      job.reset();
      INGOT_ASSIGN_OR_RETURN(job, FirstQueued());
      if (!job) return {};
      job->row.state = JobState::kRunning;
      job->row.started = Now();
      INGOT_ASSIGN_OR_RETURN(
          SqliteQuery update,
          SqliteQuery::Make(
              writer_, "UPDATE jobs SET state = 'running', started = ?, worker = ? WHERE id = ?"));
      return update.Bind(job->row.started).Bind(worker).Bind(job->row.id).Run();
    }));
    return job;
  }

  Status Renew(const std::string& id, const std::string& worker) override {
    const std::lock_guard lock(reader_mutex_);
    INGOT_ASSIGN_OR_RETURN(
        SqliteQuery query,
        SqliteQuery::Make(reader_,
                          "SELECT 1 FROM jobs WHERE id = ? AND state = 'running' AND worker = ?"));
    INGOT_ASSIGN_OR_RETURN(const bool found, query.Bind(id).Bind(worker).Step());
    return found ? Status() : LostLease(id, worker);
  }

  Result<std::vector<fs::path>> NamePictures(const std::string& id,
                                             const PictureNames& names) override {
    std::vector<fs::path> paths;
    INGOT_RETURN_IF_ERROR(WriteSoon([&]() -> Status {
      INGOT_ASSIGN_OR_RETURN(
          SqliteQuery numbers,
          SqliteQuery::Make(writer_,
                            "INSERT INTO counters VALUES (?1, ?2 + ?3) ON CONFLICT (name) DO "
                            "UPDATE SET next = max(next, ?2) + ?3 RETURNING next - ?3"));
      numbers.Bind(names.counter).Bind(names.at_least).Bind(int64_t{names.count});
      INGOT_RETURN_IF_ERROR(numbers.Run());
      Json json = Json::array();
      for (int i = 0; i < names.count; ++i) {
        paths.push_back(names.path(numbers.Int(0) + i, i));
        json.push_back(paths.back().string());
      }
      INGOT_ASSIGN_OR_RETURN(SqliteQuery update,
                             SqliteQuery::Make(writer_, "UPDATE jobs SET paths = ? WHERE id = ?"));
      return update.BindJson(json).Bind(id).Run();
    }));
    return paths;
  }

  Status Finish(const std::string& id, const std::string& worker, const JobEnd& end) override {
    INGOT_CHECK(IsEnded(end.state));
    return Write([&]() -> Status {
      INGOT_ASSIGN_OR_RETURN(
          SqliteQuery update,
          SqliteQuery::Make(writer_,
                            "UPDATE jobs SET state = ?, record = ?, num_images = ?, error = ?, "
                            "error_code = ?, num_deaths = ?, finished = ?, worker = '', "
                            "plan = coalesce(nullif(?, 'null'), plan) "
                            "WHERE id = ? AND state = 'running' AND worker = ?"));
      update.Bind(Name(end.state)).BindJson(end.record).Bind(NumImages(end.record));
      update.Bind(end.error).Bind(end.error_code);
      update.Bind(int64_t{end.num_deaths}).Bind(Now()).BindJson(end.plan);
      INGOT_RETURN_IF_ERROR(update.Bind(id).Bind(worker).Run());
      return writer_.num_changes() == 1 ? Status() : LostLease(id, worker);
    });
  }

  Status Requeue(const std::string& id, const std::string& worker, int num_deaths,
                 std::optional<int64_t> memory_bytes) override {
    return Write([&]() -> Status {
      INGOT_ASSIGN_OR_RETURN(
          SqliteQuery update,
          SqliteQuery::Make(writer_,
                            "UPDATE jobs SET state = 'queued', worker = '', num_deaths = ?, "
                            "memory_bytes = ? WHERE id = ? AND state = 'running' AND worker = ?"));
      update.Bind(int64_t{num_deaths}).Bind(memory_bytes).Bind(id).Bind(worker);
      INGOT_RETURN_IF_ERROR(update.Run());
      return writer_.num_changes() == 1 ? Status() : LostLease(id, worker);
    });
  }

  Result<bool> CancelQueued(std::string_view id) override {
    bool was_queued = false;
    INGOT_RETURN_IF_ERROR(Write([&]() -> Status {
      INGOT_ASSIGN_OR_RETURN(SqliteQuery update,
                             SqliteQuery::Make(writer_,
                                               "UPDATE jobs SET state = 'cancelled', finished = ? "
                                               "WHERE id = ? AND state = 'queued'"));
      INGOT_RETURN_IF_ERROR(update.Bind(Now()).Bind(id).Run());
      was_queued = writer_.num_changes() == 1;
      return {};
    }));
    return was_queued;
  }

  Result<JobRow> Get(std::string_view id) override {
    const std::lock_guard lock(reader_mutex_);
    return GetIn(reader_, id);
  }

  Result<JobPage> List(const JobFilter& filter) override {
    std::string where;
    if (filter.state) where += " AND state = ?";
    if (!filter.client.empty()) where += " AND client = ?";
    if (!filter.model.empty()) where += " AND model = ? COLLATE NOCASE";
    if (filter.since) where += " AND accepted >= ?";
    if (filter.until) where += " AND accepted < ?";
    if (!filter.search.empty()) where += " AND prompt LIKE ? ESCAPE '\\'";
    const auto bind = [&](SqliteQuery& query) {
      if (filter.state) query.Bind(Name(*filter.state));
      if (!filter.client.empty()) query.Bind(filter.client);
      if (!filter.model.empty()) query.Bind(filter.model);
      if (filter.since) query.Bind(*filter.since);
      if (filter.until) query.Bind(*filter.until);
      if (!filter.search.empty()) query.Bind(LikePattern(filter.search));
    };
    // The few that have not ended have an index of their own.
    const std::string from = filter.state && !IsEnded(*filter.state)
                                 ? " FROM jobs INDEXED BY jobs_by_state WHERE removed = 0"
                                 : kFromLists;
    const std::lock_guard lock(reader_mutex_);
    JobPage page;
    {
      INGOT_ASSIGN_OR_RETURN(
          SqliteQuery count,
          SqliteQuery::Make(reader_, "SELECT count(*), sum(num_images)" + from + where));
      bind(count);
      INGOT_RETURN_IF_ERROR(count.Run());
      page.num_total = count.Int(0);
      page.num_images = count.Int(1);
    }
    if (!filter.before_id.empty()) where += " AND id < ?";
    INGOT_ASSIGN_OR_RETURN(
        SqliteQuery query,
        SqliteQuery::Make(
            reader_, fmt::format("SELECT {} FROM jobs WHERE id IN (SELECT id{}{} ORDER BY id DESC "
                                 "LIMIT ?) ORDER BY id DESC",
                                 filter.is_brief ? kBriefColumns : kRowColumns, from, where)));
    bind(query);
    if (!filter.before_id.empty()) query.Bind(filter.before_id);
    query.Bind(int64_t{std::max(0, filter.limit)});
    while (true) {
      INGOT_ASSIGN_OR_RETURN(const bool found, query.Step());
      if (!found) return page;
      page.jobs.push_back(ReadRow(query));
    }
  }

  Result<int> Position(std::string_view id) override {
    const std::lock_guard lock(reader_mutex_);
    INGOT_ASSIGN_OR_RETURN(
        SqliteQuery query,
        SqliteQuery::Make(
            reader_,
            "SELECT count(*) FROM jobs AS other, jobs AS mine WHERE mine.id = ? AND "
            "mine.state = 'queued' AND other.state = 'queued' AND (other.priority > "
            "mine.priority OR (other.priority = mine.priority AND other.place < mine.place))"));
    INGOT_RETURN_IF_ERROR(query.Bind(id).Run());
    return static_cast<int>(query.Int(0));
  }

  Result<int> CountQueued() override {
    const std::lock_guard lock(reader_mutex_);
    INGOT_ASSIGN_OR_RETURN(
        SqliteQuery query,
        SqliteQuery::Make(reader_, "SELECT count(*) FROM jobs WHERE state = 'queued'"));
    INGOT_RETURN_IF_ERROR(query.Run());
    return static_cast<int>(query.Int(0));
  }

  Status Move(std::string_view id, const JobMove& move) override {
    return Write([&]() -> Status {
      INGOT_ASSIGN_OR_RETURN(const JobRow row, GetIn(writer_, id));
      if (row.state != JobState::kQueued) {
        return InvalidArgument("job {}: expected one that is queued, found it {}", row.id,
                               Name(row.state));
      }
      Place at{.priority = move.priority.value_or(row.priority)};
      if (move.position) INGOT_RETURN_IF_ERROR(MakeRoom(id, *move.position, at));
      INGOT_ASSIGN_OR_RETURN(
          SqliteQuery update,
          SqliteQuery::Make(
              writer_,
              "UPDATE jobs SET priority = ?, place = coalesce(nullif(?, 0), place) WHERE id = ?"));
      return update.Bind(at.priority).Bind(at.place).Bind(id).Run();
    });
  }

  Result<JobRow> Remove(std::string_view id) override {
    JobRow row;
    INGOT_RETURN_IF_ERROR(Write([&]() -> Status {
      INGOT_ASSIGN_OR_RETURN(row, GetIn(writer_, id));
      if (!IsEnded(row.state)) {
        return InvalidArgument("job {}: expected one that has ended, found it {}", row.id,
                               Name(row.state));
      }
      INGOT_ASSIGN_OR_RETURN(
          SqliteQuery update,
          SqliteQuery::Make(writer_,
                            "UPDATE jobs SET removed = ?, idempotency_key = NULL WHERE id = ?"));
      return update.Bind(Now()).Bind(id).Run();
    }));
    return row;
  }

  Result<JobRow> Restore(std::string_view id) override {
    JobRow row;
    INGOT_RETURN_IF_ERROR(Write([&]() -> Status {
      INGOT_ASSIGN_OR_RETURN(
          SqliteQuery update,
          SqliteQuery::Make(writer_, "UPDATE jobs SET removed = 0 WHERE id = ?"));
      INGOT_RETURN_IF_ERROR(update.Bind(id).Run());
      INGOT_ASSIGN_OR_RETURN(row, GetIn(writer_, id));
      return {};
    }));
    return row;
  }

  Result<std::vector<JobRow>> Purge(double time) override {
    std::vector<JobRow> rows;
    INGOT_RETURN_IF_ERROR(Write([&]() -> Status {
      rows.clear();
      constexpr const char* kWhere = " WHERE removed > 0 AND removed < ?";
      INGOT_ASSIGN_OR_RETURN(
          SqliteQuery query,
          SqliteQuery::Make(writer_, fmt::format("SELECT {} FROM jobs INDEXED BY "
                                                 "jobs_removed{}",
                                                 kRowColumns, kWhere)));
      query.Bind(time);
      while (true) {
        INGOT_ASSIGN_OR_RETURN(const bool found, query.Step());
        if (!found) break;
        rows.push_back(ReadRow(query));
      }
      if (rows.empty()) return {};
      INGOT_ASSIGN_OR_RETURN(SqliteQuery end,
                             SqliteQuery::Make(writer_, std::string("DELETE FROM jobs") + kWhere));
      return end.Bind(time).Run();
    }));
    return rows;
  }

  Result<std::optional<Json>> Load(std::string_view name) override {
    const std::lock_guard lock(reader_mutex_);
    INGOT_ASSIGN_OR_RETURN(
        SqliteQuery query,
        SqliteQuery::Make(reader_, "SELECT value FROM small_values WHERE name = ?"));
    INGOT_ASSIGN_OR_RETURN(const bool found, query.Bind(name).Step());
    return found ? std::optional(query.ReadJson(0)) : std::nullopt;
  }

  Status Store(std::string_view name, const Json& value) override {
    return Write([&]() -> Status {
      INGOT_ASSIGN_OR_RETURN(
          SqliteQuery query,
          SqliteQuery::Make(writer_,
                            "INSERT INTO small_values VALUES (?, ?) ON CONFLICT (name) DO "
                            "UPDATE SET value = excluded.value"));
      return query.Bind(name).BindJson(value).Run();
    });
  }

 private:
  // `change` as one transaction: all of it is on disk, or nothing has happened.
  Status Write(const std::function<Status()>& change) { return Transact("FULL", change); }

  // Of what a restart finds again by itself: the system writes it to the disk in its time, the next
  // Write at the latest. A process that is killed loses nothing of it; a machine that loses power
  // runs the job anew. A sync takes 0.8 ms here, and a job begins with three of these.
  Status WriteSoon(const std::function<Status()>& change) { return Transact("NORMAL", change); }

  Status Transact(std::string_view synchronous, const std::function<Status()>& change) {
    const std::lock_guard lock(writer_mutex_);
    INGOT_RETURN_IF_ERROR(
        writer_.Execute(fmt::format("PRAGMA synchronous={}", synchronous).c_str()));
    // IMMEDIATE: the lock comes first, so that no read inside is stale.
    INGOT_RETURN_IF_ERROR(writer_.Execute("BEGIN IMMEDIATE"));
    Status status = change();
    if (status.ok()) status = writer_.Execute("COMMIT");
    if (!status.ok() && writer_.in_transaction()) (void)writer_.Execute("ROLLBACK");
    return status;
  }

  Status Migrate() {
    return Write([&]() -> Status {
      int64_t version = 0;
      {
        INGOT_ASSIGN_OR_RETURN(SqliteQuery query,
                               SqliteQuery::Make(writer_, "PRAGMA user_version"));
        INGOT_RETURN_IF_ERROR(query.Run());
        version = query.Int(0);
      }
      const auto newest = static_cast<int64_t>(kMigrations.size());
      if (version < 0 || version > newest) {
        return Unsupported("{}: expected a queue of version {} at most, found {}", path_, newest,
                           version);
      }
      for (int64_t i = version; i < newest; ++i) {
        INGOT_RETURN_IF_ERROR(writer_.Execute(kMigrations[static_cast<size_t>(i)]));
      }
      return version == newest
                 ? Status()
                 : writer_.Execute(fmt::format("PRAGMA user_version={}", newest).c_str());
    });
  }

  // Ids rise even where the clock was set back.
  Status ReadLastId() {
    INGOT_ASSIGN_OR_RETURN(SqliteQuery query,
                           SqliteQuery::Make(writer_, "SELECT max(id) FROM jobs"));
    INGOT_RETURN_IF_ERROR(query.Run());
    const std::string last = query.Text(0);
    for (const char digit : last) {
      last_id_ms_ = last_id_ms_ * 32 + static_cast<int64_t>(kIdDigits.find(digit) & 31);
    }
    return {};
  }

  std::string NextId(double now) {
    last_id_ms_ = std::max(last_id_ms_ + 1, static_cast<int64_t>(now * 1000));
    return IdOf(last_id_ms_);
  }

  Status CheckCaps(const std::string& client) {
    INGOT_ASSIGN_OR_RETURN(
        SqliteQuery query,
        SqliteQuery::Make(writer_,
                          "SELECT count(*), coalesce(sum(client = ?), 0) FROM jobs "
                          "WHERE state = 'queued'"));
    INGOT_RETURN_IF_ERROR(query.Bind(client).Run());
    if (query.Int(0) >= kMaxQueued) {
      return Unavailable("queue: expected less than {} jobs that wait, found it full", kMaxQueued);
    }
    if (query.Int(1) >= kMaxQueuedPerClient) {
      return Unavailable("queue: expected less than {} jobs that wait for client '{}', found {}",
                         kMaxQueuedPerClient, client.substr(0, 80), query.Int(1));
    }
    return {};
  }

  Status Insert(const QueuedJob& job, const JobRow& row) {
    INGOT_ASSIGN_OR_RETURN(
        SqliteQuery insert,
        SqliteQuery::Make(
            writer_,
            "INSERT INTO jobs (id, state, priority, client, idempotency_key, prompt, job, "
            "door_state, plan, accepted, output_folder, forge_inference_memory, place, model) "
            "VALUES "
            "(?, 'queued', ?, ?, nullif(?, ''), ?, ?, ?, ?, ?, ?, ?, (SELECT "
            "coalesce(max(place), 0) + 1 FROM jobs WHERE state IN ('queued', 'running')), ?)"));
    insert.Bind(row.id).Bind(int64_t{row.priority}).Bind(row.client).Bind(job.idempotency_key);
    insert.Bind(row.job.is_object() ? row.job.value("prompt", std::string()) : std::string());
    insert.BindJson(row.job).BindJson(row.door_state).BindJson(row.plan).Bind(row.accepted);
    insert.Bind(job.output_folder).Bind(job.forge_inference_memory).Bind(ModelOf(row.job));
    return insert.Run();
  }

  struct Place {
    int64_t priority = 0;
    int64_t place = 0;  // from 1; 0: the job's own
  };

  // Finds the place that has `position` queued jobs before it, job `id` aside, and frees it.
  Status MakeRoom(std::string_view id, int position, Place& at) {
    std::optional<Place> before, next;
    {
      INGOT_ASSIGN_OR_RETURN(
          SqliteQuery others,
          SqliteQuery::Make(writer_, std::string("SELECT priority, place FROM jobs WHERE "
                                                 "state = 'queued' AND id <> ?") +
                                         kQueueOrder));
      others.Bind(id);
      for (int i = 0; i <= position; ++i) {
        INGOT_ASSIGN_OR_RETURN(const bool found, others.Step());
        if (!found) break;
        (i == position ? next : before) = Place{others.Int(0), others.Int(1)};
      }
    }
    if (next) at.priority = std::max(at.priority, next->priority);
    if (before) at.priority = std::min(at.priority, before->priority);
    if (before && before->priority == at.priority) {
      at.place = before->place + 1;
    } else if (next && next->priority == at.priority) {
      at.place = next->place;
    } else {
      return {};  // no other has this priority
    }
    INGOT_ASSIGN_OR_RETURN(SqliteQuery shift,
                           SqliteQuery::Make(writer_,
                                             "UPDATE jobs SET place = place + 1 WHERE state IN "
                                             "('queued', 'running') AND place >= ?"));
    return shift.Bind(at.place).Run();
  }

  Result<std::optional<QueuedJob>> FirstQueued() {
    INGOT_ASSIGN_OR_RETURN(
        SqliteQuery query,
        SqliteQuery::Make(writer_,
                          std::string("SELECT ") + kRowColumns +
                              ", output_folder, forge_inference_memory, memory_bytes, paths "
                              "FROM jobs WHERE state = 'queued'" +
                              kQueueOrder + "LIMIT 1"));
    INGOT_ASSIGN_OR_RETURN(const bool found, query.Step());
    if (!found) return std::optional<QueuedJob>();
    QueuedJob job{.row = ReadRow(query)};
    job.output_folder = query.Text(15);
    job.forge_inference_memory = query.OptionalInt(16);
    job.memory_bytes = query.OptionalInt(17);
    for (const Json& path : query.ReadJson(18)) job.paths.push_back(path.get<std::string>());
    return std::optional(std::move(job));
  }

  static Result<JobRow> GetIn(SqliteDatabase& database, std::string_view id) {
    INGOT_ASSIGN_OR_RETURN(
        SqliteQuery query,
        SqliteQuery::Make(database, std::string("SELECT ") + kRowColumns +
                                        " FROM jobs WHERE id = ? AND removed = 0"));
    INGOT_ASSIGN_OR_RETURN(const bool found, query.Bind(id).Step());
    if (!found) return NoSuchJob(id);
    return ReadRow(query);
  }

  static Result<std::optional<JobRow>> FindByKeyIn(SqliteDatabase& database,
                                                   const std::string& client,
                                                   const std::string& key) {
    INGOT_ASSIGN_OR_RETURN(SqliteQuery query,
                           SqliteQuery::Make(database, std::string("SELECT ") + kRowColumns +
                                                           " FROM jobs WHERE client = ? AND "
                                                           "idempotency_key = ?"));
    INGOT_ASSIGN_OR_RETURN(const bool found, query.Bind(client).Bind(key).Step());
    return found ? std::optional(ReadRow(query)) : std::nullopt;
  }

  static Status LostLease(const std::string& id, const std::string& worker) {
    return NotFound("job {}: expected it to be run by {}, found that it is not", id, worker);
  }

  std::string path_;
  std::mutex writer_mutex_, reader_mutex_;
  // Two connections: who reads does not wait for a commit to reach the disk.
  SqliteDatabase writer_, reader_;
  int64_t last_id_ms_ = 0;
};

}  // namespace

Result<std::unique_ptr<JobQueue>> OpenSqliteQueue(const fs::path& path,
                                                  const SqliteQueueOptions& options) {
  auto queue = std::make_unique<SqliteQueue>();
  INGOT_RETURN_IF_ERROR(queue->Open(path, options));
  return std::unique_ptr<JobQueue>(std::move(queue));
}

}  // namespace ingot
