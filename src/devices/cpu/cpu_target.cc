#include "devices/cpu/cpu_target.h"

#include <cpuid.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include <hwy/targets.h>

#include "devices/cpu/amx.h"

namespace ingot::cpu {
namespace {

bool HasAvxVnni() {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & 1u << 4) != 0;
}

bool Always() { return true; }

struct Level {
  std::string_view name;
  int64_t target;      // of Highway
  bool (*has_rest)();  // true if the processor has what the target does not ask for
};
// From the lowest; the best is the last that is here. (Bytes are faster at AVX_VNNI than at AVX3,
// but a processor that has both has AVX3_DL.)
constexpr Level kLevels[] = {{"AVX2", HWY_AVX2, Always},
                             {"AVX_VNNI", HWY_AVX2, HasAvxVnni},
                             {"AVX3", HWY_AVX3, Always},
                             {"AVX3_DL", HWY_AVX3_DL, Always},
                             {"AMX", HWY_AVX3_DL, HasAmx}};

bool IsHere(const Level& level) {
  return (hwy::SupportedTargets() & level.target) != 0 && level.has_rest();
}

const Level& Best() { return *std::find_if(std::rbegin(kLevels), std::rend(kLevels) - 1, IsHere); }

const Level*& Active() {
  static const Level* active = &Best();
  return active;
}

void Activate(const Level& level) {
  int64_t targets = 0;
  for (const Level* lower = kLevels; lower <= &level; ++lower) targets |= lower->target;
  hwy::SetSupportedTargetsForTest(hwy::SupportedTargets() & targets);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  Active() = &level;
}

}  // namespace

Status SelectTarget(std::string_view name) {
  hwy::SetSupportedTargetsForTest(0);  // forget an earlier choice
  if ((hwy::SupportedTargets() & HWY_AVX2) == 0) {
    return Unavailable("cpu: the kernels need AVX2 and FMA; this processor has neither");
  }
  Activate(Best());
  const char* environment = std::getenv("INGOT_CPU_TARGET");
  if (name.empty() && environment != nullptr) name = environment;
  if (name.empty()) return {};
  const Level* level = std::ranges::find(kLevels, name, &Level::name);
  if (level == std::end(kLevels)) {
    return InvalidArgument(
        "INGOT_CPU_TARGET: expected AVX2, AVX_VNNI, AVX3, AVX3_DL or AMX, found '{}'", name);
  }
  if (!IsHere(*level)) {
    return InvalidArgument("INGOT_CPU_TARGET: this processor has no {}", name);
  }
  Activate(*level);
  return {};
}

std::string_view ActiveTarget() { return Active()->name; }

bool UsesAvxVnni() { return ActiveTarget() == "AVX_VNNI"; }

bool UsesAmx() { return ActiveTarget() == "AMX"; }

}  // namespace ingot::cpu
