// The reader: brings weights from their file to their places, ahead of the ops that use them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/status.h"
#include "base/trace.h"
#include "devices/copy_engine.h"
#include "formats/tensor_file.h"
#include "memory/transfers.h"

namespace ingot {

// One thread that follows a TransferPlan, and the two calls by which the thread that computes keeps
// step with it. Allocates nothing once it runs.
class WeightStream {
 public:
  // Where a weight of the plan goes.
  struct Target {
    const TensorEntry* entry = nullptr;
    DType dtype = DType::kF32;  // in memory: the entry's, or F32
    // Of the first element. Not staged: offset % kPageBytes bytes behind the start of a page, with
    // PagesBytes of room from there.
    std::byte* data = nullptr;
    bool is_staged = false;  // read in pieces into `staging`, converted or copied from there
    // With copies: on a page of host memory, HeldBytes of room. There the weight stays, as it is in
    // memory, from the first run on; null: it is read in every run.
    std::byte* held = nullptr;
  };
  static int64_t HeldBytes(const TensorEntry& entry, DType dtype);

  // Of `staging`; on a page boundary, reads are direct.
  static constexpr int64_t kStagingBytes = (256 << 10) + 2 * kPageBytes;

  // With copies: two slots, each of them a piece as read and as converted.
  static constexpr int64_t kConvertedBytes = 1 << 20;
  static constexpr int64_t kPinnedBytes = 2 * (kStagingBytes + kConvertedBytes);

  // Starts reading at once. Everything given outlives the stream; targets are one a load.
  // has_residents: they need not be read. `copies`: targets are on its device, and `staging` is
  // pinned, of kPinnedBytes; null: they are in RAM. With a trace the reader has a row, with a span
  // each load.
  WeightStream(const TensorFile& file, const TransferPlan& plan, std::span<const Target> targets,
               std::span<std::byte> staging, bool has_residents, CopyEngine* copies = nullptr,
               Trace* trace = nullptr);
  ~WeightStream();  // ends the reader after the piece it is at (File::ReadPages)

  // Called by one thread before and after each step, in the order of steps, run after run. Wait
  // returns when the weights of `step` are there; with the reader's error when they never will be;
  // with kCancelled when `stop` is requested.
  Status Wait(int step, std::stop_token stop);
  void Done(int step);

  bool has_residents() const;                      // all of them
  int64_t streamed_bytes() const;                  // read from the file so far
  double stalled_s() const { return stalled_s_; }  // that Wait has waited so far

 private:
  void Read(std::stop_token stop);
  void LabelLoads();
  bool MayBegin(int64_t run, const TransferPlan::Load& load, std::stop_token stop);
  Status Load(size_t load, bool is_read, std::stop_token stop);  // else from where it is held
  Status LoadStaged(const Target& target, std::stop_token stop);
  Status LoadByCopies(const Target& target, std::stop_token stop);
  Status Hold(const Target& target, std::stop_token stop);
  Status UploadHeld(const Target& target, std::stop_token stop);
  int64_t num_loads() const { return static_cast<int64_t>(targets_.size()); }

  const TensorFile& file_;
  const TransferPlan& plan_;
  const std::span<const Target> targets_;
  const std::span<std::byte> staging_;
  const bool begins_with_residents_;
  CopyEngine* const copies_;
  double stalled_s_ = 0;

  Trace* const trace_;
  Trace::Row trace_row_ = 0;
  std::vector<Trace::Label> load_labels_;  // with a trace
  Trace::Label wait_label_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  int64_t ops_before_load_ = 0;  // that may have used the target; of the reader
  // Guarded by mutex_; steps and loads of all runs.
  std::vector<int64_t> num_ops_at_end_;  // of each step, the last time: CopyEngine::num_ops
  int64_t num_steps_done_ = 0;
  int64_t num_loads_done_ = 0;
  int64_t num_runs_begun_ = 0;
  int64_t streamed_bytes_ = 0;
  Status error_;

  std::jthread reader_;  // last: uses all of the above
};

}  // namespace ingot
