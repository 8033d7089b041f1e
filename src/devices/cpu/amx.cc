#include "devices/cpu/amx.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace ingot::cpu {
namespace {

bool ProcessorHasAmx() {
  unsigned eax, ebx, ecx, edx;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;
  return (edx & kTile) != 0 && (edx & kInt8) != 0;
}

// Tiles are 8 KiB of state a thread: the kernel saves them only for processes that asked.
bool KernelAllowsAmx() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // bit of XCR0
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

bool HasAmx() {
  static const bool has_amx = ProcessorHasAmx() && KernelAllowsAmx();
  return has_amx;
}

AmxTiles::AmxTiles() {
  struct alignas(64) Config {
    uint8_t palette = 1, start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  } config;
  static_assert(sizeof(Config) == 64);
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = kAmxRowBytes;
    config.rows[i] = kAmxRows;
  }
  asm volatile("ldtilecfg %0" : : "m"(config));
}

}  // namespace ingot::cpu
