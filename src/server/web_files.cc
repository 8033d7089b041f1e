#include "server/web_files.h"

// Each file between two labels.
#define INGOT_WEB_FILE(number, name, path)            \
  asm(".pushsection .rodata\n"                        \
      "ingot_web_" #number                            \
      "_begin:\n"                                     \
      ".incbin \"" path                               \
      "\"\n"                                          \
      "ingot_web_" #number                            \
      "_end:\n"                                       \
      ".popsection\n");                               \
  extern "C" const char ingot_web_##number##_begin[]; \
  extern "C" const char ingot_web_##number##_end[];
#include "server/web_files.inc"
#undef INGOT_WEB_FILE

namespace ingot::server {

std::span<const WebFile> WebFiles() {
#define INGOT_WEB_FILE(number, name, path) \
  {name, {ingot_web_##number##_begin, ingot_web_##number##_end}},
  static const WebFile kFiles[] = {
#include "server/web_files.inc"
  };
#undef INGOT_WEB_FILE
  return kFiles;
}

std::string_view WebDigest() { return INGOT_WEB_DIGEST; }

}  // namespace ingot::server
