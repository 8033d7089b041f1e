// The files of web/ in the program's read-only data (cmake/web.cmake).
#pragma once

#include <span>
#include <string_view>

namespace ingot::server {

struct WebFile {
  std::string_view name;  // below web/: "views/create.js"
  std::string_view bytes;
};

std::span<const WebFile> WebFiles();

// Changes with any of the files: what browsers compare (ETag).
std::string_view WebDigest();

}  // namespace ingot::server
