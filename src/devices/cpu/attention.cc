#include "devices/cpu/attention.h"

#include <algorithm>
#include <functional>

#include "base/check.h"
#include "devices/cpu/attention_f32.h"
#include "devices/cpu/attention_int.h"

namespace ingot::cpu {
namespace {

// Room for the packed keys and values of a group of heads.
constexpr size_t kGroupBytes = size_t{16} << 20;

constexpr size_t CeilDivide(size_t a, size_t b) { return (a + b - 1) / b; }

// Sizes of an op, and what it needs of the workspace.
struct Dims {
  Dims(const op::Attention& op, const Shape& queries, const Shape& keys)
      : compute(ComputeOf(op, queries)),
        num_heads(static_cast<size_t>(queries[2])),
        num_queries(static_cast<size_t>(queries[1])),
        num_keys(static_cast<size_t>(keys[1])),
        head_dim(static_cast<size_t>(queries[3])),
        total_heads(static_cast<size_t>(queries[0]) * num_heads) {}

  bool is_f32() const { return compute == op::Compute::kF32; }
  // One head beside no other is read where it is.
  bool is_packed() const { return !is_f32() || num_heads > 1; }
  size_t packed_bytes() const {  // of a head
    if (!is_f32()) return PackedHead::NumBytes(num_keys, head_dim);
    return is_packed() ? CeilDivide(2 * num_keys * copied_stride() * sizeof(float), 64) * 64 : 0;
  }
  // From row to row of the copies in kF32: an odd number of cache lines, or the rows of V
  // would fight for a few sets of L1.
  size_t copied_stride() const { return (CeilDivide(head_dim, 16) | 1) * 16; }
  // Heads that are packed at a time.
  size_t group_heads() const {
    if (!is_packed()) return total_heads;
    return std::clamp<size_t>(kGroupBytes / packed_bytes(), 1, total_heads);
  }
  size_t scratch_bytes() const {
    return is_f32() ? F32ScratchElements(num_keys, head_dim) * sizeof(float)
                    : IntScratchBytes(head_dim);
  }
  size_t query_block() const { return is_f32() ? kF32QueryBlock : kQueryBlock; }

  op::Compute compute;
  size_t num_heads;
  size_t num_queries, num_keys;  // of a picture
  size_t head_dim;
  size_t total_heads;  // of all pictures
};

// One call: which head, block of keys or block of queries an item is.
class Work {
 public:
  Work(const op::Attention& op, const OpCall& call)
      : op_(op), call_(call), dims_(op, call.inputs[0].shape, call.inputs[1].shape) {}

  void Run(ThreadPool& pool) {
    const size_t key_blocks = CeilDivide(dims_.num_keys, kKeyBlock);
    const size_t query_blocks = CeilDivide(dims_.num_queries, dims_.query_block());
    for (first_head_ = 0; first_head_ < dims_.total_heads; first_head_ += dims_.group_heads()) {
      const size_t count = std::min(dims_.group_heads(), dims_.total_heads - first_head_);
      const auto pack = [this](size_t item, size_t thread_idx) { Pack(item, thread_idx); };
      if (dims_.is_packed()) pool.ParallelFor(count * key_blocks, std::cref(pack));
      const auto attend = [this](size_t item, size_t thread_idx) { Attend(item, thread_idx); };
      pool.ParallelFor(count * query_blocks, std::cref(attend));
    }
  }

 private:
  // Head `head` of all pictures in operand `input_idx`.
  HeadRows Rows(size_t input_idx, size_t head) const {
    const ConstTensorView& view = call_.inputs[input_idx];
    const size_t count = input_idx == 0 ? dims_.num_queries : dims_.num_keys;
    const size_t stride = TokenStride(view);
    const size_t offset =
        head / dims_.num_heads * count * stride + head % dims_.num_heads * dims_.head_dim;
    return {reinterpret_cast<const float*>(view.data) + offset, stride, count};
  }
  size_t TokenStride(const ConstTensorView& view) const {
    INGOT_CHECK(view.dtype == DType::kF32);
    return static_cast<size_t>(
        view.RowStride(static_cast<int64_t>(dims_.num_heads * dims_.head_dim)));
  }

  std::byte* PackedMemory(size_t head) const {
    return call_.workspace.data() + (head - first_head_) * dims_.packed_bytes();
  }
  PackedHead Packed(size_t head) const {
    return {PackedMemory(head), dims_.num_keys, dims_.head_dim};
  }
  std::byte* Scratch(size_t thread_idx) const {
    return PackedMemory(first_head_ + dims_.group_heads()) + thread_idx * dims_.scratch_bytes();
  }

  void Pack(size_t item, size_t thread_idx) const;
  void Attend(size_t item, size_t thread_idx) const;
  void AttendF32(size_t head, const HeadRows& queries, size_t first, float* scratch) const;
  float* Copy(size_t head, size_t input_idx) const;
  HeadRows CopiedRows(size_t head, size_t input_idx) const;
  const float* Bias(size_t head, size_t query) const;
  float* Out(size_t head, size_t query) const;

  const op::Attention& op_;
  const OpCall& call_;
  const Dims dims_;
  size_t first_head_ = 0;  // of the group
};

// Where kF32 copies the rows of a head's keys (1) or values (2).
float* Work::Copy(size_t head, size_t input_idx) const {
  return reinterpret_cast<float*>(PackedMemory(head)) +
         (input_idx - 1) * dims_.num_keys * dims_.copied_stride();
}

// Keys or values of a head as kF32 reads them.
HeadRows Work::CopiedRows(size_t head, size_t input_idx) const {
  if (!dims_.is_packed()) return Rows(input_idx, head);
  return {Copy(head, input_idx), dims_.copied_stride(), dims_.num_keys};
}

void Work::Pack(size_t item, size_t thread_idx) const {
  const size_t num_blocks = CeilDivide(dims_.num_keys, kKeyBlock);
  const size_t head = first_head_ + item / num_blocks, block = item % num_blocks;
  if (!dims_.is_f32()) {
    return PackKeyBlock(dims_.compute, Packed(head), Rows(1, head), Rows(2, head), block,
                        Scratch(thread_idx));
  }
  for (size_t input_idx : {1, 2}) {
    const HeadRows from = Rows(input_idx, head);
    float* to = Copy(head, input_idx);
    const size_t end = std::min((block + 1) * kKeyBlock, dims_.num_keys);
    for (size_t key = block * kKeyBlock; key < end; ++key) {
      std::copy_n(from.data + key * from.stride, dims_.head_dim, to + key * dims_.copied_stride());
    }
  }
}

const float* Work::Bias(size_t head, size_t query) const {
  if (call_.inputs.size() < 4) return nullptr;
  // A bias of one picture serves the whole batch.
  const ConstTensorView& bias = call_.inputs[3];
  const size_t bias_head = head % (static_cast<size_t>(bias.shape[0]) * dims_.num_heads);
  return bias.As<float>().data() + (bias_head * dims_.num_queries + query) * dims_.num_keys;
}

float* Work::Out(size_t head, size_t query) const {
  const size_t token = head / dims_.num_heads * dims_.num_queries + query;
  return reinterpret_cast<float*>(call_.output.data) + token * TokenStride(call_.output) +
         head % dims_.num_heads * dims_.head_dim;
}

void Work::Attend(size_t item, size_t thread_idx) const {
  const size_t num_blocks = CeilDivide(dims_.num_queries, dims_.query_block());
  const size_t head = first_head_ + item / num_blocks;
  const size_t first = item % num_blocks * dims_.query_block();
  HeadRows queries = Rows(0, head);
  queries.data += first * queries.stride;
  queries.count = std::min(dims_.query_block(), queries.count - first);
  std::byte* scratch = Scratch(thread_idx);
  if (dims_.is_f32()) {
    return AttendF32(head, queries, first, reinterpret_cast<float*>(scratch));
  }
  AttendInt(dims_.compute,
            {.queries = queries,
             .scale = op_.scale,
             .bias = Bias(head, first),
             .out = Out(head, first),
             .out_stride = TokenStride(call_.output)},
            Packed(head), scratch);
}

void Work::AttendF32(size_t head, const HeadRows& queries, size_t first, float* scratch) const {
  cpu::AttendF32({.queries = queries,
                  .keys = CopiedRows(head, 1),
                  .values = CopiedRows(head, 2),
                  .head_dim = dims_.head_dim,
                  .scale = op_.scale,
                  .bias = Bias(head, first),
                  .causal = op_.causal,
                  .first_query = first,
                  .out = Out(head, first),
                  .out_stride = TokenStride(call_.output)},
                 scratch);
}

}  // namespace

op::Compute ComputeOf(const op::Attention& op, const Shape& queries) {
  const bool fits = !op.causal && queries[3] <= static_cast<int64_t>(kMaxIntHeadDim);
  return fits ? op.compute : op::Compute::kF32;
}

void Run(const op::Attention& op, const OpCall& call, ThreadPool& pool) {
  INGOT_CHECK(op.scale > 0.0f);
  Work(op, call).Run(pool);
}

int64_t WorkspaceBytes(const op::Attention& op, const OpSignature& signature, size_t num_threads) {
  const Dims dims(op, signature.input_shapes[0], signature.input_shapes[1]);
  return static_cast<int64_t>(dims.group_heads() * dims.packed_bytes() +
                              num_threads * dims.scratch_bytes());
}

}  // namespace ingot::cpu
