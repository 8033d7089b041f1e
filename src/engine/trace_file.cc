#include "engine/trace_file.h"

#include <string>

#include "base/file.h"
#include "engine/json.h"

namespace ingot {
namespace {

constexpr size_t kPieceBytes = 1 << 20;  // of a file that may have 40 MB

std::string RowName(const std::string& name, size_t row) {
  const Json event = {
      {"ph", "M"}, {"name", "thread_name"}, {"pid", 1}, {"tid", row}, {"args", {{"name", name}}}};
  return Dump(event);
}

// All of an event that its label decides, without the closing brace.
std::string Head(const Trace::Text& text) {
  Json event = {{"ph", "X"}, {"pid", 1}, {"cat", text.category}, {"name", text.name}};
  for (const auto& [key, value] : text.args) event["args"][key] = value;
  std::string head = Dump(event);
  head.pop_back();
  return head;
}

}  // namespace

Status WriteTrace(const Trace& trace, const std::filesystem::path& path) {
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  const auto write = [&](const std::string& text) {
    return file->Write(std::as_bytes(std::span(text)));
  };
  std::string piece = "{\"traceEvents\":[";
  for (size_t row = 0; row < trace.rows().size(); ++row) {
    piece += (row == 0 ? "\n" : ",\n") + RowName(trace.rows()[row], row);
  }
  std::vector<std::string> heads;
  for (const Trace::Text& label : trace.labels()) heads.push_back(Head(label));
  for (const Trace::Span& span : trace.Spans()) {
    piece += fmt::format(",\n{},\"tid\":{},\"ts\":{:.3f},\"dur\":{:.3f}}}", heads[span.label],
                         span.row, static_cast<double>(span.begin_ns) * 1e-3,
                         static_cast<double>(span.end_ns - span.begin_ns) * 1e-3);
    if (piece.size() < kPieceBytes) continue;
    INGOT_RETURN_IF_ERROR(write(piece));
    piece.clear();
  }
  piece += fmt::format("\n],\"droppedSpans\":{}}}\n", trace.num_dropped());
  INGOT_RETURN_IF_ERROR(write(piece));
  return file->Commit();
}

}  // namespace ingot
