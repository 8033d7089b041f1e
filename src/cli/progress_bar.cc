#include "cli/progress_bar.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

namespace ingot {

ProgressBar::ProgressBar() : on_terminal_(::isatty(STDERR_FILENO) != 0) {}

ProgressBar::~ProgressBar() {
  if (on_terminal_) std::fputs("\r\033[K", stderr);
}

void ProgressBar::Show(std::string_view phase, double step, double num_steps) {
  if (!on_terminal_) return;
  if (phase != phase_) {
    phase_ = phase;
    watch_ = Stopwatch();
  }
  constexpr int kWidth = 30;
  std::string line = fmt::format("{:<9}", phase);
  if (num_steps > 0) {
    const double share = std::clamp(step / num_steps, 0.0, 1.0);
    const int filled = static_cast<int>(share * kWidth);
    line += fmt::format("[{:#<{}}{:.<{}}] {:3.0f} %", "", filled, "", kWidth - filled, 100 * share);
    if (num_steps < 100000) line += fmt::format("  {:.0f}/{:.0f}", step, num_steps);
    if (step > 0) line += fmt::format("  {:.0f} s left", watch_.seconds() * (1 - share) / share);
  }
  std::fprintf(stderr, "\r%s\033[K", line.c_str());
  std::fflush(stderr);
}

}  // namespace ingot
