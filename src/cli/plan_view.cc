#include "cli/plan_view.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "base/byte_size.h"

namespace ingot {
namespace {

constexpr int kNameColumns = 10, kSizeColumns = 10;

std::string BytesOrDash(int64_t num_bytes) {
  return num_bytes == 0 ? "-" : FormatByteSize(num_bytes);
}

std::string Seconds(double seconds) {
  return fmt::format("{:.{}f} s", seconds, seconds < 100 ? 1 : 0);
}

std::string Table(const Plan& plan) {
  std::string table = fmt::format("{:<10}{:>10}{:>10}{:>10}{:>12}{:>8}\n", "phase", "weights",
                                  "ring", "read", "activations", "time");
  for (const PhasePlan& phase : plan.phases) {
    const std::string time = phase.predicted_s ? Seconds(*phase.predicted_s) : "-";
    table += fmt::format("{:<10}{:>10}{:>10}{:>10}{:>12}{:>8}\n", phase.name,
                         BytesOrDash(phase.resident_bytes), BytesOrDash(phase.ring_bytes),
                         BytesOrDash(phase.streamed_bytes), BytesOrDash(phase.arena_bytes), time);
  }
  if (const std::optional<double> all = plan.predicted_s()) {
    table += fmt::format("{:<52}{:>8}\n", "all", Seconds(*all));
  }
  return table;
}

// One phase over all that the process holds then; every character the same bytes.
std::string Bar(const Plan& plan, const PhasePlan& phase, double columns_per_byte) {
  std::array<std::pair<char, int64_t>, 4> parts = {{{'.', plan.fixed_bytes + phase.carried_bytes},
                                                    {'#', phase.resident_bytes},
                                                    {'=', phase.ring_bytes},
                                                    {'+', phase.arena_bytes}}};
  if (phase.vram_bytes > 0)
    parts = {{{'.', plan.fixed_bytes + phase.carried_bytes},
              {'#', phase.held_bytes},
              {'=', 0},
              {'+', phase.host_bytes - phase.held_bytes}}};
  std::string bar;
  int64_t end = 0;  // rounded where parts end, so that errors do not add up
  for (const auto& [mark, num_bytes] : parts) {
    end += num_bytes;
    const auto column = static_cast<size_t>(static_cast<double>(end) * columns_per_byte + 0.5);
    bar.append(column - std::min(column, bar.size()), mark);
  }
  return bar;
}

std::string Bars(const Plan& plan, const Budget& budget, int columns) {
  const int width = columns - kNameColumns - kSizeColumns;
  const int64_t peak = plan.peak_ram_bytes();
  // A budget far above the peak would leave no bar to see: then the peak is the scale.
  const bool shows_budget = budget.ram_bytes >= peak && budget.ram_bytes / 4 <= peak;
  const int64_t scale = std::max<int64_t>(1, shows_budget ? budget.ram_bytes : peak);
  std::string bars;
  for (const PhasePlan& phase : plan.phases) {
    const std::string bar =
        Bar(plan, phase, static_cast<double>(width) / static_cast<double>(scale));
    bars += fmt::format("{:<{}}{:<{}}{:>{}}\n", phase.name, kNameColumns, bar, width,
                        FormatByteSize(plan.fixed_bytes + phase.peak_bytes()), kSizeColumns);
  }
  bars +=
      fmt::format("{:<{}}{}\n", "", kNameColumns, "# weights  = ring  + activations  . process");
  return bars;
}

std::string Peak(const Plan& plan, const Budget& budget) {
  std::string text =
      fmt::format("peak {} of a budget of {} ({})\n", FormatByteSize(plan.peak_ram_bytes()),
                  FormatByteSize(budget.ram_bytes), budget.ram_limited_by);
  if (plan.peak_vram_bytes() > 0) {
    text += fmt::format("peak {} of {} on the device", FormatByteSize(plan.peak_vram_bytes()),
                        FormatByteSize(budget.vram_bytes));
    if (plan.fixed_vram_bytes > 0) {
      text += fmt::format(", {} of them its driver's", FormatByteSize(plan.fixed_vram_bytes));
    }
    text += "\n";
  }
  int64_t carried_bytes = 0;
  for (const PhasePlan& phase : plan.phases) {
    carried_bytes = std::max(carried_bytes, phase.carried_bytes);
  }
  text += fmt::format("process {}, carried between phases up to {}\n",
                      FormatByteSize(plan.fixed_bytes), FormatByteSize(carried_bytes));
  return text;
}

// `text` in lines of at most `columns`, broken at spaces; all but the first indented.
std::string Wrap(const std::string& text, int columns) {
  std::string lines;
  size_t begin = 0;
  while (begin < text.size()) {
    const std::string_view indent = begin == 0 ? "" : "  ";
    size_t end = std::min(text.size(), begin + static_cast<size_t>(columns) - indent.size());
    const size_t space = text.rfind(' ', end);
    if (end < text.size() && space != std::string::npos && space > begin) end = space;
    lines += fmt::format("{}{}\n", indent, text.substr(begin, end - begin));
    begin = end + (end < text.size() && text[end] == ' ' ? 1 : 0);
  }
  return lines;
}

}  // namespace

std::string ShowPlan(const Plan& plan, const Budget& budget, int columns) {
  std::string text = Table(plan) + "\n" + Bars(plan, budget, columns) + "\n" + Peak(plan, budget);
  for (const std::string& sentence : ExplainPlan(plan)) text += Wrap(sentence, columns);
  return text;
}

int TerminalColumns() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return std::clamp<int>(size.ws_col, 60, 120);
}

}  // namespace ingot
