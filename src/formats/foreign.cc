#include "formats/foreign.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "formats/names.h"

namespace ingot {
namespace {

using std::string_view_literals::operator""sv;

// clone(): save_file refuses tensors that share memory.
constexpr std::string_view kPickle =
    "a PyTorch pickle, which can run code when it is loaded; convert it with: python3 -c "
    "\"import torch, safetensors.torch as s; d = torch.load('IN', map_location='cpu', "
    "weights_only=True); s.save_file({k: v.clone().contiguous() for k, v in "
    "d.get('state_dict', d).items() if hasattr(v, 'shape')}, 'OUT.safetensors')\"";

struct Kind {
  std::string_view magic;
  std::string_view description;
};

constexpr std::array kKinds = {
    Kind{"PK\x03\x04"sv, kPickle},  // torch.save since 1.6: a zip of pickles
    Kind{"\x80\x02"sv, kPickle},    // pickle protocols 2 to 5
    Kind{"\x80\x03"sv, kPickle},
    Kind{"\x80\x04"sv, kPickle},
    Kind{"\x80\x05"sv, kPickle},
    Kind{"lmgg"sv, "a ggml file from before GGUF; use a GGUF file of the model"},
    Kind{"fmgg"sv, "a ggml file from before GGUF; use a GGUF file of the model"},
    Kind{"tjgg"sv, "a ggml file from before GGUF; use a GGUF file of the model"},
    Kind{"version https://git-lfs.github.com/"sv,
         "a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"},
    Kind{"\x89PNG"sv, "a PNG picture"},
    Kind{"\xFF\xD8\xFF"sv, "a JPEG picture"},
    Kind{"\x1F\x8B"sv, "a gzip archive; unpack it first"},
    Kind{"7z\xBC\xAF\x27\x1C"sv, "a 7-Zip archive; unpack it first"},
    Kind{"\x89HDF"sv, "an HDF5 file (Keras); use a safetensors or GGUF file of the model"},
};

bool IsTextByte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 ? byte != 0x7F : std::isspace(byte) != 0;
}

std::string DescribeText(std::string_view text) {
  const size_t start = text.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  if (start == std::string_view::npos) return "blank text";
  const std::string_view line = text.substr(start, text.find_first_of("\r\n", start) - start);
  if (line.starts_with('<')) {
    return "an HTML or XML page (a download that needed a login?) that begins with " +
           Quoted(line.substr(0, 40));
  }
  return "a text file that begins with " + Quoted(line.substr(0, 40));
}

}  // namespace

std::string DescribeForeignFile(std::string_view head) {
  if (head.empty()) return "an empty file";
  for (const Kind& kind : kKinds) {
    if (head.starts_with(kind.magic)) return std::string(kind.description);
  }
  if (std::ranges::all_of(head, IsTextByte)) return DescribeText(head);
  return "a file that begins with " + Quoted(head.substr(0, 16));
}

}  // namespace ingot
