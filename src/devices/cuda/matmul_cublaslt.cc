#include "devices/cuda/matmul.h"

#include <array>
#include <map>
#include <string>
#include <type_traits>
#include <utility>

#include <cublasLt.h>
#include <dlfcn.h>

#include "base/check.h"
#include "base/status.h"
#include "devices/cuda/runtime.h"
#include "tensor/shape.h"

namespace ingot::cuda {
namespace {

// The library is opened when a device is, so that a binary starts on a machine without it. What is
// used of it is the same in both versions.
constexpr const char* kLibraries[] = {"libcublasLt.so.13", "libcublasLt.so.12"};

#define INGOT_FOR_EACH_FUNCTION(Do)                                                               \
  Do(Create) Do(Destroy) Do(GetStatusName) Do(Matmul) Do(MatmulAlgoCheck)                         \
      Do(MatmulAlgoConfigGetAttribute) Do(MatmulAlgoGetHeuristic) Do(MatmulDescCreate)            \
          Do(MatmulDescDestroy) Do(MatmulDescSetAttribute) Do(MatmulPreferenceCreate)             \
              Do(MatmulPreferenceDestroy) Do(MatmulPreferenceSetAttribute) Do(MatrixLayoutCreate) \
                  Do(MatrixLayoutDestroy)

struct CublasLt {
#define INGOT_DECLARE(Name) decltype(&cublasLt##Name) Name = nullptr;
  INGOT_FOR_EACH_FUNCTION(INGOT_DECLARE)
#undef INGOT_DECLARE

  // The message of the loader where one lacks.
  Status Load(const char* name) {
    void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL);  // for good
    if (library == nullptr) return Unavailable("{}", dlerror());
#define INGOT_LOAD(Name)                                                     \
  Name = reinterpret_cast<decltype(Name)>(dlsym(library, "cublasLt" #Name)); \
  if (Name == nullptr) return Unavailable("{}", dlerror());
    INGOT_FOR_EACH_FUNCTION(INGOT_LOAD)
#undef INGOT_LOAD
    return {};
  }
};
#undef INGOT_FOR_EACH_FUNCTION

// A descriptor of the library, destroyed when it goes out of scope.
template <class T>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, cublasStatus_t (*)(T)>;

// What the choice of an algorithm sees: a call's m and its addresses beyond their alignment are not
// in it.
struct PlanKey {
  int64_t n, k;
  DType dtype;
  bool has_bias;
  int x_alignment, weight_alignment, y_alignment;
  auto operator<=>(const PlanKey&) const = default;
};

struct Plan {
  Owned<cublasLtMatmulDesc_t> product;
  Owned<cublasLtMatrixLayout_t> weight;
  cublasLtMatmulAlgo_t algorithm;
  int64_t checked_m = 0, checked_stride = 0;  // that the algorithm takes
};

// m at which algorithms are chosen: of a picture of 1024 x 1024.
constexpr int64_t kPlannedM = 4096;

// The power of two, at most 16, that divides the address of every row.
int AlignmentOf(const void* data, int64_t row_bytes) {
  const auto bits = reinterpret_cast<uintptr_t>(data) | static_cast<uintptr_t>(row_bytes) | 16;
  return static_cast<int>(bits & -bits);
}

class CublasLtMatmul final : public Matmul {
 public:
  CublasLtMatmul(const CublasLt& functions, cublasLtHandle_t handle, int compute_capability)
      : lt_(functions), handle_(handle), compute_capability_(compute_capability) {}
  ~CublasLtMatmul() override {
    plans_.clear();
    (void)lt_.Destroy(handle_);
  }

  DType half_type() const override { return HalfTypeOf(compute_capability_); }
  bool multiplies_f8() const override { return MultipliesF8(compute_capability_); }
  void Run(const MatmulCall& call, std::span<std::byte> workspace, cudaStream_t stream) override {
    if (Status status = TryRun(call, workspace, stream); error_.ok()) error_ = std::move(status);
  }
  Status TakeError() override { return std::exchange(error_, Status()); }

 private:
  Status TryRun(const MatmulCall& call, std::span<std::byte> workspace, cudaStream_t stream);
  // The plan of the key, chosen when it is first asked for.
  Result<Plan*> PlanOf(const PlanKey& key, const float* bias);
  Result<cublasLtMatmulAlgo_t> ChooseAlgorithm(const PlanKey& key, const Plan& plan);

  Status StatusOf(cublasStatus_t status, const PlanKey& key, std::string_view what) const {
    if (status == CUBLAS_STATUS_SUCCESS) return {};
    return Unavailable("cuda: product of {} [{}, {}]: expected {}, found {}", Name(key.dtype),
                       key.n, key.k, what, lt_.GetStatusName(status));
  }
  // [columns, rows] as the library counts: a matrix of rows that lie one after the other.
  Owned<cublasLtMatrixLayout_t> Layout(cudaDataType_t type, int64_t rows, int64_t columns,
                                       int64_t stride) const {
    cublasLtMatrixLayout_t layout = nullptr;
    (void)lt_.MatrixLayoutCreate(&layout, type, static_cast<uint64_t>(columns),
                                 static_cast<uint64_t>(rows), stride);
    return {layout, lt_.MatrixLayoutDestroy};
  }
  template <class T>
  cublasStatus_t Set(const Plan& plan, cublasLtMatmulDescAttributes_t attribute, T value) const {
    return lt_.MatmulDescSetAttribute(plan.product.get(), attribute, &value, sizeof value);
  }

  const CublasLt lt_;
  const cublasLtHandle_t handle_;
  const int compute_capability_;
  std::map<PlanKey, Plan> plans_;
  Status error_;
};

// The library's table of types has each of them for x and the weight where y, the bias and the sums
// are in f32; with F8E4M3 the bias would be in bf16, so there is none.
cudaDataType_t TypeOf(DType dtype) {
  if (dtype == DType::kF32) return CUDA_R_32F;
  if (dtype == DType::kF8E4M3) return CUDA_R_8F_E4M3;
  return dtype == DType::kBF16 ? CUDA_R_16BF : CUDA_R_16F;
}

// Without a split of K the sum of an element is that of its tile, whatever else there is to do.
Result<cublasLtMatmulAlgo_t> CublasLtMatmul::ChooseAlgorithm(const PlanKey& key, const Plan& plan) {
  cublasLtMatmulPreference_t created = nullptr;
  INGOT_RETURN_IF_ERROR(
      StatusOf(lt_.MatmulPreferenceCreate(&created), key, "room for what is preferred"));
  const Owned<cublasLtMatmulPreference_t> preference(created, lt_.MatmulPreferenceDestroy);
  cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    if (status != CUBLAS_STATUS_SUCCESS) return;
    status = lt_.MatmulPreferenceSetAttribute(created, attribute, &value, sizeof value);
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kWorkspaceBytes));
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE});
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(key.weight_alignment));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(key.x_alignment));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(key.y_alignment));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(key.y_alignment));
  INGOT_RETURN_IF_ERROR(StatusOf(status, key, "to say what is preferred"));

  const int64_t grid = key.y_alignment / static_cast<int64_t>(sizeof(float));
  const auto x = Layout(TypeOf(key.dtype), kPlannedM, key.k, key.k);
  const auto y = Layout(CUDA_R_32F, kPlannedM, key.n, (key.n + grid - 1) / grid * grid);
  std::array<cublasLtMatmulHeuristicResult_t, 8> found = {};
  int num_found = 0;
  INGOT_RETURN_IF_ERROR(
      StatusOf(lt_.MatmulAlgoGetHeuristic(handle_, plan.product.get(), plan.weight.get(), x.get(),
                                          y.get(), y.get(), created, static_cast<int>(found.size()),
                                          found.data(), &num_found),
               key, "an algorithm"));
  for (int i = 0; i < num_found; ++i) {
    const cublasLtMatmulHeuristicResult_t& result = found[static_cast<size_t>(i)];
    int32_t num_splits = 0;
    if (result.state == CUBLAS_STATUS_SUCCESS &&
        lt_.MatmulAlgoConfigGetAttribute(&result.algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &num_splits,
                                         sizeof num_splits, nullptr) == CUBLAS_STATUS_SUCCESS &&
        num_splits <= 1) {
      return result.algo;
    }
  }
  return StatusOf(CUBLAS_STATUS_NOT_SUPPORTED, key, "an algorithm that does not split K");
}

Result<Plan*> CublasLtMatmul::PlanOf(const PlanKey& key, const float* bias) {
  if (const auto known = plans_.find(key); known != plans_.end()) return &known->second;
  cublasLtMatmulDesc_t created = nullptr;
  // F32: no TF32.
  INGOT_RETURN_IF_ERROR(StatusOf(lt_.MatmulDescCreate(&created, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                                 key, "room for a product"));
  Plan plan = {.product = {created, lt_.MatmulDescDestroy},
               .weight = Layout(TypeOf(key.dtype), key.n, key.k, key.k),
               .algorithm = {}};
  // The library counts columns first: y^T [n, m] = weight x^T, of which weight is the transpose of
  // what it sees.
  cublasStatus_t status = Set(plan, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  if (key.has_bias && status == CUBLAS_STATUS_SUCCESS) {
    status = Set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
  }
  if (key.has_bias && status == CUBLAS_STATUS_SUCCESS) {
    status = Set(plan, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
  }
  if (key.has_bias && status == CUBLAS_STATUS_SUCCESS) {
    status = Set(plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }
  // Sums that are promoted to f32 as they go; scales of the operands that are not set are 1.
  if (key.dtype == DType::kF8E4M3 && status == CUBLAS_STATUS_SUCCESS) {
    status = Set(plan, CUBLASLT_MATMUL_DESC_FAST_ACCUM, int8_t{0});
  }
  INGOT_RETURN_IF_ERROR(StatusOf(status, key, "to describe it"));
  INGOT_ASSIGN_OR_RETURN(plan.algorithm, ChooseAlgorithm(key, plan));
  return &plans_.emplace(key, std::move(plan)).first->second;
}

Status CublasLtMatmul::TryRun(const MatmulCall& call, std::span<std::byte> workspace,
                              cudaStream_t stream) {
  INGOT_CHECK(Takes(call));
  INGOT_CHECK(static_cast<int64_t>(workspace.size()) >= kWorkspaceBytes);
  const int64_t row_bytes = NumBytes(call.dtype, {call.k});
  const PlanKey key = {.n = call.n,
                       .k = call.k,
                       .dtype = call.dtype,
                       .has_bias = call.bias != nullptr,
                       .x_alignment = AlignmentOf(call.x, row_bytes),
                       .weight_alignment = AlignmentOf(call.weight, row_bytes),
                       .y_alignment = AlignmentOf(call.y, NumBytes(DType::kF32, {call.y_stride}))};
  INGOT_ASSIGN_OR_RETURN(Plan* const plan, PlanOf(key, call.bias));
  if (key.has_bias) {
    INGOT_RETURN_IF_ERROR(
        StatusOf(Set(*plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, call.bias), key, "to set a bias"));
  }
  const auto x = Layout(TypeOf(call.dtype), call.m, call.k, call.k);
  const auto y = Layout(CUDA_R_32F, call.m, call.n, call.y_stride);
  if (plan->checked_m != call.m || plan->checked_stride != call.y_stride) {
    cublasLtMatmulHeuristicResult_t checked = {};
    INGOT_RETURN_IF_ERROR(StatusOf(
        lt_.MatmulAlgoCheck(handle_, plan->product.get(), plan->weight.get(), x.get(), y.get(),
                            y.get(), &plan->algorithm, &checked),
        key, fmt::format("an algorithm that takes {} rows {} apart", call.m, call.y_stride)));
    if (checked.workspaceSize > static_cast<size_t>(kWorkspaceBytes)) {
      return Unavailable("cuda: product of {} rows: expected a workspace of {} bytes, found {}",
                         call.m, kWorkspaceBytes, checked.workspaceSize);
    }
    plan->checked_m = call.m;
    plan->checked_stride = call.y_stride;
  }
  const float one = 1.0f, zero = 0.0f;
  return StatusOf(
      lt_.Matmul(handle_, plan->product.get(), &one, call.weight, plan->weight.get(), call.x,
                 x.get(), &zero, call.y, y.get(), call.y, y.get(), &plan->algorithm,
                 workspace.data(), static_cast<size_t>(kWorkspaceBytes), stream),
      key, fmt::format("to run with {} rows", call.m));
}

}  // namespace

// As the library's documentation recommends for the largest GPUs.
const int64_t Matmul::kWorkspaceBytes = int64_t{32} << 20;

Result<std::unique_ptr<Matmul>> Matmul::Open() {
  INGOT_ASSIGN_OR_RETURN(const int compute_capability, ReadComputeCapability());
  std::string found;
  for (const char* name : kLibraries) {
    CublasLt functions;
    cublasLtHandle_t handle = nullptr;
    Status status = functions.Load(name);
    if (status.ok()) {
      const cublasStatus_t created = functions.Create(&handle);
      if (created == CUBLAS_STATUS_SUCCESS) {
        return std::unique_ptr<Matmul>(
            std::make_unique<CublasLtMatmul>(functions, handle, compute_capability));
      }
      status = Unavailable("{}: {}", name, functions.GetStatusName(created));
    }
    found += (found.empty() ? "" : "; ") + status.message();
  }
  return Unavailable("cuda: expected {} or {} of cuBLAS, found: {}", kLibraries[0], kLibraries[1],
                     found);
}

}  // namespace ingot::cuda
