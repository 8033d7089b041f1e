#include "cuda_harness.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "devices/copy_engine.h"
#include "devices/device.h"
#include "tensor/codec.h"

namespace ingot::conformance {
namespace {

enum class Layout { kContiguous, kRuns, kInPlace };

constexpr int64_t kGuardBytes = 512;
constexpr unsigned char kScratchPoison = 0xFF;  // a NaN of any type
constexpr int64_t kGapElements = 19;            // behind each run
// A signalling NaN, little endian.
constexpr std::byte kPoison[4] = {std::byte{0}, std::byte{0}, std::byte{0xA0}, std::byte{0x7F}};

// Rows of a tensor in a region of device memory.
struct Place {
  int64_t offset = 0;
  int64_t run_bytes = 0, stride_bytes = 0, num_runs = 0;
  int64_t run_elements = 0, run_stride = 0;  // as in views
};

// One op's operands and output on the device as an image on the host: poison, with the operands in
// it.
class Image {
 public:
  // run_elements: 0 for a contiguous tensor. `misalignment`: bytes beyond an aligned address.
  Place Add(DType dtype, const Shape& shape, int64_t run_elements, int64_t misalignment = 0) {
    Place place{.offset = size() + misalignment};
    const int64_t row = run_elements > 0 ? run_elements : shape.num_elements();
    const int64_t stride = run_elements > 0 ? row + kGapElements : row;
    place.run_bytes = NumBytes(dtype, {row});
    place.stride_bytes = NumBytes(dtype, {stride});
    place.num_runs = row > 0 ? shape.num_elements() / row : 0;
    if (run_elements > 0) place.run_elements = row, place.run_stride = stride;
    Grow(misalignment + place.num_runs * place.stride_bytes);
    return place;
  }
  void Fill(const Place& place, const std::byte* from) {
    for (int64_t i = 0; i < place.num_runs; ++i) {
      std::memcpy(bytes.data() + place.offset + i * place.stride_bytes, from + i * place.run_bytes,
                  static_cast<size_t>(place.run_bytes));
    }
  }
  int64_t size() const { return static_cast<int64_t>(bytes.size()); }

  std::vector<std::byte> bytes;

 private:
  void Grow(int64_t num_bytes) {
    const int64_t end = (size() + num_bytes + kGuardBytes + kTensorAlignment - 1) /
                        kTensorAlignment * kTensorAlignment;
    const size_t begin = bytes.size();
    bytes.resize(static_cast<size_t>(end));
    for (size_t i = begin; i < bytes.size(); ++i) bytes[i] = kPoison[i % 4];
  }
};

class Once {
 public:
  Once(Device& device, const Case& test, Layout layout) : device_(device), test_(test) {
    const auto run_elements = [&](size_t idx) -> int64_t {
      const bool is_output = idx == test.inputs.size();
      const bool in_runs = layout == Layout::kRuns && !test.row_elements.empty() &&
                           device.AcceptsRuns(test.op, is_output ? -1 : static_cast<int>(idx));
      return in_runs ? test.row_elements[idx] : 0;
    };
    for (size_t i = 0; i < test.inputs.size(); ++i) {
      const Operand& input = test.inputs[i];
      shapes_.push_back(input.shape);
      dtypes_.push_back(input.dtype);
      inputs_.push_back(image_.Add(input.dtype, input.shape, run_elements(i),
                                   static_cast<int64_t>(input.offset)));
      image_.Fill(inputs_[i], input.bytes.data() + input.offset);
    }
    shape_ = op::InferShape(test.op, shapes_);
    signature_ = {&test.op, shapes_, dtypes_, shape_, test.output_dtype};
    output_ = image_.Add(test.output_dtype, shape_, run_elements(test.inputs.size()));
    const int alias = device.AliasOf(test.op);
    if (layout == Layout::kInPlace && alias >= 0) {
      const auto idx = static_cast<size_t>(alias);
      if (dtypes_[idx] == test.output_dtype && shapes_[idx] == shape_) output_ = inputs_[idx];
    }
    const Status supported = device.Supports(signature_);
    EXPECT_TRUE(supported.ok()) << supported.message();
    workspace_bytes_ = supported.ok() ? device.WorkspaceBytes(signature_) : 0;
    is_supported_ = supported.ok();
  }

  // strip_rows: 0 for the op as a whole.
  std::vector<float> Run(int64_t strip_rows = 0) {
    if (!is_supported_) return {};
    strip_rows_ = strip_rows;
    CopyEngine& copies = *device_.copy_engine();
    const std::unique_ptr<Arena> pinned = *copies.AllocatePinned(image_.size());
    const std::unique_ptr<Arena> memory = *device_.Allocate(image_.size());
    std::memcpy(pinned->bytes().data(), image_.bytes.data(), image_.bytes.size());
    Result<Event> copied = copies.Upload(pinned->bytes(), memory->bytes());
    EXPECT_TRUE(copied.ok() && copies.Wait(*copied, {}).ok());

    // Begins where no more is aligned than has to be.
    const int64_t scratch_bytes = kTensorAlignment + workspace_bytes_ + kGuardBytes;
    const std::unique_ptr<Arena> scratch = *device_.Allocate(scratch_bytes);
    const std::unique_ptr<Arena> poison = *copies.AllocatePinned(scratch_bytes);
    std::memset(poison->bytes().data(), kScratchPoison, poison->bytes().size());
    copied = copies.Upload(poison->bytes(), scratch->bytes());
    EXPECT_TRUE(copied.ok() && copies.Wait(*copied, {}).ok());
    const std::span<std::byte> workspace =
        scratch->bytes().subspan(kTensorAlignment, static_cast<size_t>(workspace_bytes_));

    std::byte* base = memory->bytes().data();
    std::vector<ConstTensorView> inputs;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      inputs.push_back({dtypes_[i], shapes_[i], base + inputs_[i].offset, test_.inputs[i].scale,
                        inputs_[i].run_elements, inputs_[i].run_stride});
    }
    const TensorView output{test_.output_dtype, shape_, base + output_.offset, output_.run_elements,
                            output_.run_stride};
    RunOp(inputs, output, workspace);
    copied = copies.Download(memory->bytes(), pinned->bytes());
    EXPECT_TRUE(copied.ok() && copies.Wait(*copied, {}).ok());
    copied = copies.Download(scratch->bytes(), poison->bytes());
    EXPECT_TRUE(copied.ok() && copies.Wait(*copied, {}).ok());
    const auto is_poison = [](std::byte byte) { return byte == std::byte{kScratchPoison}; };
    EXPECT_TRUE(std::ranges::all_of(poison->bytes().first(kTensorAlignment), is_poison) &&
                std::ranges::all_of(poison->bytes().last(kGuardBytes), is_poison))
        << "written outside the workspace";
    return Check(pinned->bytes());
  }

 private:
  void RunOp(std::span<const ConstTensorView> inputs, const TensorView& output,
             std::span<std::byte> workspace) {
    const auto run = [&](std::span<const ConstTensorView> operands, const TensorView& to,
                         const Strip* strip) {
      const Status status = device_.Run({&test_.op, operands, to, workspace, strip}, {});
      EXPECT_TRUE(status.ok()) << status.message();
    };
    if (strip_rows_ == 0) return run(inputs, output, nullptr);
    EXPECT_TRUE(device_.AcceptsStrips(test_.op));
    const auto* conv = std::get_if<op::Conv2d>(&test_.op);
    const int64_t height = inputs[0].shape[1], scale = conv != nullptr && conv->upsample ? 2 : 1;
    const int64_t margin = conv != nullptr ? 1 : 0, num_rows = height * scale;
    for (int64_t begin = 0; begin < num_rows; begin += strip_rows_) {
      const int64_t end = std::min(begin + strip_rows_, num_rows);
      const Strip strip = {.begin = begin,
                           .window_begin = std::max<int64_t>(begin / scale - margin, 0),
                           .picture_rows = height};
      std::vector<ConstTensorView> operands(inputs.begin(), inputs.end());
      operands[0] = RowsOf(inputs[0], strip.window_begin,
                           std::min((end + scale - 1) / scale + margin, height));
      TensorView to = output;
      if (conv != nullptr) {
        to = RowsOf(output, begin, end);
        if (conv->residual) operands.back() = RowsOf(inputs.back(), begin, end);
      }
      run(operands, to, &strip);
    }
  }

  // Rows [begin, end) of one picture.
  template <class View>
  static View RowsOf(View view, int64_t begin, int64_t end) {
    INGOT_CHECK(view.shape[0] == 1 && view.is_contiguous());
    view.data += begin * (view.num_bytes() / view.shape[1]);
    view.shape[1] = end - begin;
    return view;
  }

  // The output's values. Nothing but it has changed.
  std::vector<float> Check(std::span<const std::byte> after) {
    std::vector<std::byte> expected = image_.bytes;
    std::vector<float> values(static_cast<size_t>(shape_.num_elements()));
    const int64_t row = output_.run_elements > 0 ? output_.run_elements : shape_.num_elements();
    for (int64_t i = 0; i < output_.num_runs; ++i) {
      const int64_t offset = output_.offset + i * output_.stride_bytes;
      DequantizeRow(test_.output_dtype, after.data() + offset, values.data() + i * row, row);
      std::memcpy(expected.data() + offset, after.data() + offset,
                  static_cast<size_t>(output_.run_bytes));
    }
    EXPECT_EQ(std::memcmp(expected.data(), after.data(), expected.size()), 0)
        << "written outside the output";
    return values;
  }

  Device& device_;
  const Case& test_;
  Image image_;
  std::vector<Shape> shapes_;
  std::vector<DType> dtypes_;
  std::vector<Place> inputs_;
  Shape shape_;
  OpSignature signature_{};
  Place output_;
  int64_t workspace_bytes_ = 0;
  int64_t strip_rows_ = 0;
  bool is_supported_ = false;
};

std::vector<float> RunOn(GpuModel gpu, GpuOrder order, const Case& test, Layout layout,
                         int64_t strip_rows = 0) {
  return Once(OpenGpu(gpu, order), test, layout).Run(strip_rows);
}

}  // namespace

std::vector<float> RunCuda(const Case& test, GpuModel gpu) {
  return RunOn(gpu, GpuOrder::kForward, test, Layout::kContiguous);
}

std::vector<float> RunCudaInStrips(const Case& test, int64_t strip_rows, GpuModel gpu) {
  return RunOn(gpu, GpuOrder::kForward, test, Layout::kContiguous, strip_rows);
}

void ExpectCudaConforms(const Case& test, GpuModel gpu) {
  SCOPED_TRACE(test.name);
  const std::vector<float> expected = RunReference(test);
  const std::vector<float> found = RunCuda(test, gpu);
  ASSERT_EQ(found.size(), expected.size());
  EXPECT_LE(RelativeError(found, expected), test.tolerance);
  const auto expect_same = [&](GpuOrder order, Layout layout, const char* what) {
    const std::vector<float> other = RunOn(gpu, order, test, layout);
    ASSERT_EQ(other.size(), found.size());
    EXPECT_EQ(std::memcmp(other.data(), found.data(), found.size() * sizeof(float)), 0)
        << "other bits " << what;
  };
  expect_same(GpuOrder::kBackward, Layout::kRuns, "in runs, threads backward");
  expect_same(GpuOrder::kShuffled, Layout::kInPlace, "in place, threads shuffled");
}

}  // namespace ingot::conformance
