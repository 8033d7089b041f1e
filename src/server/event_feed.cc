#include "server/event_feed.h"

#include <charconv>
#include <mutex>

namespace ingot::server {
namespace {

uint64_t LastEventId(const Request& request) {
  std::string text(request.header("Last-Event-ID"));
  if (const auto query = request.query.find("last_event_id"); text.empty()) {
    if (query != request.query.end()) text = query->second;
  }
  uint64_t id = 0;
  std::from_chars(text.data(), text.data() + text.size(), id);
  return id;
}

// Held by the stream's on_close; the subscription ends with it, on the waiter's thread: not on one
// of the service that is within its sink.
struct Feed {
  std::mutex mutex;
  bool is_closed = false;
  std::unique_ptr<Subscription> subscription;
};

}  // namespace

void OpenEventFeed(const ApiPtr& api, const std::string& job_id, uint64_t last_event_id,
                   const ResponderPtr& responder,
                   std::function<void(const std::shared_ptr<EventStream>&, const JobEvent&)> sink,
                   std::function<void()> on_close) {
  const auto feed = std::make_shared<Feed>();
  const std::shared_ptr<EventStream> stream =
      responder->Stream({}, [post = api->waiter.poster(), feed, on_close = std::move(on_close)] {
        post([feed, on_close] {
          std::unique_ptr<Subscription> ended;
          {
            const std::lock_guard lock(feed->mutex);
            feed->is_closed = true;
            ended = std::move(feed->subscription);
          }
          if (on_close) on_close();
        });
      });
  std::unique_ptr<Subscription> subscription = api->jobs.Subscribe(
      job_id, last_event_id,
      [stream, sink = std::move(sink)](const JobEvent& event) { sink(stream, event); });
  const std::lock_guard lock(feed->mutex);
  if (!feed->is_closed) feed->subscription = std::move(subscription);
}

namespace {

Json DataOf(const JobEvent& event) {
  Json data = {{"job_id", event.job_id}};
  if (event.data.is_object()) data.update(event.data);
  return data;
}

// The end of a job whose events are forgotten.
JobEvent EndOf(const JobRow& job) {
  JobEvent end{.job_id = job.id, .type = std::string(Name(job.state)), .data = Json::object()};
  if (!job.error.empty()) end.data = {{"code", job.error_code}, {"error", job.error}};
  for (size_t i = 0; i < NumPictures(job); ++i) {
    const Json& image = job.record["images"][i];
    end.data["images"].push_back(
        {{"path", image.value("path", "")}, {"sha256", image.value("sha256", "")}});
  }
  return end;
}

}  // namespace

void StreamEvents(const ApiPtr& api, const std::optional<JobRow>& job, const Request& request,
                  const ResponderPtr& responder) {
  if (job && IsEnded(job->state)) {
    const std::vector<JobEvent> past = api->jobs.PastEvents(job->id, LastEventId(request));
    const std::shared_ptr<EventStream> stream = responder->Stream({}, [] {});
    for (const JobEvent& event : past) {
      stream->Send(std::to_string(event.id), event.type, Dump(DataOf(event)));
    }
    if (past.empty() || !EndsJob(past.back().type)) {
      const JobEvent end = EndOf(*job);
      stream->Send("", end.type, Dump(DataOf(end)));
    }
    return stream->Close();
  }
  const bool is_one = job.has_value();
  OpenEventFeed(api, is_one ? job->id : "", LastEventId(request), responder,
                [is_one](const std::shared_ptr<EventStream>& stream, const JobEvent& event) {
                  stream->Send(std::to_string(event.id), event.type, Dump(DataOf(event)));
                  if (is_one && EndsJob(event.type)) stream->Close();
                });
}

}  // namespace ingot::server
