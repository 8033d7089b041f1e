// The vocabularies that come inside the program, for users who have the encoders' weights alone.
//
// Filled at build time from files that tools/fetch_vocabularies.py brings (docs/decisions/0002);
// a build without them is whole, but needs the files beside the encoder.
#pragma once

#include <string_view>

#include "text/vocabulary.h"

namespace ingot {

// merges.txt of CLIP and spiece.model of T5 v1.1; empty when this build has none.
std::string_view BuiltinClipMerges();
std::string_view BuiltinT5Model();

// kNotFound says which file to put beside the encoder.
Result<ClipVocabulary> BuiltinClipVocabulary();
Result<T5Vocabulary> BuiltinT5Vocabulary();

}  // namespace ingot
