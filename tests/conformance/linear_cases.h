// Cases of Linear that the tests of its paths share.
#pragma once

#include <cstdint>

#include "harness.h"

namespace ingot::conformance {

struct LinearSize {
  int64_t pictures, rows, features, k;
};

// x [pictures, rows, k] with a bias.
Case MakeLinearCase(op::Compute compute, const LinearSize& size, DType dtype);

// The same with every operand of the prologue and the epilogue.
Case MakeFusedLinearCase(op::Compute compute, const LinearSize& size, DType dtype,
                         op::Prologue prologue, op::Epilogue epilogue);

// f(prologue, epilogue) for all of them.
template <class F>
void ForEveryFusion(const F& f) {
  using op::Epilogue, op::Prologue;
  for (Prologue prologue : {Prologue::kNone, Prologue::kAdaLayerNorm, Prologue::kGeluTanh,
                            Prologue::kGatedGeluTanh, Prologue::kConcatGeluTanh}) {
    for (Epilogue epilogue : {Epilogue::kNone, Epilogue::kAdd, Epilogue::kGatedAdd}) {
      f(prologue, epilogue);
    }
  }
}

// Rows [begin, begin + count) of picture `picture` alone: of x, which is operand 0, and of all that
// has its rows, and what the picture has one of.
Case RowsOfPicture(const Case& test, int64_t picture, int64_t begin, int64_t count);

// Runs the case with every operand of rows in runs, the output in runs and, when there is a
// residual, over it. Expects the bits of the case run on contiguous operands.
void ExpectSameInRuns(const Case& test);

}  // namespace ingot::conformance
