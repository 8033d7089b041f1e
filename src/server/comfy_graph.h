// The graph of nodes that ComfyUI writes into its pictures, read for what A1111's text would say.
#pragma once

#include <optional>

#include "engine/json.h"
#include "server/infotext.h"

namespace ingot::server {

// `graph` is the JSON under "prompt": {"3": {"class_type": "KSampler", "inputs": {…}}, …}. The
// first sampler that is found counts; from it the links lead to texts, size and files. None: no
// graph with a sampler.
std::optional<Infotext> ReadComfyGraph(const Json& graph);

}  // namespace ingot::server
