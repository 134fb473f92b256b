// The linear layers of an instruction set with dpbusd. Included inside its target pragma.
#pragma once

#include "cpu/linear_vnni_panel.h"

namespace tramontane::cpu {
namespace {

template <class I, class Source>
void vnni_linear_from(const LinearTask& task) {
  const Source source(task);
  task.in->rows == 1 ? vnni_one_row<I>(task, source) : vnni_many_rows<I>(task, source);
}

template <class I>
void vnni_linear(const LinearTask& task) {
  switch (task.weight->format) {
    case Format::kF32:
    case Format::kF16:
    case Format::kBF16:
      return kAvx2Linear.linear(task);
    case Format::kQ4_0:
      return vnni_linear_from<I, BlockSource<Format::kQ4_0>>(task);
    case Format::kQ4_1:
      return vnni_linear_from<I, BlockSource<Format::kQ4_1>>(task);
    case Format::kQ5_0:
      return vnni_linear_from<I, BlockSource<Format::kQ5_0>>(task);
    case Format::kQ5_1:
      return vnni_linear_from<I, BlockSource<Format::kQ5_1>>(task);
    case Format::kQ8_0:
      return vnni_linear_from<I, BlockSource<Format::kQ8_0>>(task);
    case Format::kQ2_K:
      return vnni_linear_from<I, BlockSource<Format::kQ2_K>>(task);
    case Format::kQ3_K:
      return vnni_linear_from<I, BlockSource<Format::kQ3_K>>(task);
    case Format::kQ4_K:
      return vnni_linear_from<I, BlockSource<Format::kQ4_K>>(task);
    case Format::kQ5_K:
      return vnni_linear_from<I, BlockSource<Format::kQ5_K>>(task);
    case Format::kQ6_K:
      return vnni_linear_from<I, BlockSource<Format::kQ6_K>>(task);
    case Format::kIQ4_NL:
      return vnni_linear_from<I, BlockSource<Format::kIQ4_NL>>(task);
    case Format::kIQ4_XS:
      return vnni_linear_from<I, BlockSource<Format::kIQ4_XS>>(task);
    case Format::kGptq:
      switch (task.weight->gptq->bits) {
        case 2:
          return vnni_linear_from<I, GptqSource<2>>(task);
        case 3:
          return vnni_linear_from<I, GptqSource<3>>(task);
        case 4:
          return vnni_linear_from<I, GptqSource<4>>(task);
        case 8:
          return vnni_linear_from<I, GptqSource<8>>(task);
        default:
          return;
      }
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
