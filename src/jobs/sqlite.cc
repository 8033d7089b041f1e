#include "jobs/sqlite.h"

#include <utility>

namespace ingot {
namespace {

void CallTextFunction(sqlite3_context* context, int, sqlite3_value** values) {
  const auto function =
      reinterpret_cast<SqliteDatabase::TextFunction>(::sqlite3_user_data(context));
  const auto* text = reinterpret_cast<const char*>(::sqlite3_value_text(values[0]));
  const std::string result = function(text == nullptr ? "" : text);
  ::sqlite3_result_text(context, result.c_str(), -1, SQLITE_TRANSIENT);
}

}  // namespace

SqliteDatabase::~SqliteDatabase() {
  for (const auto& [sql, statement] : statements_) ::sqlite3_finalize(statement);
  ::sqlite3_close(handle_);
}

Status SqliteDatabase::Open(const std::filesystem::path& path, int busy_timeout_ms) {
  path_ = path.string();
  const int code = ::sqlite3_open_v2(path_.c_str(), &handle_,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  if (code != SQLITE_OK) return Error(code);
  ::sqlite3_extended_result_codes(handle_, 1);
  ::sqlite3_busy_timeout(handle_, busy_timeout_ms);
  return {};
}

Status SqliteDatabase::AddFunction(const char* name, TextFunction function) {
  const int code = ::sqlite3_create_function(handle_, name, 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                             reinterpret_cast<void*>(function), CallTextFunction,
                                             nullptr, nullptr);
  return code == SQLITE_OK ? Status() : Error(code);
}

Status SqliteDatabase::Execute(const char* sql) {
  const int code = ::sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? Status() : Error(code);
}

Result<sqlite3_stmt*> SqliteDatabase::Prepare(const std::string& sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr) {
    const int code = ::sqlite3_prepare_v3(handle_, sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT,
                                          &statement, nullptr);
    if (code != SQLITE_OK) return Error(code);
  }
  return statement;
}

Status SqliteDatabase::Error(int code) const {
  const std::string found = handle_ != nullptr ? ::sqlite3_errmsg(handle_) : ::sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Corruption("{}: expected a queue of Ingot, found: {}", path_, found);
    default:
      return Unavailable("{}: expected a queue that can be read and written, found: {}", path_,
                         found);
  }
}

Result<SqliteQuery> SqliteQuery::Make(SqliteDatabase& database, const std::string& sql) {
  INGOT_ASSIGN_OR_RETURN(sqlite3_stmt* const statement, database.Prepare(sql));
  return SqliteQuery(database, statement);
}

SqliteQuery::SqliteQuery(SqliteQuery&& other) noexcept
    : database_(other.database_),
      statement_(std::exchange(other.statement_, nullptr)),
      num_bound_(other.num_bound_) {}

SqliteQuery::~SqliteQuery() {
  if (statement_ == nullptr) return;
  ::sqlite3_reset(statement_);
  ::sqlite3_clear_bindings(statement_);
}

SqliteQuery& SqliteQuery::Bind(std::string_view text) {
  // Not null for an empty view: that would be NULL.
  ::sqlite3_bind_text64(statement_, ++num_bound_, text.empty() ? "" : text.data(), text.size(),
                        SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

SqliteQuery& SqliteQuery::Bind(int64_t number) {
  ::sqlite3_bind_int64(statement_, ++num_bound_, number);
  return *this;
}

SqliteQuery& SqliteQuery::Bind(double number) {
  ::sqlite3_bind_double(statement_, ++num_bound_, number);
  return *this;
}

SqliteQuery& SqliteQuery::Bind(const std::optional<int64_t>& number) {
  if (number) return Bind(*number);
  ++num_bound_;  // stays NULL
  return *this;
}

SqliteQuery& SqliteQuery::BindJson(const Json& json) { return Bind(std::string_view(Dump(json))); }

Result<bool> SqliteQuery::Step() {
  const int code = ::sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return database_.Error(code);
}

std::string SqliteQuery::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(::sqlite3_column_text(statement_, column));
  return text == nullptr
             ? std::string()
             : std::string(text, static_cast<size_t>(::sqlite3_column_bytes(statement_, column)));
}

int64_t SqliteQuery::Int(int column) const { return ::sqlite3_column_int64(statement_, column); }

double SqliteQuery::Double(int column) const { return ::sqlite3_column_double(statement_, column); }

std::optional<int64_t> SqliteQuery::OptionalInt(int column) const {
  if (::sqlite3_column_type(statement_, column) == SQLITE_NULL) return std::nullopt;
  return Int(column);
}

Json SqliteQuery::ReadJson(int column) const {
  Json json = Json::parse(Text(column), nullptr, /*allow_exceptions=*/false);
  return json.is_discarded() ? Json() : json;
}

}  // namespace ingot
