// The x86 level that the kernels run at. Highway keeps it for the whole process.
#pragma once

#include <string_view>

#include "base/status.h"

namespace ingot::cpu {

// Runs all kernels at `level` at most: "AVX2", "AVX3" (AVX-512), "AVX3_DL"
// (with VNNI) or "AMX" (with tiles of bytes). Empty: the value of
// INGOT_CPU_TARGET, else the best of this machine. Not while kernels run.
Status SelectTarget(std::string_view level);

// The level whose kernels run now.
std::string_view ActiveTarget();

// True at the level "AMX". Highway has no target of that name: these kernels are those of
// "AVX3_DL", which ask here.
bool UsesAmx();

}  // namespace ingot::cpu
