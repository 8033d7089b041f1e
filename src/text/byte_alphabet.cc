// Construction of GPT-2's byte alphabet.
#include "text/byte_alphabet.h"

#include "text/unicode.h"

namespace ingot {
namespace {

constexpr size_t kNumPrintable = 188;

bool IsPrintable(size_t byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

}  // namespace

std::array<uint8_t, 256> ByteAlphabetOrder() {
  std::array<uint8_t, 256> order{};
  size_t printable = 0;
  size_t other = kNumPrintable;
  for (size_t byte = 0; byte < 256; ++byte) {
    order[IsPrintable(byte) ? printable++ : other++] = static_cast<uint8_t>(byte);
  }
  return order;
}

std::array<std::string, 256> ByteAlphabet() {
  std::array<std::string, 256> alphabet;
  const std::array<uint8_t, 256> order = ByteAlphabetOrder();
  for (size_t i = 0; i < order.size(); ++i) {
    const size_t character = i < kNumPrintable ? order[i] : 0x100 + i - kNumPrintable;
    AppendUtf8(static_cast<char32_t>(character), &alphabet[order[i]]);
  }
  return alphabet;
}

}  // namespace ingot
