#include "devices/cuda/cuda_device.h"

#include <algorithm>
#include <mutex>
#include <utility>
#include <variant>

#include <cuda_runtime.h>

#include "base/file.h"
#include "base/system_memory.h"
#include "devices/copy_engine.h"
#include "devices/cuda/attention.h"
#include "devices/cuda/context.h"
#include "devices/cuda/conv.h"
#include "devices/cuda/driver_memory.h"
#include "devices/cuda/elementwise.h"
#include "devices/cuda/group_norm.h"
#include "devices/cuda/linear.h"
#include "devices/cuda/matmul.h"
#include "devices/cuda/movement.h"
#include "devices/cuda/norm.h"
#include "devices/cuda/position.h"
#include "devices/cuda/runtime.h"
#include "devices/op_defaults.h"

namespace ingot::cuda {
using op_defaults::AcceptsDType, op_defaults::AcceptsRuns, op_defaults::AcceptsStrips,
    op_defaults::AliasOf, op_defaults::WorkspaceBytes;
}

namespace ingot {
namespace {

constexpr int kUp = 0, kDown = 1;  // the streams of events

// How many ops may wait for the GPU: enough that it never waits for the host, few enough that a
// cancelled job ends within 300 ms where an op takes 30.
constexpr int64_t kMaxOpsAhead = 8;

// An op has a kernel when an included header declares cuda::Run for it.
template <typename T>
concept HasKernel = requires(const T& op, const OpCall& call, const cuda::Context& context) {
  cuda::Run(op, call, context);
};

bool AcceptsDType(const op::Op& op, int input_idx, DType dtype) {
  return std::visit([&](const auto& o) { return cuda::AcceptsDType(o, input_idx, dtype); }, op);
}

class CudaDevice final : public Device, public CopyEngine {
 public:
  explicit CudaDevice(const CudaOptions& options) : options_(options), fixed_(options.fixed) {}

  std::string_view name() const override { return "cuda"; }
  CopyEngine* copy_engine() override { return this; }
  const CopyEngine* copy_engine() const override { return this; }
  Result<std::unique_ptr<Arena>> Allocate(int64_t num_bytes, std::stop_token stop) override;
  DType WeightDType(const op::Op& op, int input_idx, DType file_dtype) const override {
    return AcceptsDType(op, input_idx, file_dtype) ? file_dtype : DType::kF32;
  }
  Status Supports(const OpSignature& signature) const override;
  bool AcceptsRuns(const op::Op& op, int input_idx) const override;
  int AliasOf(const op::Op& op) const override;
  bool WantsF8() const override { return true; }
  bool AcceptsStrips(const op::Op& op) const override;
  int64_t WorkspaceBytes(const OpSignature& signature) const override;
  Status Run(const OpCall& call, std::stop_token stop) override;
  bool is_lost() const override {
    return work_ != nullptr && cudaStreamSynchronize(work_->compute.get()) != cudaSuccess;
  }

  Status Start() override;
  FixedBytes fixed_bytes() const override;
  int64_t AvailableBytes() const override;
  int64_t reserve_bytes() const override { return options_.reserve_bytes; }
  int64_t UsedBytes() const override;
  int64_t PeakBytes() const override;
  void ResetPeak() override;
  double LinkBytesPerSecond() const override { return kLinkBytesPerSecond; }
  Result<std::unique_ptr<Arena>> AllocatePinned(int64_t num_bytes) override;
  int64_t num_ops() const override;
  Result<Event> UploadAfter(int64_t num_ops, std::span<const std::byte> host,
                            std::span<std::byte> device) override;
  Result<Event> Download(std::span<const std::byte> device, std::span<std::byte> host) override;
  Status Wait(Event event, std::stop_token stop) override;

 private:
  class DeviceArena;
  class PinnedArena;

  // PCIe 4.0 x16 as measured by most.
  static constexpr double kLinkBytesPerSecond = 25e9;

  int64_t FreeBytes() const;  // as the driver tells it
  // Behind the first `num_ops` ops.
  Result<Event> Copy(int stream, int64_t num_ops, const void* from, void* to, size_t num_bytes);
  void Count(int64_t num_bytes);
  // Returns when all streams are empty, whatever came of it.
  void Drain();

  // What takes memory of the GPU itself: made with the first allocation, so that who only plans
  // takes none.
  struct Work {
    std::unique_ptr<cuda::Matmul> matmul;
    cuda::Stream compute, copies[2];
    cuda::Timeline ops, copied[2];  // guarded by mutex_
  };

  const CudaOptions options_;
  std::unique_ptr<Work> work_;

  mutable std::mutex mutex_;  // the reader of weights copies while the host runs ops
  FixedBytes fixed_;          // a guess until Start
  int64_t used_bytes_ = 0, peak_bytes_ = 0;
};

class CudaDevice::DeviceArena final : public Arena {
 public:
  DeviceArena(std::span<std::byte> bytes, CudaDevice& device) : Arena(bytes), device_(device) {
    device_.Count(static_cast<int64_t>(bytes.size()));
  }
  ~DeviceArena() override {
    device_.Drain();  // of what still reads or writes it
    (void)cudaFree(bytes_.data());
    device_.Count(-static_cast<int64_t>(bytes_.size()));
  }

 private:
  CudaDevice& device_;
};

// Where the system lets no more memory be locked, any memory will do: CUDA then copies by way of
// its own. Pages, as files are read into it past the page cache.
class CudaDevice::PinnedArena final : public Arena {
 public:
  PinnedArena(std::span<std::byte> bytes, bool is_pinned, CudaDevice& device)
      : Arena(bytes), is_pinned_(is_pinned), device_(device) {}
  ~PinnedArena() override {
    device_.Drain();
    is_pinned_ ? static_cast<void>(cudaFreeHost(bytes_.data()))
               : ::operator delete(bytes_.data(), std::align_val_t(kPageBytes));
  }

 private:
  const bool is_pinned_;
  CudaDevice& device_;
};

void CudaDevice::Count(int64_t num_bytes) {
  const std::scoped_lock lock(mutex_);
  used_bytes_ += num_bytes;
  peak_bytes_ = std::max(peak_bytes_, used_bytes_);
}

void CudaDevice::Drain() {
  for (const cuda::Stream* stream : {&work_->compute, &work_->copies[kUp], &work_->copies[kDown]}) {
    (void)cudaStreamSynchronize(stream->get());
  }
}

Status CudaDevice::Start() {
  INGOT_CHECK(!options_.plans_only);
  if (work_ != nullptr) return {};
  const Result<int64_t> before = cuda::ReadFreeBytes();
  const Result<ProcessMemory> host_before = ReadProcessMemory();
  // A waiting thread sleeps: others have work for the processor.
  (void)cudaSetDeviceFlags(cudaDeviceScheduleBlockingSync);
  INGOT_RETURN_IF_ERROR(cuda::StatusOf(cudaSetDevice(0), "a GPU that answers"));
  INGOT_ASSIGN_OR_RETURN(std::unique_ptr<cuda::Matmul> matmul, cuda::Matmul::Open());
  work_ = std::make_unique<Work>();
  work_->matmul = std::move(matmul);
  const Result<int64_t> after = cuda::ReadFreeBytes();
  const Result<ProcessMemory> host_after = ReadProcessMemory();
  FixedBytes fixed = options_.fixed;
  // What other programs took or gave in these milliseconds is counted in.
  if (before.ok() && after.ok()) fixed.device = std::max<int64_t>(*before - *after, 0);
  if (host_before.ok() && host_after.ok()) {
    fixed.host = std::max<int64_t>(host_after->resident_bytes - host_before->resident_bytes, 0);
  }
  {
    const std::scoped_lock lock(mutex_);
    fixed_ = fixed;
  }
  Count(fixed.device);
  return {};
}

Result<std::unique_ptr<Arena>> CudaDevice::Allocate(int64_t num_bytes, std::stop_token) {
  INGOT_RETURN_IF_ERROR(Start());
  if (num_bytes == 0)
    return std::unique_ptr<Arena>(std::make_unique<DeviceArena>(std::span<std::byte>(), *this));
  int64_t free = FreeBytes();
  if (options_.vram_bytes > 0) free = std::min(free, options_.vram_bytes - UsedBytes());
  void* memory = nullptr;
  const cudaError_t error = num_bytes > free ? cudaErrorMemoryAllocation
                                             : cudaMalloc(&memory, static_cast<size_t>(num_bytes));
  if (error == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();  // no fault of the device
    return Unavailable("cuda: device memory: expected {} bytes in one piece, found {} free in all",
                       num_bytes, free);
  }
  INGOT_RETURN_IF_ERROR(cuda::StatusOf(error, "device memory"));
  return std::unique_ptr<Arena>(std::make_unique<DeviceArena>(
      std::span(static_cast<std::byte*>(memory), static_cast<size_t>(num_bytes)), *this));
}

Result<std::unique_ptr<Arena>> CudaDevice::AllocatePinned(int64_t num_bytes) {
  INGOT_RETURN_IF_ERROR(Start());
  const size_t size = std::max<size_t>(static_cast<size_t>(num_bytes), 1);
  void* memory = nullptr;
  const bool is_pinned = cudaHostAlloc(&memory, size, cudaHostAllocDefault) == cudaSuccess;
  if (!is_pinned) {
    (void)cudaGetLastError();  // no failure of the device
    memory = ::operator new(size, std::align_val_t(kPageBytes), std::nothrow);
    if (memory == nullptr) return Unavailable("expected {} bytes of memory, found none", num_bytes);
  }
  return std::unique_ptr<Arena>(std::make_unique<PinnedArena>(
      std::span(static_cast<std::byte*>(memory), static_cast<size_t>(num_bytes)), is_pinned,
      *this));
}

Status CudaDevice::Supports(const OpSignature& signature) const {
  const auto check = [&](int operand, DType found) -> Status {
    if (AcceptsDType(*signature.op, operand, found)) return {};
    return Unsupported("cuda: {}: expected operand {} in a type of its kernel, found {}",
                       op::Name(*signature.op), operand, Name(found));
  };
  const bool has_kernel =
      std::visit([]<typename T>(const T&) { return HasKernel<T>; }, *signature.op);
  if (!has_kernel) return Unsupported("cuda: {}: has no kernel", op::Name(*signature.op));
  for (size_t i = 0; i < signature.input_dtypes.size(); ++i) {
    INGOT_RETURN_IF_ERROR(check(static_cast<int>(i), signature.input_dtypes[i]));
  }
  return check(-1, signature.output_dtype);
}

bool CudaDevice::AcceptsRuns(const op::Op& op, int input_idx) const {
  return std::visit([&](const auto& o) { return cuda::AcceptsRuns(o, input_idx); }, op);
}

int CudaDevice::AliasOf(const op::Op& op) const {
  return std::visit([](const auto& o) { return cuda::AliasOf(o); }, op);
}

bool CudaDevice::AcceptsStrips(const op::Op& op) const {
  return std::visit([](const auto& o) { return cuda::AcceptsStrips(o); }, op);
}

int64_t CudaDevice::WorkspaceBytes(const OpSignature& signature) const {
  return std::visit([&](const auto& op) { return cuda::WorkspaceBytes(op, signature); },
                    *signature.op);
}

Status CudaDevice::Run(const OpCall& call, std::stop_token stop) {
  if (stop.stop_requested()) return Cancelled("cancelled by the caller");
  const cuda::Context context = {.stream = work_->compute.get(), .matmul = *work_->matmul};
  std::visit(
      [&]<typename T>(const T& op) {
        if constexpr (HasKernel<T>) {
          cuda::Run(op, call, context);
        } else {
          INGOT_CHECK(false);  // Supports refused it, or it is only a view
        }
      },
      *call.op);
  INGOT_RETURN_IF_ERROR(
      cuda::StatusOf(cudaGetLastError(), fmt::format("{} to run", op::Name(*call.op))));
  INGOT_RETURN_IF_ERROR(work_->matmul->TakeError());
  cudaEvent_t behind = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    INGOT_RETURN_IF_ERROR(work_->ops.Mark(work_->compute.get()).status());
    const int64_t number = work_->ops.last() - kMaxOpsAhead;
    if (number > 0) behind = work_->ops.EventOf(number);
  }
  // Of a traced op the end is wanted as well.
  if (trace() != nullptr) {
    return cuda::StatusOf(cudaStreamSynchronize(work_->compute.get()), "an op to end");
  }
  if (behind == nullptr) return {};
  return cuda::StatusOf(cudaEventSynchronize(behind), "an op to end");
}

FixedBytes CudaDevice::fixed_bytes() const {
  const std::scoped_lock lock(mutex_);
  return fixed_;
}

int64_t CudaDevice::FreeBytes() const {
  const Result<int64_t> free = cuda::ReadFreeBytes();
  if (free.ok()) return *free;
  size_t of_driver = 0, total = 0;
  if (cudaMemGetInfo(&of_driver, &total) != cudaSuccess) return 0;
  return static_cast<int64_t>(of_driver);
}

int64_t CudaDevice::AvailableBytes() const {
  if (options_.plans_only && options_.vram_bytes > 0) return options_.vram_bytes;
  const int64_t available = FreeBytes() - options_.reserve_bytes + UsedBytes();
  return options_.vram_bytes > 0 ? std::min(available, options_.vram_bytes) : available;
}

int64_t CudaDevice::UsedBytes() const {
  const std::scoped_lock lock(mutex_);
  return used_bytes_;
}

int64_t CudaDevice::PeakBytes() const {
  const std::scoped_lock lock(mutex_);
  return peak_bytes_;
}

void CudaDevice::ResetPeak() {
  const std::scoped_lock lock(mutex_);
  peak_bytes_ = used_bytes_;
}

int64_t CudaDevice::num_ops() const {
  const std::scoped_lock lock(mutex_);
  return work_->ops.last();
}

Result<Event> CudaDevice::UploadAfter(int64_t num_ops, std::span<const std::byte> host,
                                      std::span<std::byte> device) {
  INGOT_CHECK(host.size() == device.size());
  return Copy(kUp, num_ops, host.data(), device.data(), host.size());
}

Result<Event> CudaDevice::Download(std::span<const std::byte> device, std::span<std::byte> host) {
  INGOT_CHECK(host.size() == device.size());
  return Copy(kDown, num_ops(), device.data(), host.data(), host.size());
}

Result<Event> CudaDevice::Copy(int stream, int64_t num_ops, const void* from, void* to,
                               size_t num_bytes) {
  const cudaStream_t copies = work_->copies[stream].get();
  const std::scoped_lock lock(mutex_);
  // Run has waited for those that are further back.
  if (num_ops > 0 && num_ops >= work_->ops.last() - kMaxOpsAhead) {
    INGOT_RETURN_IF_ERROR(cuda::StatusOf(
        cudaStreamWaitEvent(copies, work_->ops.EventOf(num_ops), 0), "to wait for an op"));
  }
  const cudaMemcpyKind kind = stream == kUp ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost;
  INGOT_RETURN_IF_ERROR(
      cuda::StatusOf(cudaMemcpyAsync(to, from, num_bytes, kind, copies), "a copy to begin"));
  INGOT_ASSIGN_OR_RETURN(const int64_t number, work_->copied[stream].Mark(copies));
  return Event{stream, number};
}

Status CudaDevice::Wait(Event event, std::stop_token stop) {
  if (stop.stop_requested()) return Cancelled("cancelled by the caller");
  if (event.copy == 0) return {};
  cudaEvent_t arrived = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    arrived = work_->copied[event.stream].EventOf(event.copy);
  }
  return cuda::StatusOf(cudaEventSynchronize(arrived), "a copy to arrive");
}

}  // namespace

std::string CudaGpuName() {
  int driver = 0;
  cudaDeviceProp gpu = {};
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0 ||
      cudaGetDeviceProperties(&gpu, 0) != cudaSuccess) {
    return {};
  }
  return fmt::format("{}; driver {}", gpu.name, driver);
}

Result<std::unique_ptr<Device>> OpenCudaDevice(const CudaOptions& options) {
  if (options.plans_only && options.vram_bytes > 0) {
    return std::unique_ptr<Device>(std::make_unique<CudaDevice>(options));
  }
  int driver = 0, num_devices = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    return Unavailable("cuda: expected a driver of NVIDIA, found none");
  }
  INGOT_RETURN_IF_ERROR(cuda::StatusOf(cudaGetDeviceCount(&num_devices), "a GPU"));
  if (num_devices == 0) return Unavailable("cuda: expected a GPU, found none");
  return std::unique_ptr<Device>(std::make_unique<CudaDevice>(options));
}

}  // namespace ingot
