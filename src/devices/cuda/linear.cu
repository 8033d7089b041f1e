// Rows by the prologue, then for each piece of the weight: decode, product, epilogue.
#include "devices/cuda/linear.h"

#include <algorithm>

#include "devices/cuda/activation.h"
#include "devices/cuda/dequantize.h"
#include "devices/cuda/kernel.h"
#include "devices/cuda/matmul.h"
#include "devices/cuda/row_scale.h"

namespace ingot::cuda {
namespace {

// Rows of contiguous elements, `stride` elements apart: without the division of rows.h, as a run
// here is one row.
template <class T>
struct StridedRows {
  T* data = nullptr;
  int64_t stride = 0;
  __device__ T* operator[](int64_t row) const { return data + row * stride; }
};
using ConstRows = StridedRows<const float>;

ConstRows RowsOf(const OpCall& call, int input_idx) {
  if (input_idx < 0) return {};
  const ConstTensorView& view = call.inputs[static_cast<size_t>(input_idx)];
  return {reinterpret_cast<const float*>(view.data), view.RowStride(view.shape.back())};
}

template <int V, class T>
__device__ inline void Store(const float (&values)[V], T* to) {
  Vector<T, V> out;
  for (int i = 0; i < V; ++i) out.values[i] = FromFloat<T>(values[i]);
  Vector<T, V>::At(to) = out;
}
template <int V>
__device__ inline Vector<float, V> Load(const float* from) {
  return Vector<float, V>::At(from);
}

// Values of a thread where all rows allow it; else one.
constexpr int kVector = 4;
template <class T>
bool TakesVectors(const StridedRows<T>& rows) {
  return reinterpret_cast<uintptr_t>(rows.data) % (kVector * sizeof(T)) == 0 &&
         rows.stride % kVector == 0;
}
// f(V): kVector or 1, as a type.
template <class F>
void WithVectors(bool takes_vectors, const F& f) {
  takes_vectors ? f(std::integral_constant<int, kVector>{}) : f(std::integral_constant<int, 1>{});
}

// Grid (rows, columns); blocks no wider than a row needs.
Grid GridOverRows(int64_t num_rows, int64_t num_threads) {
  const int64_t warps = std::min<int64_t>((num_threads + kWarp - 1) / kWarp, kBlockThreads / kWarp);
  const int64_t threads = warps * kWarp;
  return {dim3(static_cast<unsigned>(num_rows),
               static_cast<unsigned>((num_threads + threads - 1) / threads)),
          dim3(static_cast<unsigned>(threads))};
}
// First column of this thread.
template <int V>
__device__ int64_t Column() {
  return (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * V;
}

constexpr int kRowThreads = 128;  // where a block has a whole row

// f(first column) for each V columns of this thread of a row's block.
template <int V, class F>
__device__ void ForColumns(int64_t k, const F& f) {
  for (int64_t column = threadIdx.x * V; column < k; column += kRowThreads * V) f(column);
}

// A block's row of made(first column), V values each -> to; where it is scaled, what undoes that ->
// factor. `scratch`: as of SumOfBlock.
template <int V, class T, class F>
__device__ void StoreRow(int64_t k, const F& made, T* to, float* factor, float* scratch) {
  float scale = 1.0f;
  if constexpr (kIsScaled<T>) {
    float largest = 0.0f;
    ForColumns<V>(k, [&](int64_t column) {
      const Vector<float, V> x = made(column);
      for (float value : x.values) largest = fmaxf(largest, fabsf(value));
    });
    scale = ScaleOf<T>(LargestOfBlock(largest, scratch));
    if (threadIdx.x == 0) *factor = InverseOf(scale);
  }
  ForColumns<V>(k, [&](int64_t column) {
    Vector<float, V> x = made(column);
    if constexpr (kIsScaled<T>) {
      for (float& value : x.values) value *= scale;
    }
    Store<V>(x.values, to + column);
  });
}

// What the rows are made of; of k columns num_a are those of a.
struct Sources {
  op::Prologue prologue;
  ConstRows a, b;
  ConstRows shift, scale;  // of pictures
  int64_t num_a, k, num_rows, rows_per_picture;
  float eps;
};

// Every prologue but the norm: V values of a row.
template <int V>
__device__ Vector<float, V> ValuesOf(const Sources& from, int64_t row, int64_t column) {
  const bool is_b = column >= from.num_a;
  Vector<float, V> x = Load<V>(is_b ? from.b[row] + (column - from.num_a) : from.a[row] + column);
  if (from.prologue != op::Prologue::kNone &&
      (from.prologue != op::Prologue::kConcatGeluTanh || is_b)) {
    for (float& value : x.values) value = Activate(op::UnaryKind::kGeluTanh, value);
  }
  if (from.prologue == op::Prologue::kGatedGeluTanh) {
    const Vector<float, V> b = Load<V>(from.b[row] + column);
    for (int i = 0; i < V; ++i) x.values[i] *= b.values[i];
  }
  return x;
}

// A thread V columns of a row; where rows are scaled, a block a row, made twice: once for its
// largest magnitude.
template <class T, int V>
__global__ void RowsKernel(Sources from, T* out, float* factors) {
  const int64_t row = blockIdx.x;
  T* to = out + row * from.k;
  if constexpr (kIsScaled<T>) {
    __shared__ float scratch[kWarp];
    StoreRow<V>(
        from.k, [&](int64_t column) { return ValuesOf<V>(from, row, column); }, to, factors + row,
        scratch);
  } else if (const int64_t column = Column<V>(); column < from.k) {
    Store<V>(ValuesOf<V>(from, row, column).values, to + column);
  }
}

// f(values, how many of them are in the row) for each group of kVector columns of this thread of a
// row's block, however they are loaded: the order of the norm's sums is a function of k alone.
template <int V, class F>
__device__ void ForEachGroup(const float* row, int64_t k, const F& f) {
  ForColumns<kVector>(k, [&](int64_t column) {
    const int count = k - column < kVector ? static_cast<int>(k - column) : kVector;
    Vector<float, kVector> x = {};
    if constexpr (V == kVector) {
      x = Load<kVector>(row + column);
    } else {
      for (int i = 0; i < kVector; ++i) {
        if (i < count) x.values[i] = row[column + i];
      }
    }
    f(x, count);
  });
}

// A block a row, which is read three times, four where it is scaled: all but once from the caches.
template <class T, int V>
__global__ void AdaLayerNormKernel(Sources from, T* out, float* factors) {
  __shared__ float scratch[kWarp];
  const int64_t row = blockIdx.x, picture = row / from.rows_per_picture;
  const float* x = from.a[row];
  float sum = 0.0f;
  ForEachGroup<V>(x, from.k, [&](const Vector<float, kVector>& values, int) {
    for (float value : values.values) sum += value;
  });
  const float mean = SumOfBlock(sum, scratch) / static_cast<float>(from.k);
  float squares = 0.0f;
  ForEachGroup<V>(x, from.k, [&](const Vector<float, kVector>& values, int count) {
    for (int i = 0; i < kVector; ++i) {
      const float distance = i < count ? values.values[i] - mean : 0.0f;
      squares = __fmaf_rn(distance, distance, squares);
    }
  });
  const float variance = SumOfBlock(squares, scratch) / static_cast<float>(from.k);
  const float factor = 1.0f / sqrtf(variance + from.eps);
  const float *shift = from.shift[picture], *scale = from.scale[picture];
  const auto modulated = [&](int64_t column) {
    const Vector<float, V> by = Load<V>(scale + column), plus = Load<V>(shift + column);
    Vector<float, V> values = Load<V>(x + column);
    for (int i = 0; i < V; ++i) {
      values.values[i] =
          __fmaf_rn(1.0f + by.values[i], (values.values[i] - mean) * factor, plus.values[i]);
    }
    return values;
  };
  StoreRow<V>(from.k, modulated, out + row * from.k, factors + row, scratch);
}

// What undoes a row's scale -> factors, where rows are scaled.
template <class T>
void MakeRows(const Sources& from, T* out, float* factors, cudaStream_t stream) {
  const bool is_norm = from.prologue == op::Prologue::kAdaLayerNorm;
  const bool takes_vectors = from.k % kVector == 0 && from.num_a % kVector == 0 &&
                             TakesVectors(from.a) && TakesVectors(from.b) &&
                             TakesVectors(from.shift) && TakesVectors(from.scale);
  WithVectors(takes_vectors, [&]<int V>(std::integral_constant<int, V>) {
    const Grid grid = is_norm || kIsScaled<T> ? GridOverRows(from.num_rows, kRowThreads)
                                              : GridOverRows(from.num_rows, (from.k + V - 1) / V);
    Launch(grid, stream, is_norm ? AdaLayerNormKernel<T, V> : RowsKernel<T, V>, from, out, factors);
  });
}

// What is done to a product y [num_rows, num_columns], which is rows from first_row on and columns
// from first_column on of the output; what is null is left out.
struct Epilogue {
  const float* row_factors;
  const float* column_factors;  // of the product's columns; with row_factors only
  float factor;                 // of all columns where they have none of their own
  ConstRows bias;               // one row; with row_factors only, else the product has it
  ConstRows residual;
  ConstRows gate;  // of pictures; with residual only
  int64_t rows_per_picture;
  int64_t first_row, num_rows, first_column, num_columns;
};

// residual + gate * (y * column factor * row factor + bias): where those are powers of two, the
// bias is added to what is exact. A thread reads its elements of the product and of the residual
// before it writes to their place.
template <int V>
__global__ void EpilogueKernel(ConstRows y, Epilogue epilogue, StridedRows<float> out) {
  const int64_t row = epilogue.first_row + blockIdx.x, column = Column<V>();
  const int64_t at = epilogue.first_column + column;
  if (column >= epilogue.num_columns) return;
  Vector<float, V> x = Load<V>(y[blockIdx.x] + column);
  if (epilogue.row_factors != nullptr) {
    if (epilogue.column_factors != nullptr) {
      const Vector<float, V> by = Load<V>(epilogue.column_factors + column);
      for (int i = 0; i < V; ++i) x.values[i] *= by.values[i];
    } else {
      for (float& value : x.values) value *= epilogue.factor;
    }
    const float factor = epilogue.row_factors[row];
    Vector<float, V> bias = {};
    if (epilogue.bias.data != nullptr) bias = Load<V>(epilogue.bias[0] + at);
    for (int i = 0; i < V; ++i) x.values[i] = __fmaf_rn(x.values[i], factor, bias.values[i]);
  }
  if (epilogue.residual.data != nullptr) {
    const Vector<float, V> plus = Load<V>(epilogue.residual[row] + at);
    if (epilogue.gate.data == nullptr) {
      for (int i = 0; i < V; ++i) x.values[i] += plus.values[i];
    } else {
      const Vector<float, V> by = Load<V>(epilogue.gate[row / epilogue.rows_per_picture] + at);
      for (int i = 0; i < V; ++i) {
        x.values[i] = __fmaf_rn(by.values[i], x.values[i], plus.values[i]);
      }
    }
  }
  Store<V>(x.values, out[row] + at);
}

void ApplyEpilogue(const Epilogue& epilogue, ConstRows y, StridedRows<float> out,
                   cudaStream_t stream) {
  const bool takes_vectors = epilogue.num_columns % kVector == 0 && TakesVectors(y) &&
                             TakesVectors(epilogue.bias) && TakesVectors(epilogue.residual) &&
                             TakesVectors(epilogue.gate) && TakesVectors(out);
  WithVectors(takes_vectors, [&]<int V>(std::integral_constant<int, V>) {
    Launch(GridOverRows(epilogue.num_rows, (epilogue.num_columns + V - 1) / V), stream,
           EpilogueKernel<V>, y, epilogue, out);
  });
}

// Of rows and weight in the product: a function of the op, its shapes and the GPU, never of the
// rows there are.
DType ProductType(const op::Linear& op, int64_t num_features, int64_t k, const Matmul& matmul) {
  if (op.compute == op::Compute::kF32) return DType::kF32;
  const bool in_f8 = op.compute == op::Compute::kF8 && matmul.multiplies_f8() &&
                     num_features % 16 == 0 && k % 16 == 0;
  return in_f8 ? DType::kF8E4M3 : matmul.half_type();
}

// Room for an element of the rows and of the weight in the product: what it takes on the GPU that
// needs most.
int64_t ElementBytes(const op::Linear& op) { return op.compute == op::Compute::kF32 ? 4 : 2; }

// Rows of N in a piece of the weight: pieces of one size and about this many bytes, large enough
// that a product fills a GPU.
constexpr int64_t kPieceBytes = int64_t{64} << 20;
constexpr int64_t kPieceGrid = 256;
int64_t PieceRows(int64_t num_features, int64_t row_bytes) {
  const auto round_up = [](int64_t n) { return (n + kPieceGrid - 1) / kPieceGrid * kPieceGrid; };
  const int64_t most = std::max(kPieceBytes / row_bytes / kPieceGrid, int64_t{1}) * kPieceGrid;
  const int64_t num_pieces = (num_features + most - 1) / most;
  return std::min(round_up((num_features + num_pieces - 1) / num_pieces), num_features);
}

// Where the parts of the workspace begin.
struct Parts {
  int64_t rows, row_factors, feature_factors, weight, matmul, product, end;
};
Parts PartsOf(const op::Linear& op, int64_t num_rows, int64_t num_features, int64_t k) {
  constexpr int64_t kAlignment = 256;
  const auto after = [](int64_t begin, int64_t num_bytes) {
    return (begin + num_bytes + kAlignment - 1) / kAlignment * kAlignment;
  };
  const int64_t row_bytes = k * ElementBytes(op), of_floats = sizeof(float);
  const int64_t piece_rows = PieceRows(num_features, row_bytes);
  Parts parts = {};
  parts.row_factors = after(parts.rows, num_rows * row_bytes);
  parts.feature_factors = after(parts.row_factors, num_rows * of_floats);
  const bool has_feature_factors = op.compute == op::Compute::kF8;
  parts.weight = after(parts.feature_factors, has_feature_factors ? piece_rows * of_floats : 0);
  parts.matmul = after(parts.weight, piece_rows * row_bytes);
  parts.product = after(parts.matmul, Matmul::kWorkspaceBytes);
  parts.end = parts.product;
  if (op.epilogue != op::Epilogue::kNone) {
    parts.end += num_rows * piece_rows * of_floats;
  }
  return parts;
}

Sources SourcesOf(const op::Linear& op, const OpCall& call, int64_t num_rows, int64_t k) {
  Sources from = {.prologue = op.prologue,
                  .a = RowsOf(call, 0),
                  .num_a = k,
                  .k = k,
                  .num_rows = num_rows,
                  .rows_per_picture = num_rows / call.inputs[0].shape[0],
                  .eps = op.eps};
  switch (op.prologue) {
    case op::Prologue::kNone:
    case op::Prologue::kGeluTanh:
      break;
    case op::Prologue::kAdaLayerNorm:
      from.shift = RowsOf(call, 1);
      from.scale = RowsOf(call, 2);
      break;
    case op::Prologue::kConcatGeluTanh:
      from.num_a = call.inputs[0].shape.back();
      [[fallthrough]];
    case op::Prologue::kGatedGeluTanh:
      from.b = RowsOf(call, 1);
      break;
  }
  return from;
}

// Where the product finds its rows: made in the workspace, but for those that need nothing.
const std::byte* PrepareRows(const op::Linear& op, const OpCall& call, int64_t num_rows, int64_t k,
                             DType dtype, const Parts& parts, cudaStream_t stream) {
  if (op.prologue == op::Prologue::kNone && dtype == DType::kF32 &&
      call.inputs[0].is_contiguous()) {
    return call.inputs[0].data;
  }
  std::byte* const rows = call.workspace.data() + parts.rows;
  auto* const factors = reinterpret_cast<float*>(call.workspace.data() + parts.row_factors);
  const auto make = [&]<class T>(T) {
    MakeRows(SourcesOf(op, call, num_rows, k), reinterpret_cast<T*>(rows), factors, stream);
  };
  if (dtype == DType::kF32) make(float{});
  if (dtype == DType::kF16) make(__half{});
  if (dtype == DType::kBF16) make(__nv_bfloat16{});
  if (dtype == DType::kF8E4M3) make(__nv_fp8_e4m3{});
  return rows;
}

// Whether the product reads the weight where it lies. In F8E4M3 its scale is for the epilogue.
bool IsProductOperand(const ConstTensorView& weight, DType dtype) {
  return weight.dtype == dtype && (weight.scale == 1.0f || dtype == DType::kF8E4M3) &&
         reinterpret_cast<uintptr_t>(weight.data) % 16 == 0;
}

}  // namespace

void Run(const op::Linear& op, const OpCall& call, const Context& context) {
  const op::LinearOperands at = op::OperandsOf(op);
  const ConstTensorView& weight = call.inputs[static_cast<size_t>(at.weight)];
  const int64_t num_features = weight.shape[0], k = weight.shape[1];
  const int64_t num_rows = call.output.shape.num_elements() / num_features;
  if (num_rows == 0) return;
  const DType dtype = ProductType(op, num_features, k, context.matmul);
  const int64_t row_bytes = NumBytes(dtype, {k});
  const Parts parts = PartsOf(op, num_rows, num_features, k);
  INGOT_CHECK(parts.end <= static_cast<int64_t>(call.workspace.size()));
  std::byte* workspace = call.workspace.data();

  const std::byte* const rows = PrepareRows(op, call, num_rows, k, dtype, parts, context.stream);
  auto* const feature_factors = reinterpret_cast<float*>(workspace + parts.feature_factors);
  const bool is_f8 = dtype == DType::kF8E4M3, is_scaled = is_f8 || dtype == DType::kF16;
  const bool is_operand = IsProductOperand(weight, dtype), has_residual = at.residual >= 0;
  const ConstRows bias = RowsOf(call, at.bias);
  const auto* const row_factors = reinterpret_cast<const float*>(workspace + parts.row_factors);
  Epilogue epilogue = {.row_factors = is_scaled ? row_factors : nullptr,
                       .column_factors = is_f8 && !is_operand ? feature_factors : nullptr,
                       .factor = is_f8 ? weight.scale : 1.0f,
                       .bias = is_scaled ? bias : ConstRows{},
                       .residual = RowsOf(call, at.residual),
                       .gate = RowsOf(call, at.gate),
                       .rows_per_picture = num_rows / call.output.shape[0]};
  const StridedRows<float> out = {reinterpret_cast<float*>(call.output.data),
                                  call.output.RowStride(num_features)};
  const int64_t piece_rows = PieceRows(num_features, k * ElementBytes(op));
  // A product in F8E4M3 takes no output whose rows are not aligned. It then goes to the half of the
  // weight's part that its bytes leave, as many rows at once as that holds, and from there by the
  // epilogue.
  const bool is_staged = is_f8 && !has_residual && !TakesVectors(out);
  const int64_t rows_at_once = is_staged ? k / static_cast<int64_t>(sizeof(float)) : num_rows;
  const int64_t staged = parts.weight + piece_rows * row_bytes;

  MatmulCall product = {.dtype = dtype, .k = k};
  for (int64_t first = 0; first < num_features; first += piece_rows) {
    product.n = std::min(piece_rows, num_features - first);
    product.weight = is_operand ? weight.data + first * row_bytes : workspace + parts.weight;
    if (!is_operand && is_f8) {
      EncodeRowsInF8(weight, first, product.n, workspace + parts.weight, feature_factors,
                     context.stream);
    } else if (!is_operand) {
      DequantizeRows(weight, first, product.n, dtype, workspace + parts.weight, context.stream);
    }
    product.bias = bias.data != nullptr && !is_scaled ? bias.data + first : nullptr;
    product.y = out.data + first;
    product.y_stride = out.stride;
    if (has_residual || is_staged) {
      product.y = reinterpret_cast<float*>(workspace + (is_staged ? staged : parts.product));
      product.y_stride = product.n;
    }
    epilogue.first_column = first;
    epilogue.num_columns = product.n;
    for (int64_t row = 0; row < num_rows; row += rows_at_once) {
      product.m = std::min(rows_at_once, num_rows - row);
      product.x = rows + row * row_bytes;
      context.matmul.Run(product,
                         call.workspace.subspan(static_cast<size_t>(parts.matmul),
                                                static_cast<size_t>(Matmul::kWorkspaceBytes)),
                         context.stream);
      epilogue.first_row = row;
      epilogue.num_rows = product.m;
      if (has_residual || is_scaled) {
        ApplyEpilogue(epilogue, {product.y, product.y_stride}, out, context.stream);
      }
    }
  }
}

int64_t WorkspaceBytes(const op::Linear& op, const OpSignature& signature) {
  const Shape& weight = signature.input_shapes[static_cast<size_t>(op::OperandsOf(op).weight)];
  const int64_t num_rows = signature.output_shape.num_elements() / weight[0];
  return PartsOf(op, num_rows, weight[0], weight[1]).end;
}

bool AcceptsRuns(const op::Linear& op, int input_idx) {
  const op::LinearOperands at = op::OperandsOf(op);
  return input_idx != at.weight && (input_idx < 0 || input_idx != at.bias);
}

int AliasOf(const op::Linear& op) { return op::OperandsOf(op).residual; }

bool AcceptsDType(const op::Linear& op, int input_idx, DType dtype) {
  return input_idx == op::OperandsOf(op).weight ? IsWeightType(dtype) : dtype == DType::kF32;
}

}  // namespace ingot::cuda
