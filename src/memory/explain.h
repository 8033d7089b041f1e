// What a plan does to fit, in sentences.
#pragma once

#include <string>
#include <vector>

#include "memory/plan.h"

namespace ingot {

// One sentence for each thing a plan does that is not "load the weights, compute":
//   "t5 streams 4.71 GiB through a ring of 90.0 MiB"
//   "sampling keeps 2 GiB of weights and streams 3 GiB in each of 4 runs through a ring of 64 MiB"
//   "hoist computes what no step changes for all 4 steps; its 1 GiB of weights then leave memory"
//   "decode in 8 strips"
// The first names the phase that sets the peak; the last says where nothing is streamed.
std::vector<std::string> ExplainPlan(const Plan& plan);

}  // namespace ingot
