// "Scaled fp8" weights: an F8 tensor and the one factor that belongs to it.
#pragma once

#include "base/status.h"
#include "formats/tensor_file.h"

namespace ingot {

// Gives every scaled tensor its TensorEntry::scale and hides the tensors that
// only describe the scaling, in the two layouts of ComfyUI (comfy/ops.py):
//   "<p>scaled_fp8"                          a marker, for all under <p>
//   "<p>.scale_weight" or "<p>.weight_scale" one f32, factor of "<p>.weight"
//   "<p>.scale_input"  or "<p>.input_scale"  range of activations; not used here
//   "<p>.comfy_quant"                        {"format": "float8_e4m3fn"} as U8
// kUnsupported for a scale of more than one element, for a scale of a weight
// that is not F8, and for a comfy_quant that is no fp8. kCorruption for a scale
// that is not finite and positive.
Result<TensorFile> FoldScales(TensorFile file);

}  // namespace ingot
