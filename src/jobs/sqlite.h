// A connection to the queue's SQLite file, and queries on it.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "jobs/job_row.h"

namespace ingot {

// One connection; calls are serialised by its owner. kUnavailable and kCorruption name the file and
// what SQLite found.
class SqliteDatabase {
 public:
  SqliteDatabase() = default;
  SqliteDatabase(const SqliteDatabase&) = delete;
  SqliteDatabase& operator=(const SqliteDatabase&) = delete;
  ~SqliteDatabase();

  // Makes the file where there is none. Waits so long for the lock of another.
  Status Open(const std::filesystem::path& path, int busy_timeout_ms);

  // A function of one text for SQL; depends on nothing else.
  using TextFunction = std::string (*)(const std::string& text);
  Status AddFunction(const char* name, TextFunction function);

  // Statements without rows, separated by semicolons.
  Status Execute(const char* sql);

  // The prepared statement of `sql`, made once.
  Result<sqlite3_stmt*> Prepare(const std::string& sql);

  int num_changes() const { return ::sqlite3_changes(handle_); }
  bool in_transaction() const { return ::sqlite3_get_autocommit(handle_) == 0; }

  // Of SQLite's code; not SQLITE_OK.
  Status Error(int code) const;

 private:
  std::string path_;
  sqlite3* handle_ = nullptr;
  std::map<std::string, sqlite3_stmt*> statements_;
};

// One run of a prepared statement; parameters are bound in order.
class SqliteQuery {
 public:
  static Result<SqliteQuery> Make(SqliteDatabase& database, const std::string& sql);
  SqliteQuery(SqliteQuery&& other) noexcept;
  SqliteQuery& operator=(SqliteQuery&&) = delete;
  ~SqliteQuery();

  SqliteQuery& Bind(std::string_view text);
  SqliteQuery& Bind(int64_t number);
  SqliteQuery& Bind(double number);
  SqliteQuery& Bind(const std::optional<int64_t>& number);  // none: NULL
  SqliteQuery& BindJson(const Json& json);

  // Whether there is a row.
  Result<bool> Step();
  Status Run() { return Step().status(); }

  // Of the row, by column; what is NULL or of another type as SQLite converts it.
  std::string Text(int column) const;
  int64_t Int(int column) const;
  double Double(int column) const;
  std::optional<int64_t> OptionalInt(int column) const;
  Json ReadJson(int column) const;  // what is no JSON is null

 private:
  SqliteQuery(SqliteDatabase& database, sqlite3_stmt* statement)
      : database_(database), statement_(statement) {}

  SqliteDatabase& database_;
  sqlite3_stmt* statement_;
  int num_bound_ = 0;
};

}  // namespace ingot
