// The linear layers of an instruction set with dpbusd. Included inside its target pragma.
#pragma once

#include "cpu/linear_vnni_panel.h"

namespace tramontane::cpu {
namespace {

template <class I>
void vnni_linear(const LinearTask& task) {
  switch (task.weight->format) {
    case Format::kF32:
    case Format::kF16:
    case Format::kBF16:
      return kAvx2Linear.linear(task);
    default:
      with_source(task, [&](const auto& source) {
        task.in->rows == 1 ? vnni_one_row<I>(task, source) : vnni_many_rows<I>(task, source);
      });
  }
}

// Activations, float formats and exact products are AVX2's.
inline void vnni_quantize(const float* values, int32_t columns, int8_t* q, float* scales,
                          int16_t* sums) {
  kAvx2Linear.quantize(values, columns, q, scales, sums);
}

inline void vnni_linear_f32(const LinearTask& task) { kAvx2Linear.linear_f32(task); }

template <class I>
size_t vnni_scratch_bytes(int32_t columns, int32_t rows) {
  const size_t words = static_cast<size_t>(columns / 16) * sizeof(int32_t);
  const size_t totals = static_cast<size_t>(rows) * kVnniPanelOutputs<I> * sizeof(float);
  return std::max({kAvx2Linear.scratch_bytes(columns, rows), kGptqScratchBytes + words,
                   sizeof(VnniScratch<I>) + totals});
}

template <class I>
constexpr LinearKernels kVnniLinear = {vnni_quantize, vnni_linear<I>, vnni_linear_f32,
                                       vnni_scratch_bytes<I>, kVnniPanelOutputs<I>};

}  // namespace
}  // namespace tramontane::cpu
