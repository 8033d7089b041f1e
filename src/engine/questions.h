// What can be asked without running a job, answered in JSON: one form for command line and API.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "engine/files.h"
#include "engine/json.h"

namespace ingot {

// {"path","format","architecture","components":[…],"types":{…},"tensors":[…]}
Json Inspection(const ModelFile& model);

// [{"component","summary","num_tensors","num_bytes"}]
Json Components(const ModelFile& model);

// {"models_dir","models":[{"path","num_bytes","sha256","components":[…],"error"}],
//  "sets":[{"diffusion","clip","t5","vae","missing","defaults"}]}: a set for each file with a
// diffusion model; "missing" says all that lacks, or is null; "defaults" has keys of a job. Headers
// only, of `files` where they are open.
Result<Json> ListModels(const std::filesystem::path& models_dir, OpenModelFiles& files);

// What the fields of a job may be, whatever the model:
// {"samplers","schedulers","rngs","precisions", "limits"}.
Json JobChoices();

// {"clip","t5"}: tokens of the text without begin, end and padding.
Result<Json> CountTokens(std::string_view prompt, const ModelRequest& models);

// RGB8 [height, width, 3] as the bytes of a PNG.
Result<std::string> PngBytes(int width, int height, std::span<const uint8_t> pixels);

}  // namespace ingot
