#include "devices/cuda/runtime.h"

namespace ingot::cuda {

Status StatusOf(cudaError_t error, std::string_view what) {
  if (error == cudaSuccess) return {};
  return Unavailable("cuda: expected {}, found {} ({})", what, cudaGetErrorName(error),
                     cudaGetErrorString(error));
}

Result<int> ReadComputeCapability() {
  int device = 0, major = 0, minor = 0;
  INGOT_RETURN_IF_ERROR(StatusOf(cudaGetDevice(&device), "a GPU that was chosen"));
  INGOT_RETURN_IF_ERROR(
      StatusOf(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
               "a compute capability"));
  INGOT_RETURN_IF_ERROR(
      StatusOf(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
               "a compute capability"));
  return 10 * major + minor;
}

Stream::Stream() { (void)cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking); }
Stream::~Stream() { (void)cudaStreamDestroy(stream_); }

Timeline::Timeline() {
  for (cudaEvent_t& event : events_) {
    (void)cudaEventCreateWithFlags(&event, cudaEventBlockingSync | cudaEventDisableTiming);
  }
}
Timeline::~Timeline() {
  for (cudaEvent_t event : events_) (void)cudaEventDestroy(event);
}

Result<int64_t> Timeline::Mark(cudaStream_t stream) {
  INGOT_RETURN_IF_ERROR(StatusOf(cudaEventRecord(EventOf(last_ + 1), stream), "to mark a stream"));
  return ++last_;
}

cudaEvent_t Timeline::EventOf(int64_t number) const { return events_[number % kNumEvents]; }

}  // namespace ingot::cuda
