// INGOT_CHECK: a fact the program itself must keep; its failure is a bug.
//
// Never reachable from input: files, requests and devices give a Status.
#pragma once

namespace ingot {

// Prints "file:line: check failed: text" on stderr and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* text);

}  // namespace ingot

#define INGOT_CHECK(condition)                              \
  do {                                                      \
    if (!(condition)) [[unlikely]]                          \
      ::ingot::CheckFailed(__FILE__, __LINE__, #condition); \
  } while (0)
