// The linear layers with AMX: many rows by tiles, few rows by the kernels kFew. Included inside a
// target pragma.
#pragma once

#include "cpu/linear_amx_panel.h"

namespace tramontane::cpu {
namespace {

// From so many rows on tiles are faster.
constexpr int32_t kAmxLeastRows = 16;

template <class T, class Source>
void amx_linear_int8(const LinearTask& task, const Source& source) {
  using Panel = AmxPanel<T, typename Source::ShapeType>;
  T::configure(Panel::shapes());
  amx_many_rows<Panel, typename Source::ShapeType>(task, source);
  T::release();
}

template <class T, const LinearKernels& kFew>
void amx_linear(const LinearTask& task) {
  bool done = false;
  if (task.in->rows >= kAmxLeastRows && is_amx_depth(task.in->columns / 32)) {
    with_source<kAmxLanes>(task, [&](const auto& source) {
      if constexpr (kFitsAmx<typename std::decay_t<decltype(source)>::ShapeType>) {
        amx_linear_int8<T>(task, source);
        done = true;
      }
    });
  }
  if (!done) kFew.linear(task);
}

// Activations, float formats and exact products are those of few rows.
template <const LinearKernels& kFew>
void amx_quantize(const float* values, int32_t columns, int8_t* q, float* scales, int16_t* sums) {
  kFew.quantize(values, columns, q, scales, sums);
}

template <const LinearKernels& kFew>
void amx_linear_f32(const LinearTask& task) {
  kFew.linear_f32(task);
}

template <class T, const LinearKernels& kFew>
size_t amx_scratch_bytes(int32_t columns, int32_t rows) {
  // The shape with the most vectors and words of all.
  using Largest = AmxPanel<T, Unpack<Format::kQ2_K, ByOutputs>::ShapeType>;
  return std::max(kFew.scratch_bytes(columns, rows),
                  AmxScratch<Largest>::bytes(rows));
}

template <class T, const LinearKernels& kFew>
constexpr LinearKernels kAmxKernels = {amx_quantize<kFew>, amx_linear<T, kFew>, amx_linear_f32<kFew>,
                                       amx_scratch_bytes<T, kFew>, kAmxLanes * kAmxStripes};

}  // namespace
}  // namespace tramontane::cpu
