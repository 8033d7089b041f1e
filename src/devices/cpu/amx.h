// Tiles of Intel AMX: eight registers of 16 rows of 64 bytes, and exact products of bytes between
// them.
//
// Intel, Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.
#pragma once

#include <cstddef>

namespace ingot::cpu {

// A tile's rows, and the bytes of one.
inline constexpr size_t kAmxRows = 16, kAmxRowBytes = 64;

// True if the processor has AMX-INT8 and the kernel lets this process use it. Linux is asked for
// that once: threads made later may use tiles too.
bool HasAmx();

// The tiles of the calling thread, all of 16 rows of 64 bytes, while an object lives. HasAmx() must
// be true. At most one object a thread.
class AmxTiles {
 public:
  AmxTiles();
  ~AmxTiles() { asm volatile("tilerelease" ::: "memory"); }
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;

  // Rows `stride` bytes apart; with 0 all are the first.
  template <int kTile>
  static void Load(const void* from, size_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  static void Store(void* to, size_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  // sum[m][n] (int32) += over g, i < 4 of a[m][4 g + i] (uint8) * b[g][4 n + i] (int8)
  template <int kSum, int kA, int kB>
  static void MultiplyAdd() {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
  }
};

}  // namespace ingot::cpu
