// Who may call: credentials, hosts that the server is called by, origins of web pages.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "server/http.h"
#include "server/serve.h"

namespace ingot::server {

inline constexpr int kMaxFailedTries = 10;  // of one address in kFailureWindow
inline constexpr std::chrono::seconds kFailureWindow{60};

// Whether the address is of this machine alone.
bool IsLoopback(std::string_view address);

// Thread-safe.
class Access {
 public:
  using Clock = std::chrono::steady_clock;

  // kInvalidArgument: an address that others reach without --api-auth or --insecure, a user
  // without password, an origin that is none ("*" is none: pages are named).
  static Result<std::unique_ptr<Access>> Create(const ServeOptions& options);

  struct Verdict {
    std::optional<Response> refusal;
    std::string client;  // the user, else the address
    Headers headers;     // of the answer, whatever it is: what the page that asks may read
  };
  // Before anything else is done for the request. Host first, then credentials, then origin:
  //   403  the Host is no name of this server (a page whose name was bound to this address)
  //   401  wrong or no credentials; on every route, where --api-auth is given
  //   429  too many wrong ones from the address
  //   403  `changes_state` and a page of another origin asks
  // OPTIONS is answered 204 without credentials, as browsers ask it without; `methods` is Allow.
  Verdict Check(const Request& request, std::string_view address, bool changes_state,
                const std::vector<std::string>& methods, Clock::time_point now = Clock::now());

 private:
  struct User {
    std::string name, pair_sha256, password_sha256;
  };
  struct Failures {
    int count = 0;
    Clock::time_point first;
  };

  bool IsHostAllowed(std::string_view host) const;
  bool IsOriginAllowed(std::string_view origin) const;
  const User* FindUser(std::string_view authorization) const;
  // Seconds until the address may try again; 0: now.
  int Wait(const std::string& network, Clock::time_point now);
  void CountFailure(const std::string& network, Clock::time_point now);

  std::vector<User> users_;
  bool is_loopback_ = true;
  std::string address_;
  std::vector<std::string> hosts_, origins_;
  std::mutex mutex_;
  std::map<std::string, Failures> failures_;
};

}  // namespace ingot::server
