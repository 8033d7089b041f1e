// The x86 level that the kernels run at. Highway keeps it for the whole process.
#pragma once

#include <string_view>

#include "base/status.h"

namespace ingot::cpu {

// Runs all kernels at `level` at most. From the lowest: "AVX2", "AVX_VNNI"
// (AVX2 with dot products of bytes), "AVX3" (AVX-512), "AVX3_DL" (with VNNI),
// "AMX" (with tiles of bytes). Empty: the value of INGOT_CPU_TARGET, else the
// best of this machine. Not while kernels run.
Status SelectTarget(std::string_view level);

// The level whose kernels run now.
std::string_view ActiveTarget();

// Highway has no targets for these two: kernels of "AVX2" and of "AVX3_DL" ask.
bool UsesAvxVnni();
bool UsesAmx();

}  // namespace ingot::cpu
