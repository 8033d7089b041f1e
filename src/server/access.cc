#include "server/access.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <span>

#include "base/sha256.h"
#include "server/router.h"

namespace ingot::server {
namespace {

constexpr size_t kMaxNetworks = 4096;  // whose failures are remembered

std::string HashOf(std::string_view text) { return Sha256(std::as_bytes(std::span(text))); }

bool AreEqual(const std::string& a, const std::string& b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string Lowered(std::string_view text) {
  std::string lowered(text);
  for (char& c : lowered) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return lowered;
}

std::optional<std::string> DecodeBase64(std::string_view text) {
  std::string bytes;
  uint32_t bits = 0;
  int num_bits = 0;
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  for (const char c : text) {
    uint32_t value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = static_cast<uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      value = static_cast<uint32_t>(c - 'a' + 26);
    } else if (c >= '0' && c <= '9') {
      value = static_cast<uint32_t>(c - '0' + 52);
    } else if (c == '+' || c == '/') {
      value = c == '+' ? 62 : 63;
    } else {
      return std::nullopt;
    }
    bits = bits << 6 | value;
    num_bits += 6;
    if (num_bits >= 8) {
      num_bits -= 8;
      bytes.push_back(static_cast<char>(bits >> num_bits & 0xFF));
    }
  }
  return bytes;
}

bool IsAddress(std::string_view text) {
  const std::string address(text);
  in6_addr bytes;
  return inet_pton(AF_INET, address.c_str(), &bytes) == 1 ||
         inet_pton(AF_INET6, address.c_str(), &bytes) == 1;
}

// "localhost" of "localhost:7860", "::1" of "[::1]:7860"; lower case, without a last dot.
std::string HostName(std::string_view host) {
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    return Lowered(host.substr(1, end == std::string_view::npos ? end : end - 1));
  }
  host = host.substr(0, host.find(':'));
  if (host.ends_with('.')) host.remove_suffix(1);
  return Lowered(host);
}

// Failures are counted by address, of IPv6 by the 64 bits that one customer has.
std::string NetworkOf(std::string_view address) {
  in6_addr bytes;
  const std::string text(address);
  if (inet_pton(AF_INET6, text.c_str(), &bytes) != 1) return text;
  return {reinterpret_cast<const char*>(&bytes), 8};
}

bool IsOrigin(std::string_view text) {
  const size_t scheme = text.find("://");
  if (scheme == std::string_view::npos || scheme == 0) return false;
  const std::string_view authority = text.substr(scheme + 3);
  return !authority.empty() && authority.find_first_of("/?#*@, ") == std::string_view::npos;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

}  // namespace

bool IsLoopback(std::string_view address) {
  return address == "localhost" || address == "::1" ||
         (address.starts_with("127.") && IsAddress(address));
}

Result<std::unique_ptr<Access>> Access::Create(const ServeOptions& options) {
  auto access = std::make_unique<Access>();
  access->address_ = options.address;
  access->is_loopback_ = IsLoopback(options.address);
  for (const std::string_view pair : Split(options.api_auth, ',')) {
    const size_t colon = pair.find(':');
    if (colon == std::string_view::npos || colon == 0 || colon + 1 == pair.size()) {
      // The value is a secret: it is not shown.
      return InvalidArgument("--api-auth: expected USER:PASSWORD[,USER2:PASSWORD2], found another");
    }
    access->users_.push_back({.name = std::string(pair.substr(0, colon)),
                              .pair_sha256 = HashOf(pair),
                              .password_sha256 = HashOf(pair.substr(colon + 1))});
  }
  if (!access->is_loopback_ && access->users_.empty() && !options.is_insecure) {
    return InvalidArgument(
        "--listen {}: expected --api-auth USER:PASSWORD, or --insecure to let everybody in, found "
        "neither",
        options.address);
  }
  for (const std::string& origin : options.cors_allow_origins) {
    if (!IsOrigin(origin)) {
      return InvalidArgument(
          "--cors-allow-origins: expected origins such as https://lite.koboldai.net, found '{}'",
          origin);
    }
    access->origins_.push_back(Lowered(origin));
  }
  for (const std::string& host : options.allowed_hosts) access->hosts_.push_back(HostName(host));
  return access;
}

bool Access::IsHostAllowed(std::string_view host) const {
  // HTTP/1.0 has none; browsers always send one.
  if (host.empty()) return true;
  const std::string name = HostName(host);
  if (IsLoopback(name) || name == address_) return true;
  if (std::find(hosts_.begin(), hosts_.end(), name) != hosts_.end()) return true;
  if (is_loopback_) return false;
  // Rebinding needs a name, and gains nothing where credentials are asked: browsers keep them by
  // origin.
  return IsAddress(name) || !users_.empty();
}

bool Access::IsOriginAllowed(std::string_view origin) const {
  return std::find(origins_.begin(), origins_.end(), Lowered(origin)) != origins_.end();
}

const Access::User* Access::FindUser(std::string_view authorization) const {
  const size_t space = authorization.find(' ');
  if (space == std::string_view::npos) return nullptr;
  const std::string_view scheme = authorization.substr(0, space);
  std::string_view token = authorization.substr(space + 1);
  while (token.starts_with(' ')) token.remove_prefix(1);
  std::string pair;
  bool is_bearer = false;
  if (EqualsIgnoringCase(scheme, "Bearer")) {
    is_bearer = true;
    pair = token;
  } else if (EqualsIgnoringCase(scheme, "Basic")) {
    pair = DecodeBase64(token).value_or("");
  }
  // All users are compared, whichever is found: the time tells nothing.
  const std::string sha256 = HashOf(pair);
  const User* found = nullptr;
  for (const User& user : users_) {
    const bool is_pair = AreEqual(user.pair_sha256, sha256);
    const bool is_password = AreEqual(user.password_sha256, sha256) && is_bearer;
    if (is_pair || is_password) found = &user;
  }
  return found;
}

int Access::Wait(const std::string& network, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const auto found = failures_.find(network);
  if (found == failures_.end()) return 0;
  const auto left = found->second.first + kFailureWindow - now;
  if (left <= Clock::duration::zero()) {
    failures_.erase(found);
    return 0;
  }
  if (found->second.count < kMaxFailedTries) return 0;
  return static_cast<int>(std::chrono::ceil<std::chrono::seconds>(left).count());
}

void Access::CountFailure(const std::string& network, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (failures_.size() >= kMaxNetworks && !failures_.contains(network)) {
    failures_.erase(std::min_element(failures_.begin(), failures_.end(), [](auto& a, auto& b) {
      return a.second.first < b.second.first;
    }));
  }
  Failures& failures = failures_.try_emplace(network, Failures{.first = now}).first->second;
  ++failures.count;
}

Access::Verdict Access::Check(const Request& request, std::string_view address, bool changes_state,
                              const std::vector<std::string>& methods, Clock::time_point now) {
  Verdict verdict = {.refusal = {}, .client = std::string(address), .headers = {}};
  const std::string_view host = request.header("Host");
  if (!IsHostAllowed(host)) {
    verdict.refusal = PlainErrorResponse(
        403, fmt::format("Host: expected a name of this server, found '{}'; see --allowed-hosts",
                         host.substr(0, 80)));
    return verdict;
  }

  const std::string_view origin = request.header("Origin");
  const bool is_listed = !origin.empty() && IsOriginAllowed(origin);
  if (!origins_.empty()) verdict.headers.emplace_back("Vary", "Origin");
  if (is_listed) {
    verdict.headers.emplace_back("Access-Control-Allow-Origin", origin);
    verdict.headers.emplace_back("Access-Control-Allow-Credentials", "true");
    verdict.headers.emplace_back("Access-Control-Expose-Headers",
                                 "X-Job-Id, X-Request-Id, Retry-After");
  }

  if (request.method == "OPTIONS") {
    Response response = {.status = 204, .content_type = "", .body = {}, .headers = {}};
    const std::string allowed = fmt::format("{}", fmt::join(methods, ", "));
    response.headers.emplace_back("Allow", allowed);
    if (is_listed) {
      response.headers.emplace_back("Access-Control-Allow-Methods", allowed);
      const std::string_view names = request.header("Access-Control-Request-Headers");
      if (!names.empty()) response.headers.emplace_back("Access-Control-Allow-Headers", names);
      response.headers.emplace_back("Access-Control-Max-Age", "600");
      if (request.header("Access-Control-Request-Private-Network") == "true") {
        response.headers.emplace_back("Access-Control-Allow-Private-Network", "true");
      }
    }
    verdict.refusal = std::move(response);
    return verdict;
  }

  if (!users_.empty()) {
    const std::string network = NetworkOf(address);
    if (const int seconds = Wait(network, now); seconds > 0) {
      verdict.refusal = PlainErrorResponse(429, "Too many wrong passwords; try again later");
      verdict.refusal->headers.emplace_back("Retry-After", std::to_string(seconds));
      return verdict;
    }
    const std::string_view authorization = request.header("Authorization");
    const User* user = authorization.empty() ? nullptr : FindUser(authorization);
    if (user == nullptr) {
      // Browsers ask once without: no try.
      if (!authorization.empty()) CountFailure(network, now);
      verdict.refusal = JsonResponse({{"detail", "Incorrect username or password"}}, 401);
      verdict.refusal->headers.emplace_back("WWW-Authenticate", "Basic");
      return verdict;
    }
    verdict.client = user->name;
  }

  // The scheme is not compared: a proxy in front may speak TLS.
  const size_t scheme = origin.find("://");
  const bool is_same = scheme != std::string_view::npos &&
                       EqualsIgnoringCase(origin.substr(scheme + 3), host) && !host.empty();
  if (changes_state && !origin.empty() && !is_same && !is_listed) {
    verdict.refusal = PlainErrorResponse(
        403, fmt::format("Origin: expected this server's or one of --cors-allow-origins, found "
                         "'{}'",
                         origin.substr(0, 80)));
  }
  return verdict;
}

}  // namespace ingot::server
