// Linear layers for AArch64 with products of matrices: see matrix.h.
#if defined(__aarch64__) || defined(_M_ARM64)

#define TRAMONTANE_TARGET neon_i8mm

#include "cpu/linear/linear.h"

// As in linear_neon.cc. Windows is not asked whether the processor has the instruction.
#if !defined(_WIN32) && \
    (!defined(__clang__) || __clang_major__ >= 16 || defined(__ARM_FEATURE_MATMUL_INT8))

#include "cpu/linear/neon/formats.h"
#include "cpu/linear/neon/matrix.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::neon_i8mm {
namespace {

// Few rows, activations, float formats and exact products are those of dot products.
void linear(const LinearTask& task) {
  if (task.in->rows <= kInPlaceRows || is_float(task.weight->format)) {
    return kNeonDotLinear->linear(task);
  }
  with_source(task, [&](const auto& source) {
    using S = typename std::remove_reference_t<decltype(source)>::ShapeType;
    many_rows<Panel<S, MatrixProducts>>(task, source);
  });
}

void quantize(const float* values, int32_t columns, int8_t* q, float* scales, int16_t* sums) {
  kNeonDotLinear->quantize(values, columns, q, scales, sums);
}

void linear_f32(const LinearTask& task) { kNeonDotLinear->linear_f32(task); }

size_t scratch_bytes(int32_t columns, int32_t rows) {
  return std::max(kNeonDotLinear->scratch_bytes(columns, rows),
                  panel_scratch_bytes<MatrixProducts>(rows));
}

constexpr LinearKernels kKernels = {quantize, linear, linear_f32, scratch_bytes, kPanelOutputs};

}  // namespace
}  // namespace tramontane::cpu::neon_i8mm

#include "cpu/target/end.h"

namespace tramontane::cpu {

extern const LinearKernels* const kNeonI8mmLinear = &neon_i8mm::kKernels;

}  // namespace tramontane::cpu

#else

namespace tramontane::cpu {

extern const LinearKernels* const kNeonI8mmLinear = nullptr;

}  // namespace tramontane::cpu

#endif
#endif
