// The linear layers of an instruction set with dpbusd.
#pragma once

#include "cpu/linear/x86/vnni_few.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

template <class I>
void vnni_linear(const LinearTask& task) {
  switch (task.weight->format) {
    case Format::kF32:
    case Format::kF16:
    case Format::kBF16:
      return kAvx2Linear.linear(task);
    default:
      with_source<I::Vector::kLanes>(
          task, [&](const auto& source) { vnni_linear_int8<I>(task, source); });
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
  // The shape with the most vectors and words of all.
  using Largest = VnniPanel<I, Unpack<Format::kQ2_K, ByOutputs>::ShapeType>;
  return std::max({kAvx2Linear.scratch_bytes(columns, rows),
                   kGptqScratchBytes + vnni_few_bytes(columns, rows),
                   PanelScratch<Largest>::bytes(rows)});
}

template <class I>
constexpr LinearKernels kVnniLinear = {vnni_quantize, vnni_linear<I>, vnni_linear_f32,
                                       vnni_scratch_bytes<I>, kVnniPanelOutputs<I>};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
