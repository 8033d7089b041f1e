// Best path through the pieces (Viterbi), as tokenizers' Unigram::encode_optimized walks it.
#include "text/t5_tokenizer.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "text/unicode.h"

namespace ingot {
namespace {

constexpr std::string_view kWordStart = "\u2581";  // sentencepiece's mark for a space
constexpr double kUnknownPenalty = 10;             // below the worst piece (tokenizers, model.rs)

bool IsSpecial(PieceType type) {
  return type == PieceType::kUnknown || type == PieceType::kControl ||
         type == PieceType::kUserDefined;
}

// Ids in byte order of their pieces; of equal pieces the last one counts.
std::vector<int32_t> SortPieces(const std::vector<std::string>& pieces) {
  std::vector<int32_t> sorted(pieces.size());
  std::iota(sorted.begin(), sorted.end(), 0);
  std::sort(sorted.begin(), sorted.end(), [&](int32_t a, int32_t b) {
    const int order = pieces[a].compare(pieces[b]);
    return order != 0 ? order < 0 : a > b;
  });
  const auto end = std::unique(sorted.begin(), sorted.end(),
                               [&](int32_t a, int32_t b) { return pieces[a] == pieces[b]; });
  sorted.erase(end, sorted.end());
  return sorted;
}

// Bytes of the character that starts `text`; never more than there are.
size_t CharacterBytes(std::string_view text) {
  size_t length = 1;
  while (length < text.size() && (static_cast<uint8_t>(text[length]) & 0xc0) == 0x80) ++length;
  return length;
}

struct PathNode {
  double score = 0;
  int32_t id = 0;
  size_t start = 0;
  bool reached = false;

  void Offer(double new_score, int32_t new_id, size_t new_start) {
    if (reached && !(new_score > score)) return;
    *this = {new_score, new_id, new_start, true};
  }
};

}  // namespace

Result<T5Tokenizer> T5Tokenizer::Create(T5Vocabulary vocabulary) {
  T5Tokenizer tokenizer;
  INGOT_ASSIGN_OR_RETURN(tokenizer.charsmap_, Charsmap::Parse(vocabulary.charsmap));
  tokenizer.sorted_ = SortPieces(vocabulary.pieces);
  int32_t unknown_id = -1, end_id = -1, pad_id = -1;
  for (const int32_t id : tokenizer.sorted_) {
    const std::string& piece = vocabulary.pieces[id];
    if (piece == "</s>") end_id = id;
    if (piece == "<pad>") pad_id = id;
    if (vocabulary.types[id] == PieceType::kUnknown) unknown_id = id;
    if (IsSpecial(vocabulary.types[id]) && !piece.empty()) tokenizer.specials_.push_back(id);
  }
  if (unknown_id < 0) return Corruption("T5 vocabulary: no unknown piece");
  if (end_id < 0 || pad_id < 0) {
    return Corruption("T5 vocabulary: no piece '{}'", end_id < 0 ? "</s>" : "<pad>");
  }
  std::stable_sort(tokenizer.specials_.begin(), tokenizer.specials_.end(),
                   [&](int32_t a, int32_t b) {
                     return vocabulary.pieces[a].size() > vocabulary.pieces[b].size();
                   });
  tokenizer.unknown_id_ = unknown_id;
  tokenizer.end_id_ = end_id;
  tokenizer.pad_id_ = pad_id;
  tokenizer.unknown_score_ =
      *std::min_element(vocabulary.scores.begin(), vocabulary.scores.end()) - kUnknownPenalty;
  tokenizer.pieces_ = std::move(vocabulary.pieces);
  tokenizer.scores_ = std::move(vocabulary.scores);
  return tokenizer;
}

std::vector<int32_t> T5Tokenizer::Encode(std::string_view text) const {
  const std::string valid = EncodeUtf8(DecodeUtf8(text));
  const std::string_view whole = valid;
  std::vector<int32_t> ids;
  size_t start = 0;
  for (size_t at = 0; at < whole.size();) {
    const auto special = std::find_if(specials_.begin(), specials_.end(), [&](int32_t id) {
      return whole.substr(at).starts_with(pieces_[id]);
    });
    if (special == specials_.end()) {
      ++at;
      continue;
    }
    EncodeOrdinary(whole.substr(start, at - start), &ids);
    ids.push_back(*special);
    at += pieces_[*special].size();
    start = at;
  }
  EncodeOrdinary(whole.substr(start), &ids);
  return ids;
}

// Normalises, splits at white space, marks the start of each word; a mark inside a word starts
// another (tokenizers: WhitespaceSplit, then Metaspace with prepend_scheme "always").
void T5Tokenizer::EncodeOrdinary(std::string_view text, std::vector<int32_t>* ids) const {
  std::string word;
  const auto flush = [&] {
    if (!word.empty()) EncodeWord(word, ids);
    word.clear();
  };
  for (const char32_t c : DecodeUtf8(charsmap_.Normalize(text))) {
    if (IsSpace(c)) {
      flush();
      continue;
    }
    std::string character;
    AppendUtf8(c, &character);
    if (character == kWordStart) {
      flush();
    } else if (word.empty()) {
      word = kWordStart;
    }
    word += character;
  }
  flush();
}

void T5Tokenizer::EncodeWord(std::string_view word, std::vector<int32_t>* ids) const {
  std::vector<PathNode> nodes(word.size() + 1);  // best way to each byte
  for (size_t at = 0; at < word.size();) {
    const size_t character_bytes = CharacterBytes(word.substr(at));
    bool covers_character = false;
    auto first = sorted_.begin(), last = sorted_.end();  // pieces that start with the prefix
    for (size_t length = 1; at + length <= word.size() && first != last; ++length) {
      const auto next = static_cast<uint8_t>(word[at + length - 1]);
      const auto byte = [&](int32_t id) {
        return pieces_[id].size() < length ? -1
                                           : int{static_cast<uint8_t>(pieces_[id][length - 1])};
      };
      first = std::partition_point(first, last, [&](int32_t id) { return byte(id) < next; });
      last = std::partition_point(first, last, [&](int32_t id) { return byte(id) == next; });
      if (first == last || pieces_[*first].size() != length) continue;
      nodes[at + length].Offer(nodes[at].score + scores_[*first], *first, at);
      covers_character |= length == character_bytes;
    }
    if (!covers_character) {
      nodes[at + character_bytes].Offer(nodes[at].score + unknown_score_, unknown_id_, at);
    }
    at += character_bytes;
  }
  const auto first_new = static_cast<std::ptrdiff_t>(ids->size());
  for (size_t end = word.size(); end > 0; end = nodes[end].start) {
    const int32_t id = nodes[end].id;
    const bool fused = id == unknown_id_ && end < word.size() && ids->back() == unknown_id_;
    if (!fused) ids->push_back(id);  // neighbouring unknowns are one
  }
  std::reverse(ids->begin() + first_new, ids->end());
}

}  // namespace ingot
