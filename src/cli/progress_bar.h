// A bar with steps and remaining time on a terminal; nothing in a pipe.
#pragma once

#include <string>
#include <string_view>

#include "base/stopwatch.h"

namespace ingot {

// Draws on stderr, over one line; the line is cleared when the bar goes.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar();

  // num_steps 0: a phase whose length is not known.
  void Show(std::string_view phase, double step, double num_steps);

 private:
  bool on_terminal_;
  std::string phase_;
  Stopwatch watch_;  // since the phase began
};

}  // namespace ingot
