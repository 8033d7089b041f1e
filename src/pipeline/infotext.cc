#include "pipeline/infotext.h"

#include <filesystem>
#include <utility>
#include <vector>

namespace ingot {
namespace {

std::string Stem(const Component& component) {
  return std::filesystem::path(component.path()).stem().string();
}

// JSON string with the escapes of Python's json.dumps(ensure_ascii=False).
std::string JsonQuoted(std::string_view value) {
  std::string quoted = "\"";
  for (char c : value) {
    switch (c) {
      case '"':
        quoted += "\\\"";
        break;
      case '\\':
        quoted += "\\\\";
        break;
      case '\n':
        quoted += "\\n";
        break;
      case '\r':
        quoted += "\\r";
        break;
      case '\t':
        quoted += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          quoted += fmt::format("\\u{:04x}", static_cast<int>(c));
        } else {
          quoted += c;
        }
    }
  }
  return quoted + "\"";
}

}  // namespace

std::string QuoteInfotextValue(std::string_view value) {
  return value.find_first_of(",:\n") == std::string_view::npos ? std::string(value)
                                                               : JsonQuoted(value);
}

std::string MakeInfotext(const Job& job, uint64_t picture_seed, std::string_view model_hash) {
  std::vector<std::pair<std::string, std::string>> fields = {
      {"Steps", fmt::format("{}", job.steps)},
      {"Sampler", std::string(job.sampler->name)},
      {"Schedule type", std::string(job.scheduler->label)},
      {"CFG scale", fmt::format("{:g}", job.cfg_scale)}};
  if (job.flux().guidance_embed) {
    fields.emplace_back("Distilled CFG Scale", fmt::format("{:g}", job.distilled_guidance));
  }
  fields.emplace_back("Seed", fmt::format("{}", picture_seed));
  fields.emplace_back("Size", fmt::format("{}x{}", job.width, job.height));
  fields.emplace_back("Model hash", std::string(model_hash.substr(0, 10)));
  fields.emplace_back("Model", Stem(job.models.flux));
  fields.emplace_back("RNG", job.rng == Rng::kCpu ? "CPU" : "NV");
  if (job.eta) {
    fields.emplace_back(job.sampler->name == "DDIM" ? "Eta DDIM" : "Eta",
                        fmt::format("{:g}", *job.eta));
  }
  fields.emplace_back("Version", "ingot-" INGOT_VERSION);
  fields.emplace_back("Module 1", Stem(job.models.vae));
  fields.emplace_back("Module 2", Stem(job.models.clip));
  fields.emplace_back("Module 3", Stem(job.models.t5));

  std::string text = job.prompt;
  if (!job.negative_prompt.empty()) text += "\nNegative prompt: " + job.negative_prompt;
  std::string line;
  for (const auto& [key, value] : fields) {
    line += fmt::format("{}{}: {}", line.empty() ? "" : ", ", key, QuoteInfotextValue(value));
  }
  return text + "\n" + line;
}

}  // namespace ingot
