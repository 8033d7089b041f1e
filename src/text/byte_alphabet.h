// GPT-2's byte alphabet: every byte as one printable character.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace ingot {

// Printable Latin-1 bytes in the order CLIP numbers its tokens, then the 68 others.
// Source: bytes_to_unicode() in clip/simple_tokenizer.py.
std::array<uint8_t, 256> ByteAlphabetOrder();

// UTF-8 of the character that stands for each byte: itself, or U+0100 + n for the n-th other.
std::array<std::string, 256> ByteAlphabet();

}  // namespace ingot
