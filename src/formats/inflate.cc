#include "formats/inflate.h"

#include <zlib.h>

#include <algorithm>

namespace ingot {

Result<std::string> Inflate(std::string_view packed, size_t max_bytes, std::string_view name) {
  z_stream stream = {};
  constexpr int kEitherHeader = 15 + 32;  // the largest window, zlib or gzip
  if (::inflateInit2(&stream, kEitherHeader) != Z_OK) {
    return Unavailable("{}: zlib could not start", name);
  }
  // zlib's pointer is not const; it writes through none of it.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string out;
  int code = Z_OK;
  while (code == Z_OK && out.size() <= max_bytes) {
    const size_t begin = out.size();
    out.resize(begin + std::min<size_t>(64 << 10, max_bytes + 1 - begin));
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + begin);
    stream.avail_out = static_cast<uInt>(out.size() - begin);
    code = ::inflate(&stream, Z_NO_FLUSH);
    out.resize(out.size() - stream.avail_out);
  }
  ::inflateEnd(&stream);
  if (out.size() > max_bytes) {
    return Unsupported("{}: expected at most {} bytes when unpacked, found more", name, max_bytes);
  }
  if (code != Z_STREAM_END) return Corruption("{}: expected sound packed bytes", name);
  return out;
}

}  // namespace ingot
