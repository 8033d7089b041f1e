// What the processor can do at most: the yardstick beside every timing of a kernel.
#pragma once

#include "base/thread_pool.h"

namespace ingot::cpu {

// Operations a second of independent multiply-adds in registers, all threads of
// the pool together; one multiply-add counts 2. About 0.1 s each, at the level
// of ActiveTarget().
struct Peaks {
  double f32_flops = 0;
  // u8 x s8 dot products: tiles with AMX, vpdpbusd with VNNI; else the exact
  // way without either, s16 pairs (vpmaddwd + vpaddd).
  double int8_ops = 0;
};

Peaks MeasurePeaks(ThreadPool& pool);

}  // namespace ingot::cpu
