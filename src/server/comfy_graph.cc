#include "server/comfy_graph.h"

#include <array>
#include <set>
#include <string>
#include <vector>

namespace ingot::server {
namespace {

constexpr size_t kMaxVisited = 2000;  // nodes of a walk

class Graph {
 public:
  explicit Graph(const Json& nodes) : nodes_(nodes) {}

  // Null where there is none.
  static const Json* Input(const Json& node, const std::string& name) {
    const auto inputs = node.find("inputs");
    if (inputs == node.end() || !inputs->is_object()) return nullptr;
    const auto input = inputs->find(name);
    return input == inputs->end() ? nullptr : &*input;
  }

  // The node that a link, ["id", slot], comes from.
  const Json* From(const Json& link) const {
    if (!link.is_array() || link.empty() || !link[0].is_string()) return nullptr;
    const auto node = nodes_.find(link[0].get<std::string>());
    return node == nodes_.end() || !node->is_object() ? nullptr : &*node;
  }

  // The value of the first of `names` at the nearest node up the links of `start`, that included.
  // Where the value is itself a link (a text that another node makes), its own text or number.
  std::optional<Json> Find(const Json* start, const std::vector<std::string>& names) const {
    std::vector<const Json*> wave = {start};
    std::set<const Json*> seen;
    for (size_t i = 0; i < wave.size() && wave.size() < kMaxVisited; ++i) {
      const Json* const node = wave[i];
      if (node == nullptr || !seen.insert(node).second) continue;
      for (const std::string& name : names) {
        const Json* const input = Input(*node, name);
        if (input == nullptr) continue;
        if (input->is_string() || input->is_number()) return *input;
        if (const Json* const maker = From(*input)) {
          for (const char* own : {"text", "string", "value", "prompt", "seed", "int"}) {
            const Json* const made = Input(*maker, own);
            if (made != nullptr && (made->is_string() || made->is_number())) return *made;
          }
        }
      }
      const auto inputs = node->find("inputs");
      if (inputs == node->end() || !inputs->is_object()) continue;
      for (const Json& input : *inputs) {
        if (input.is_array()) wave.push_back(From(input));
      }
    }
    return std::nullopt;
  }

 private:
  const Json& nodes_;
};

std::string TextOf(const std::optional<Json>& value) {
  if (!value) return {};
  return value->is_string() ? value->get<std::string>() : Dump(*value);
}

const Json* FindSamplerNode(const Json& nodes) {
  for (const char* type : {"KSampler", "KSamplerAdvanced", "SamplerCustomAdvanced", "SamplerCustom",
                           "KSampler (Efficient)"}) {
    for (const Json& node : nodes) {
      if (node.is_object() && node.value("class_type", Json()) == type) return &node;
    }
  }
  return nullptr;
}

// As Comfy names them; what is not here keeps its name and is not known.
std::string SamplerName(const std::string& name) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kNames = {
      {{"euler", "Euler"},
       {"euler_ancestral", "Euler a"},
       {"heun", "Heun"},
       {"dpmpp_2m", "DPM++ 2M"},
       {"dpmpp_2m_sde", "DPM++ 2M SDE"},
       {"dpmpp_2m_sde_gpu", "DPM++ 2M SDE"},
       {"ddim", "DDIM"},
       {"lcm", "LCM"},
       {"uni_pc", "UniPC"}}};
  for (const auto& [comfy, ours] : kNames) {
    if (name == comfy) return std::string(ours);
  }
  return name;
}

}  // namespace

std::optional<Infotext> ReadComfyGraph(const Json& json) {
  if (!json.is_object()) return std::nullopt;
  const Json* const sampler = FindSamplerNode(json);
  if (sampler == nullptr) return std::nullopt;
  const Graph graph(json);
  const auto at = [&](const char* name) {
    const Json* const link = Graph::Input(*sampler, name);
    return link == nullptr ? nullptr : graph.From(*link);
  };
  // SamplerCustomAdvanced has its parts in nodes: noise, guider, sampler, sigmas.
  const Json* const guider = at("guider");
  const Json* const guided = guider == nullptr ? sampler : guider;
  const auto guided_at = [&](const char* name) {
    const Json* const link = Graph::Input(*guided, name);
    return link == nullptr ? nullptr : graph.From(*link);
  };
  const Json* positive = guided_at("positive");
  if (positive == nullptr) positive = guided_at("conditioning");
  const Json* const negative = guided_at("negative");
  const Json* const latent = at("latent_image");

  Infotext info;
  const auto add = [&](const char* key, const std::string& value) {
    if (!value.empty()) info.fields.emplace_back(key, value);
  };
  const std::vector<std::string> texts = {"text", "t5xxl", "text_g", "clip_l", "prompt"};
  if (positive != nullptr) info.prompt = TextOf(graph.Find(positive, texts));
  if (negative != nullptr) info.negative_prompt = TextOf(graph.Find(negative, texts));
  add("Steps", TextOf(graph.Find(sampler, {"steps"})));
  add("Sampler", SamplerName(TextOf(graph.Find(sampler, {"sampler_name"}))));
  add("Schedule type", TextOf(graph.Find(sampler, {"scheduler"})));
  if (const Json* const cfg = Graph::Input(*guided, "cfg")) add("CFG scale", TextOf(*cfg));
  if (positive != nullptr) {
    add("Distilled CFG Scale", TextOf(graph.Find(positive, {"guidance"})));
  }
  add("Seed", TextOf(graph.Find(sampler, {"seed", "noise_seed"})));
  if (latent != nullptr) {
    const std::string width = TextOf(graph.Find(latent, {"width"}));
    const std::string height = TextOf(graph.Find(latent, {"height"}));
    if (!width.empty() && !height.empty()) {
      add("Size", width + "x" + height);
      add("Size-1", width);
      add("Size-2", height);
    }
  }
  add("Model", TextOf(graph.Find(guided, {"unet_name", "ckpt_name"})));
  int num_modules = 0;
  std::set<std::string> modules;
  for (const Json& node : json) {
    if (!node.is_object()) continue;
    for (const char* name : {"vae_name", "clip_name", "clip_name1", "clip_name2"}) {
      const Json* const file = Graph::Input(node, name);
      if (file == nullptr || !file->is_string()) continue;
      if (!modules.insert(file->get<std::string>()).second) continue;
      add(fmt::format("Module {}", ++num_modules).c_str(), file->get<std::string>());
    }
  }
  info.fields.emplace_back("RNG", "CPU");  // ComfyUI draws on the CPU
  return info;
}

}  // namespace ingot::server
