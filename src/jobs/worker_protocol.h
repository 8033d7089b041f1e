// What server and worker say to each other: one JSON object a line, over a socket pair whose end
// the worker finds as descriptor 3.
//
// To the worker:
//   start     {role, num_threads, models_dir, cuda, sim}  first; role "jobs" or "questions"; one of
//                                                       cuda {vram_bytes} and sim {vram_bytes,
//                                                       link_bytes_per_s}, or none: the processor
//   ask       {number, question, argument}              as JobService::Ask
//   run       {id, job, paths, memory_bytes, beside_bytes, shrunk_bytes, forge_inference_memory,
//              scratch_folder, embedding_cache}          shrunk_bytes: a wish, after a death
//   cancel    {id}
//   interrupt {id}                                      done with what is sampled
//   forget    {}
//   budget    {memory_bytes}                            for what is kept between jobs
// From it:
//   ready     {}
//   answer    {number, answer} or {number, code, error}
//   plan      {id, plan}                                of the run, before it reads a tensor
//   progress  {id, phase, step, num_steps}
//   memory    {id, ram_bytes, vram_bytes, kept_bytes, kept_vram_bytes, streamed_bytes, stalled_s, num_ops}
//                                                       after steps and twice a second
//   preview   {id, step, png}                           base64
//   done      {id, result}
//   failed    {id, code, error}
// An end of the stream is the end of the other side: the worker then stops at once.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/json.h"

namespace ingot {

inline constexpr int kWorkerSocket = 3;

// How a worker exits whose device is lost; a new one may find it again.
inline constexpr int kDeviceLostExit = 60;

// A model file of many thousand tensors is described in some MiB.
inline constexpr size_t kMaxMessageBytes = 64 << 20;

// Objects over a stream socket, which it closes in the end. One thread reads; any may send.
class MessageStream {
 public:
  explicit MessageStream(int descriptor) : descriptor_(descriptor) {}
  ~MessageStream();
  MessageStream(const MessageStream&) = delete;
  MessageStream& operator=(const MessageStream&) = delete;

  // kUnavailable when the other side is gone or takes nothing for the socket's send timeout.
  Status Send(const Json& message);

  // Waits for the next object. kUnavailable at the end of the stream, kCorruption for what is none.
  Result<Json> Receive();

  // Of what has arrived: the next object, or none yet. Never waits.
  Result<std::optional<Json>> ReceiveArrived();

 private:
  Result<std::optional<Json>> TakeLine();
  Result<bool> Fill(int flags);  // whether something came

  const int descriptor_;
  std::mutex send_mutex_;
  std::string buffer_;
  size_t searched_ = 0;  // of the buffer: no end of line before
};

// Members "cuda" and "sim" of a start message; faults to order are left out.
Json DeviceToJson(const DeviceOptions& device);
DeviceOptions DeviceFromJson(const Json& message);

// {code, error} and back.
Json FaultToJson(const Status& status);
Status FaultFromJson(const Json& message);

// Members of a message; a wrong or absent one is empty. Both sides are of one build: what does not
// fit is a fault of the stream, not of a user.
std::string TextOf(const Json& message, const char* key);
std::optional<int64_t> NumberOf(const Json& message, const char* key);

}  // namespace ingot
