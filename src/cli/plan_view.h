// A plan as the command line shows it: table, bars and sentences.
#pragma once

#include <string>

#include "engine/engine.h"

namespace ingot {

// Lines of at most `columns` characters (60 and more): a row a phase, its bytes and
// predicted seconds; a bar a phase, drawn to the scale of the larger of peak and
// budget; then what the plan does to fit.
std::string ShowPlan(const Plan& plan, const Budget& budget, int columns);

// Columns of the terminal on stdout, kept within [60, 120]; 80 where it is none.
int TerminalColumns();

}  // namespace ingot
