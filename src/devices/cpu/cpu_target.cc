#include "devices/cpu/cpu_target.h"

#include <array>
#include <cstdlib>

#include "devices/cpu/amx.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/cpu_target.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

std::string_view CompiledTarget() { return hwy::TargetName(HWY_TARGET); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {
namespace {

struct Level {
  std::string_view name;
  int64_t target;
  bool has_amx = false;
};
// From the lowest; a level has all instructions of those before it.
constexpr std::array<Level, 4> kLevels = {
    {{"AVX2", HWY_AVX2}, {"AVX3", HWY_AVX3}, {"AVX3_DL", HWY_AVX3_DL}, {"AMX", HWY_AVX3_DL, true}}};

bool uses_amx = false;

bool HasLevel(const Level& level) {
  return (hwy::SupportedTargets() & level.target) != 0 && (!level.has_amx || HasAmx());
}

Status SelectLevel(std::string_view name) {
  int64_t targets = 0;
  for (const Level& level : kLevels) {
    targets |= level.target;
    if (level.name != name) continue;
    if (!HasLevel(level)) {
      return InvalidArgument("INGOT_CPU_TARGET: this processor has no {}", name);
    }
    hwy::SetSupportedTargetsForTest(hwy::SupportedTargets() & targets);
    uses_amx = level.has_amx;
    return {};
  }
  return InvalidArgument("INGOT_CPU_TARGET: expected AVX2, AVX3, AVX3_DL or AMX, found '{}'", name);
}

}  // namespace

HWY_EXPORT(CompiledTarget);

Status SelectTarget(std::string_view level) {
  hwy::SetSupportedTargetsForTest(0);  // forget an earlier choice
  if ((hwy::SupportedTargets() & HWY_AVX2) == 0) {
    return Unavailable("cpu: the kernels need AVX2 and FMA; this processor has neither");
  }
  const char* environment = std::getenv("INGOT_CPU_TARGET");
  if (level.empty() && environment != nullptr) level = environment;
  uses_amx = HasLevel(kLevels.back());
  Status status = level.empty() ? Status() : SelectLevel(level);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return status;
}

std::string_view ActiveTarget() {
  return uses_amx ? "AMX" : HWY_DYNAMIC_DISPATCH(CompiledTarget)();
}

bool UsesAmx() { return uses_amx; }

}  // namespace ingot::cpu
#endif  // HWY_ONCE
