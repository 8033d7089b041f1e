// Splitting into words and merging of byte pairs, in the order of tokenizers' BPE.
#include "text/clip_tokenizer.h"

#include <queue>
#include <string>
#include <tuple>

#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace ingot {
namespace {

constexpr std::string_view kBegin = "<|startoftext|>";
constexpr std::string_view kEnd = "<|endoftext|>";

uint64_t PairKey(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

// NFC, then runs of white space to one space, then lower case.
std::string Normalize(std::string_view text) {
  std::u32string spaced;
  for (const char32_t c : ComposeNfc(DecodeUtf8(text))) {
    if (!IsSpace(c)) {
      spaced.push_back(c);
    } else if (spaced.empty() || spaced.back() != U' ') {
      spaced.push_back(U' ');
    }
  }
  return EncodeUtf8(ToLower(spaced));
}

// Calls piece(part) for what stands between the marks and mark() for each mark.
template <typename Piece, typename Mark>
void SplitAt(std::string_view text, std::string_view separator, Piece piece, Mark mark) {
  for (size_t at; (at = text.find(separator)) != std::string_view::npos;) {
    piece(text.substr(0, at));
    mark();
    text.remove_prefix(at + separator.size());
  }
  piece(text);
}

bool IsOther(char32_t c) { return !IsSpace(c) && !IsLetter(c) && !IsNumber(c); }

size_t RunLength(std::u32string_view text, bool (*belongs)(char32_t)) {
  size_t length = 0;
  while (length < text.size() && belongs(text[length])) ++length;
  return length;
}

// Length of the word at the start of `text`, which does not start with a space:
// 's|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+
size_t WordLength(std::u32string_view text) {
  for (const std::u32string_view ending : {U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"}) {
    if (text.starts_with(ending)) return ending.size();
  }
  if (IsLetter(text[0])) return RunLength(text, IsLetter);
  if (IsNumber(text[0])) return 1;
  return RunLength(text, IsOther);
}

// CLIP's expression names the specials too; where capitals hid one from the token table it is a
// word, which the byte-level step then splits in three.
size_t HiddenSpecialLength(std::u32string_view text) {
  for (const std::u32string_view special : {U"<|startoftext|>", U"<|endoftext|>"}) {
    if (text.starts_with(special)) return special.size();
  }
  return 0;
}

struct Symbol {
  int32_t id;
  int32_t previous;
  int32_t next;  // -1 at the end
  bool alive;
};

}  // namespace

Result<ClipTokenizer> ClipTokenizer::Create(const ClipVocabulary& vocabulary) {
  std::unordered_map<std::string_view, int32_t> ids;
  ids.reserve(vocabulary.tokens.size());
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    ids[vocabulary.tokens[id]] = static_cast<int32_t>(id);
  }
  const auto find = [&ids](std::string_view token) {
    const auto found = ids.find(token);
    return found == ids.end() ? -1 : found->second;
  };
  ClipTokenizer tokenizer;
  tokenizer.begin_id_ = find(kBegin);
  tokenizer.end_id_ = find(kEnd);
  tokenizer.comma_id_ = find(",</w>");
  if (tokenizer.begin_id_ < 0 || tokenizer.end_id_ < 0) {
    return Corruption("CLIP vocabulary: no token '{}'", tokenizer.end_id_ < 0 ? kEnd : kBegin);
  }
  const std::array<std::string, 256> alphabet = ByteAlphabet();
  for (size_t byte = 0; byte < 256; ++byte) {
    const int32_t inner = find(alphabet[byte]);
    const int32_t last = find(alphabet[byte] + "</w>");
    tokenizer.byte_ids_[byte] = inner < 0 ? tokenizer.end_id_ : inner;
    tokenizer.last_byte_ids_[byte] = last < 0 ? tokenizer.end_id_ : last;
  }
  // In CLIP's vocabulary the merges follow the bytes and the bytes at the end of a word: where that
  // holds, no search, which misses the caches: a third of 60 ms.
  const bool is_unique = ids.size() == vocabulary.tokens.size();
  const auto find_joined = [&](size_t rank, const std::string& token) {
    const size_t usual = 512 + rank;
    return is_unique && usual < ids.size() && vocabulary.tokens[usual] == token
               ? static_cast<int32_t>(usual)
               : find(token);
  };
  tokenizer.merges_.reserve(vocabulary.merges.size());
  for (size_t rank = 0; rank < vocabulary.merges.size(); ++rank) {
    const ClipMerge& merge = vocabulary.merges[rank];
    const int32_t left = find(merge.left), right = find(merge.right);
    const int32_t joined = find_joined(rank, merge.left + merge.right);
    if (left < 0 || right < 0 || joined < 0) {
      return Corruption("CLIP vocabulary: merge {} ('{}' '{}') is not of its tokens", rank,
                        merge.left, merge.right);
    }
    tokenizer.merges_[PairKey(left, right)] = {static_cast<int32_t>(rank), joined};
  }
  return tokenizer;
}

std::vector<int32_t> ClipTokenizer::Encode(std::string_view text) const {
  std::vector<int32_t> ids;
  // The end token is found in the text as it is, the begin token in the normalised text: so are
  // the flags of both in the tokenizer_config.json of CLIP.
  SplitAt(
      text, kEnd,
      [&](std::string_view part) {
        SplitAt(
            Normalize(part), kBegin,
            [&](std::string_view ordinary) { EncodeOrdinary(ordinary, &ids); },
            [&] { ids.push_back(begin_id_); });
      },
      [&] { ids.push_back(end_id_); });
  return ids;
}

void ClipTokenizer::EncodeOrdinary(std::string_view text, std::vector<int32_t>* ids) const {
  const std::u32string characters = DecodeUtf8(text);
  for (std::u32string_view rest = characters; !rest.empty();) {
    if (IsSpace(rest[0])) {
      rest.remove_prefix(1);
      continue;
    }
    if (const size_t length = HiddenSpecialLength(rest); length > 0) {
      EncodeWord("<|", ids);
      EncodeWord(EncodeUtf8(rest.substr(2, length - 4)), ids);
      EncodeWord("|>", ids);
      rest.remove_prefix(length);
      continue;
    }
    const size_t length = WordLength(rest);
    EncodeWord(EncodeUtf8(rest.substr(0, length)), ids);
    rest.remove_prefix(length);
  }
}

const ClipTokenizer::Merge* ClipTokenizer::FindMerge(int32_t left, int32_t right) const {
  const auto found = merges_.find(PairKey(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

// The lowest rank merges first, the leftmost of equals: O(n log n) in the bytes of the word.
void ClipTokenizer::EncodeWord(std::string_view word, std::vector<int32_t>* ids) const {
  std::vector<Symbol> symbols;
  const auto size = static_cast<int32_t>(word.size());
  for (int32_t i = 0; i < size; ++i) {
    const auto byte = static_cast<uint8_t>(word[i]);
    const bool last = i + 1 == size;
    symbols.push_back(
        {last ? last_byte_ids_[byte] : byte_ids_[byte], i - 1, last ? -1 : i + 1, true});
  }
  using Candidate = std::tuple<int32_t, int32_t, int32_t>;  // rank, position, merged id
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto propose = [&](int32_t at) {
    if (at < 0 || symbols[at].next < 0) return;
    const Merge* merge = FindMerge(symbols[at].id, symbols[symbols[at].next].id);
    if (merge != nullptr) queue.emplace(merge->rank, at, merge->id);
  };
  for (int32_t i = 0; i < size; ++i) propose(i);
  while (!queue.empty()) {
    const auto [rank, at, merged_id] = queue.top();
    queue.pop();
    Symbol& symbol = symbols[at];
    if (!symbol.alive || symbol.next < 0) continue;
    const Merge* merge = FindMerge(symbol.id, symbols[symbol.next].id);
    if (merge == nullptr || merge->id != merged_id) continue;  // a neighbour has changed
    symbols[symbol.next].alive = false;
    symbol.id = merged_id;
    symbol.next = symbols[symbol.next].next;
    if (symbol.next >= 0) symbols[symbol.next].previous = at;
    propose(symbol.previous);
    propose(at);
  }
  for (int32_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[i].next) {
    ids->push_back(symbols[i].id);
  }
}

}  // namespace ingot
