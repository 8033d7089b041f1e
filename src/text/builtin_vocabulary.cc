// Vocabulary files in the program's read-only data; CMake names the files
// (cmake/vocabularies.cmake).
#include "text/builtin_vocabulary.h"

// One file between two labels; an empty file where this build has none.
#define INGOT_EMBED(label, file)         \
  asm(".pushsection .rodata\n"           \
      ".global " #label                  \
      "_begin\n"                         \
      ".global " #label "_end\n" #label  \
      "_begin:\n"                        \
      ".incbin \"" file "\"\n" #label    \
      "_end:\n"                          \
      ".popsection\n");                  \
  extern "C" const char label##_begin[]; \
  extern "C" const char label##_end[]

INGOT_EMBED(ingot_clip_merges, INGOT_CLIP_MERGES_FILE);
INGOT_EMBED(ingot_t5_model, INGOT_T5_MODEL_FILE);

namespace ingot {

std::string_view BuiltinClipMerges() { return {ingot_clip_merges_begin, ingot_clip_merges_end}; }
std::string_view BuiltinT5Model() { return {ingot_t5_model_begin, ingot_t5_model_end}; }

Result<ClipVocabulary> BuiltinClipVocabulary() {
  if (BuiltinClipMerges().empty()) {
    return NotFound(
        "this build has no CLIP vocabulary: put CLIP's merges.txt (or tokenizer.json) beside the "
        "CLIP text encoder");
  }
  return ParseClipMerges({"built-in CLIP vocabulary", BuiltinClipMerges()});
}

Result<T5Vocabulary> BuiltinT5Vocabulary() {
  if (BuiltinT5Model().empty()) {
    return NotFound(
        "this build has no T5 vocabulary: put T5's spiece.model (or tokenizer.json) beside the T5 "
        "text encoder, or use a GGUF encoder, which carries it");
  }
  return ParseSentencePieceModel({"built-in T5 vocabulary", BuiltinT5Model()});
}

}  // namespace ingot
