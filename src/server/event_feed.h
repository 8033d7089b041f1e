// Events of jobs to one client.
#pragma once

#include <optional>

#include "server/api.h"

namespace ingot::server {

// Server-sent events of `job`, until it has ended, or of all jobs: id, type, and the data with
// "job_id". Goes on behind the header Last-Event-ID, or the query's last_event_id. Of a job that
// had ended before, what is still known of it and its end.
void StreamEvents(const ApiPtr& api, const std::optional<JobRow>& job, const Request& request,
                  const ResponderPtr& responder);

// A stream fed by a subscription, which ends with it. `sink` gets each event with the stream,
// on a thread of the service;
// `on_close` runs on the waiter's thread when the client has gone.
void OpenEventFeed(const ApiPtr& api, const std::string& job_id, uint64_t last_event_id,
                   const ResponderPtr& responder,
                   std::function<void(const std::shared_ptr<EventStream>&, const JobEvent&)> sink,
                   std::function<void()> on_close = {});

}  // namespace ingot::server
