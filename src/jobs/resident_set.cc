#include "jobs/resident_set.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>

namespace ingot {

ResidentSet ReadResidentSet(pid_t pid) {
  if (pid == 0) return {};
  std::ifstream file(fmt::format("/proc/{}/statm", pid));
  int64_t size = 0, resident = 0, shared = 0;
  if (!(file >> size >> resident >> shared)) return {};
  const int64_t page_bytes = ::sysconf(_SC_PAGESIZE);
  return {resident * page_bytes, (resident - shared) * page_bytes};
}

}  // namespace ingot
