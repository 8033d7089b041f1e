// Rows by the prologue, then for each piece of the weight: decode, product, epilogue.
#include "devices/cuda/linear.h"

#include <algorithm>

#include "devices/cuda/activation.h"
#include "devices/cuda/dequantize.h"
#include "devices/cuda/kernel.h"
#include "devices/cuda/matmul.h"

namespace ingot::cuda {
namespace {

// Rows of contiguous elements, `stride` elements apart.
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

// What the rows are made of; of k columns num_a are those of a.
struct Sources {
  op::Prologue prologue;
  ConstRows a, b;
  ConstRows shift, scale;  // of pictures
  int64_t num_a, k, num_rows, rows_per_picture;
  float eps;
};

// Every prologue but the norm.
template <class T, int V>
__global__ void RowsKernel(Sources from, T* out) {
  const int64_t row = blockIdx.x, column = Column<V>();
  if (column >= from.k) return;
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
  Store<V>(x.values, out + row * from.k + column);
}

// Threads of a row's block, each for groups of kVector columns however they are loaded: the order
// of the sums is a function of k alone. A row is read three times, twice of them from the caches.
constexpr int kNormThreads = 128;

// f(first column of a group, its values, how many of them are in the row)
template <int V, class F>
__device__ void ForEachGroup(const float* row, int64_t k, const F& f) {
  for (int64_t column = threadIdx.x * kVector; column < k; column += kNormThreads * kVector) {
    const int count = k - column < kVector ? static_cast<int>(k - column) : kVector;
    Vector<float, kVector> x = {};
    if constexpr (V == kVector) {
      x = Load<kVector>(row + column);
    } else {
      for (int i = 0; i < kVector; ++i) {
        if (i < count) x.values[i] = row[column + i];
      }
    }
    f(column, x, count);
  }
}

// A block a row.
template <class T, int V>
__global__ void AdaLayerNormKernel(Sources from, T* out) {
  __shared__ float scratch[kWarp];
  const int64_t row = blockIdx.x, picture = row / from.rows_per_picture;
  const float* x = from.a[row];
  float sum = 0.0f;
  ForEachGroup<V>(x, from.k, [&](int64_t, const Vector<float, kVector>& values, int) {
    for (float value : values.values) sum += value;
  });
  const float mean = SumOfBlock(sum, scratch) / static_cast<float>(from.k);
  float squares = 0.0f;
  ForEachGroup<V>(x, from.k, [&](int64_t, const Vector<float, kVector>& values, int count) {
    for (int i = 0; i < kVector; ++i) {
      const float distance = i < count ? values.values[i] - mean : 0.0f;
      squares = __fmaf_rn(distance, distance, squares);
    }
  });
  const float variance = SumOfBlock(squares, scratch) / static_cast<float>(from.k);
  const float factor = 1.0f / sqrtf(variance + from.eps);
  const float *shift = from.shift[picture], *scale = from.scale[picture];
  ForEachGroup<V>(x, from.k, [&](int64_t column, const Vector<float, kVector>& values, int count) {
    const auto modulate = [&](float value, float by, float plus) {
      return __fmaf_rn(1.0f + by, (value - mean) * factor, plus);
    };
    T* to = out + row * from.k + column;
    if constexpr (V == kVector) {
      const Vector<float, V> by = Load<V>(scale + column), plus = Load<V>(shift + column);
      float made[V];
      for (int i = 0; i < V; ++i)
        made[i] = modulate(values.values[i], by.values[i], plus.values[i]);
      Store<V>(made, to);
    } else {
      for (int i = 0; i < kVector; ++i) {
        if (i >= count) break;
        to[i] = FromFloat<T>(modulate(values.values[i], scale[column + i], shift[column + i]));
      }
    }
  });
}

template <class T>
void MakeRows(const Sources& from, T* out, cudaStream_t stream) {
  const bool is_norm = from.prologue == op::Prologue::kAdaLayerNorm;
  const bool takes_vectors = from.k % kVector == 0 && from.num_a % kVector == 0 &&
                             TakesVectors(from.a) && TakesVectors(from.b) &&
                             TakesVectors(from.shift) && TakesVectors(from.scale);
  WithVectors(takes_vectors, [&]<int V>(std::integral_constant<int, V>) {
    const Grid grid = is_norm ? GridOverRows(from.num_rows, kNormThreads)
                              : GridOverRows(from.num_rows, (from.k + V - 1) / V);
    Launch(grid, stream, is_norm ? AdaLayerNormKernel<T, V> : RowsKernel<T, V>, from, out);
  });
}

// Columns [first, first + num_columns) of residual + gate * y, or residual + y where there is no
// gate; y [rows, num_columns] alone has no more. A thread reads its elements of the residual before
// it writes to their place.
template <int V>
__global__ void EpilogueKernel(ConstRows y, ConstRows residual, ConstRows gate,
                               int64_t rows_per_picture, int64_t first, int64_t num_columns,
                               StridedRows<float> out) {
  const int64_t row = blockIdx.x, column = Column<V>();
  if (column >= num_columns) return;
  const Vector<float, V> product = Load<V>(y[row] + column);
  const Vector<float, V> plus = Load<V>(residual[row] + first + column);
  float made[V];
  if (gate.data == nullptr) {
    for (int i = 0; i < V; ++i) made[i] = plus.values[i] + product.values[i];
  } else {
    const Vector<float, V> by = Load<V>(gate[row / rows_per_picture] + first + column);
    for (int i = 0; i < V; ++i) {
      made[i] = __fmaf_rn(by.values[i], product.values[i], plus.values[i]);
    }
  }
  Store<V>(made, out[row] + first + column);
}

// Of the rows and the weight in the product.
DType ProductType(const op::Linear& op) {
  return op.compute == op::Compute::kF32 ? DType::kF32 : DType::kBF16;
}

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
  int64_t rows, weight, matmul, product, end;
};
Parts PartsOf(const op::Linear& op, int64_t num_rows, int64_t num_features, int64_t k) {
  constexpr int64_t kAlignment = 256;
  const auto after = [](int64_t begin, int64_t num_bytes) {
    return (begin + num_bytes + kAlignment - 1) / kAlignment * kAlignment;
  };
  const int64_t row_bytes = NumBytes(ProductType(op), {k});
  const int64_t piece_rows = PieceRows(num_features, row_bytes);
  Parts parts = {};
  parts.weight = after(parts.rows, num_rows * row_bytes);
  parts.matmul = after(parts.weight, piece_rows * row_bytes);
  parts.product = after(parts.matmul, Matmul::kWorkspaceBytes);
  parts.end = parts.product;
  if (op.epilogue != op::Epilogue::kNone) {
    parts.end += num_rows * piece_rows * static_cast<int64_t>(sizeof(float));
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

// Whether the product reads the weight where it lies.
bool IsProductOperand(const ConstTensorView& weight, DType dtype) {
  return weight.dtype == dtype && weight.scale == 1.0f &&
         reinterpret_cast<uintptr_t>(weight.data) % 16 == 0;
}

}  // namespace

void Run(const op::Linear& op, const OpCall& call, const Context& context) {
  const op::LinearOperands at = op::OperandsOf(op);
  const ConstTensorView& weight = call.inputs[static_cast<size_t>(at.weight)];
  const int64_t num_features = weight.shape[0], k = weight.shape[1];
  const int64_t num_rows = call.output.shape.num_elements() / num_features;
  if (num_rows == 0) return;
  const DType dtype = ProductType(op);
  const int64_t row_bytes = NumBytes(dtype, {k});
  const Parts parts = PartsOf(op, num_rows, num_features, k);
  INGOT_CHECK(parts.end <= static_cast<int64_t>(call.workspace.size()));
  std::byte* workspace = call.workspace.data();

  MatmulCall product = {.dtype = dtype, .m = num_rows, .k = k, .x = workspace + parts.rows};
  const Sources from = SourcesOf(op, call, num_rows, k);
  if (op.prologue == op::Prologue::kNone && dtype == DType::kF32 &&
      call.inputs[0].is_contiguous()) {
    product.x = call.inputs[0].data;
  } else if (dtype == DType::kF32) {
    MakeRows(from, reinterpret_cast<float*>(workspace + parts.rows), context.stream);
  } else {
    MakeRows(from, reinterpret_cast<__nv_bfloat16*>(workspace + parts.rows), context.stream);
  }

  const bool has_epilogue = op.epilogue != op::Epilogue::kNone;
  const float* bias = RowsOf(call, at.bias).data;
  const ConstRows residual = RowsOf(call, at.residual), gate = RowsOf(call, at.gate);
  const StridedRows<float> out = {reinterpret_cast<float*>(call.output.data),
                                  call.output.RowStride(num_features)};
  const bool is_operand = IsProductOperand(weight, dtype);
  const int64_t piece_rows = PieceRows(num_features, row_bytes);
  for (int64_t first = 0; first < num_features; first += piece_rows) {
    product.n = std::min(piece_rows, num_features - first);
    product.weight = is_operand ? weight.data + first * row_bytes : workspace + parts.weight;
    if (!is_operand) {
      DequantizeRows(weight, first, product.n, dtype, workspace + parts.weight, context.stream);
    }
    product.bias = bias != nullptr ? bias + first : nullptr;
    product.y =
        has_epilogue ? reinterpret_cast<float*>(workspace + parts.product) : out.data + first;
    product.y_stride = has_epilogue ? product.n : out.stride;
    context.matmul.Run(product,
                       call.workspace.subspan(static_cast<size_t>(parts.matmul),
                                              static_cast<size_t>(Matmul::kWorkspaceBytes)),
                       context.stream);
    if (!has_epilogue) continue;
    const ConstRows y = {product.y, product.y_stride};
    const bool takes_vectors = product.n % kVector == 0 && TakesVectors(y) &&
                               TakesVectors(residual) && TakesVectors(gate) && TakesVectors(out);
    WithVectors(takes_vectors, [&]<int V>(std::integral_constant<int, V>) {
      Launch(GridOverRows(num_rows, (product.n + V - 1) / V), context.stream, EpilogueKernel<V>, y,
             residual, gate, num_rows / call.output.shape[0], first, product.n, out);
    });
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
