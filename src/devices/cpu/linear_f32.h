// Linear layers in f32, whatever type the weights have.
//
// Every sum is one chain of fused multiply-adds in the order of K, then the epilogue: the same bits
// at every x86 level and thread count, and for a row whatever rows are beside it. Few rows are
// bound by reading and unpacking the weight, which happens once for up to kLinearF32Rows of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "devices/cpu/linear_call.h"

namespace ingot::cpu {

// Rows that pass a panel of unpacked weights together.
inline constexpr size_t kLinearF32Rows = 512;

int64_t LinearF32WorkspaceBytes(op::Prologue prologue, size_t num_rows, size_t num_k,
                                size_t num_threads);

// Items of work: 128 features of kLinearF32Rows rows.
void RunLinearF32(const LinearCall& call, std::span<std::byte> workspace, ThreadPool& pool);

}  // namespace ingot::cpu
