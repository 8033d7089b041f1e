// The table of routes over a fake service, asked as a client would.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "server/routes.h"
#include "fake_job_service.h"

namespace ingot::server {

// Keeps what was sent; a client that waits for it.
class Answered : public Responder {
 public:
  class Stream_ : public EventStream {
   public:
    void Send(std::string_view id, std::string_view event, std::string_view data) override {
      const std::lock_guard lock(mutex);
      events.push_back({std::string(id), std::string(event), std::string(data)});
    }
    void Close() override {
      {
        const std::lock_guard lock(mutex);
        is_closed = true;
      }
      changed.notify_all();
    }
    struct Event {
      std::string id, type, data;
    };
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<Event> events;
    bool is_closed = false;
  };

  void Send(Response sent) override {
    {
      const std::lock_guard lock(mutex_);
      EXPECT_FALSE(response_) << "a second answer";
      response_ = std::move(sent);
    }
    changed_.notify_all();
  }
  std::shared_ptr<EventStream> Stream(Headers, std::function<void()> on_close) override {
    on_close_ = std::move(on_close);
    stream = std::make_shared<Stream_>();
    return stream;
  }
  void OnDisconnect(std::function<void()> callback) override { on_disconnect_ = callback; }

  void Disconnect() { on_disconnect_(); }
  void CloseStream() {
    if (on_close_) on_close_();
    on_close_ = {};
  }
  bool has_answer() {
    const std::lock_guard lock(mutex_);
    return response_.has_value();
  }
  Response Wait() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(10), [&] { return response_.has_value(); }));
    return response_.value_or(Response{.status = 0, .body = "null"});
  }
  void WaitForClose() {
    std::unique_lock lock(stream->mutex);
    EXPECT_TRUE(stream->changed.wait_for(lock, std::chrono::seconds(10),
                                         [&] { return stream->is_closed; }));
  }
  std::shared_ptr<Stream_> stream;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Response> response_;
  std::function<void()> on_disconnect_, on_close_;
};

struct ApiClient {
  ApiClient() { AddApiRoutes(router, jobs, {.models_dir = "/m", .data_dir = "/d"}); }

  std::shared_ptr<Answered> Begin(std::string method, std::string path,
                                  const std::string& body = "", Headers headers = {}) {
    Request request{.method = std::move(method),
                    .path = std::move(path),
                    .headers = headers,
                    .body = body,
                    .client = "test",
                    .origin = "http://127.0.0.1:7860"};
    if (const size_t query = request.path.find('?'); query != std::string::npos) {
      const std::string text = request.path.substr(query + 1);
      request.path.resize(query);
      if (const size_t equals = text.find('='); equals != std::string::npos) {
        request.query[text.substr(0, equals)] = text.substr(equals + 1);
      }
    }
    auto answered = std::make_shared<Answered>();
    router.Handle(request, answered);
    return answered;
  }
  Response Ask(std::string method, std::string path, const Json& body = nullptr) {
    return Begin(std::move(method), std::move(path), body.is_null() ? "" : Dump(body))->Wait();
  }
  Json Get(std::string path) { return Json::parse(Ask("GET", std::move(path)).body); }

  FakeJobService jobs;
  Router router;
};

// A PNG of one pixel in the test's folder.
std::string TestPicture();

}  // namespace ingot::server
