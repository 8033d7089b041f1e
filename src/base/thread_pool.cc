#include "base/thread_pool.h"

#include <fmt/format.h>

#include <chrono>
#include <limits>

#include "base/check.h"

namespace ingot {
namespace {

// Ops follow each other within some microseconds; to wake a sleeper takes 5 to 50.
constexpr auto kSpin = std::chrono::microseconds(30);

// Whether `is_true` becomes so within kSpin.
template <typename Condition>
bool SpinUntil(const Condition& is_true) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (is_true()) return true;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(size_t num_threads) {
  INGOT_CHECK(num_threads >= 1);
  for (size_t i = 1; i < num_threads; ++i) {
    threads_.emplace_back([this, i] { Work(i); });
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::set_trace(Trace* trace) {
  trace_ = trace;
  if (trace == nullptr) return;
  lanes_.assign(num_threads(), {});
  for (size_t i = 1; i < lanes_.size(); ++i)
    lanes_[i].row = trace->AddRow(fmt::format("worker {}", i));
  loop_label_ = trace->AddLabel({.category = "loop", .name = "loop"});
}

void ThreadPool::ParallelFor(size_t num_items, const std::function<void(size_t, size_t)>& body) {
  if (threads_.empty() || num_items <= 1) {
    for (size_t item = 0; item < num_items && !stop_.stop_requested(); ++item) body(item, 0);
    return;
  }
  INGOT_CHECK(body_ == nullptr && num_items <= std::numeric_limits<uint32_t>::max());
  body_ = &body;
  num_items_ = num_items;
  num_done_ = 0;
  ticket_ = ((ticket_ >> 32) + 1) << 32 | num_items;
  if (num_sleeping_ > 0) {
    const std::lock_guard lock(mutex_);  // a thread between its last look and its sleep
    wake_.notify_all();
  }
  while (RunItem(0)) {
  }
  const auto is_done = [&] { return num_done_ == num_items; };
  if (!SpinUntil(is_done)) {
    std::unique_lock lock(mutex_);
    caller_sleeps_ = true;
    done_.wait(lock, is_done);
    caller_sleeps_ = false;
  }
  body_ = nullptr;
}

void ThreadPool::Work(size_t thread_idx) {
  while (!ends_) {
    if (RunItem(thread_idx)) continue;
    if (SpinUntil([this] { return HasWork(); })) continue;
    std::unique_lock lock(mutex_);
    ++num_sleeping_;
    wake_.wait(lock, [this] { return HasWork(); });
    --num_sleeping_;
  }
}

bool ThreadPool::RunItem(size_t thread_idx) {
  uint64_t ticket = ticket_;
  do {
    if (static_cast<uint32_t>(ticket) == 0) return false;
  } while (!ticket_.compare_exchange_weak(ticket, ticket - 1));
  const size_t num_items = num_items_;
  if (!stop_.stop_requested()) {
    Trace::Span* const span = trace_ != nullptr ? SpanOf(thread_idx, ticket >> 32) : nullptr;
    (*body_)(num_items - static_cast<uint32_t>(ticket), thread_idx);
    if (span != nullptr) trace_->End(span);  // so far: before the loop can end
  }
  if (++num_done_ == num_items && caller_sleeps_) {
    const std::lock_guard lock(mutex_);
    done_.notify_one();
  }
  return true;
}

Trace::Span* ThreadPool::SpanOf(size_t thread_idx, uint64_t loop) {
  Lane& lane = lanes_[thread_idx];
  if (lane.loop != loop) {
    lane.loop = loop;
    lane.span = trace_->Begin(lane.row, thread_idx == 0 ? loop_label_ : trace_->op());
  }
  return lane.span;
}

}  // namespace ingot
