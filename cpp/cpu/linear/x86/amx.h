// The linear layers with AMX: many rows by tiles, few rows by the kernels kFew.
#pragma once

#include "cpu/linear/x86/amx_panel.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// Rows of a tile, and from how many on it is faster than the kernels for few rows; so many behind
// whole tiles are theirs too. Formats of two subgroups gain little, and only with many rows.
constexpr int kAmxRows = 16, kAmxHalfRows = 8;
constexpr int32_t kAmxLeastRows = 11, kAmxLeastHalfRows = 5, kAmxFewRowsLeft = 3;
constexpr int32_t kAmxLeastRowsOfTwo = 128;

// `rows` rows from `first` on.
struct RowsOfTask {
  RowsOfTask(const LinearTask& whole, int32_t first, int32_t rows) : in(*whole.in), task(whole) {
    const int64_t groups = first * int64_t{in.columns / 32};
    in.rows = rows;
    if (in.values != nullptr) in.values += first * int64_t{in.columns};
    in.q += first * quantized_stride(in.columns);
    in.scales += groups;
    in.sums += 2 * groups;
    task.in = &in;
    task.out += first * task.stride;
  }
  RowsOfTask(const RowsOfTask&) = delete;

  Activations in;
  LinearTask task;
};

template <class T, int kRows, class Source>
void amx_tiles(const LinearTask& task, const Source& source) {
  using Panel = AmxPanel<T, typename Source::ShapeType, kRows>;
  T::configure(Panel::shapes());
  amx_many_rows<Panel>(task, source);
  T::release();
}

template <class T, const LinearKernels& kFew, class Source>
void amx_linear_int8(const LinearTask& task, const Source& source) {
  using S = typename Source::ShapeType;
  const int32_t rows = task.in->rows, left = rows % kAmxRows;
  if constexpr (S::kSubgroups == 1 && S::kBits < 8) {
    if (rows >= kAmxLeastHalfRows && rows <= kAmxHalfRows) {
      return amx_tiles<T, kAmxHalfRows>(task, source);
    }
  }
  if (rows < (S::kSubgroups == 1 ? kAmxLeastRows : kAmxLeastRowsOfTwo)) return kFew.linear(task);
  if (rows < kAmxRows || left == 0 || left > kAmxFewRowsLeft) {
    return amx_tiles<T, kAmxRows>(task, source);
  }
  const RowsOfTask whole(task, 0, rows - left), few(task, rows - left, left);
  amx_tiles<T, kAmxRows>(whole.task, source);
  kFew.linear(few.task);
}

template <class T, const LinearKernels& kFew>
void amx_linear(const LinearTask& task) {
  bool done = false;
  if (task.in->rows > 1 && is_amx_depth(task.in->columns / 32)) {
    with_source<kAmxLanes>(task, [&](const auto& source) {
      if constexpr (kFitsAmx<typename std::decay_t<decltype(source)>::ShapeType>) {
        amx_linear_int8<T, kFew>(task, source);
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
  using Largest = AmxPanel<T, Unpack<Format::kQ2_K, ByOutputs>::ShapeType, kAmxRows>;
  return std::max(kFew.scratch_bytes(columns, rows), AmxScratch<Largest>::bytes(rows));
}

template <class T, const LinearKernels& kFew>
constexpr LinearKernels kAmxKernels = {amx_quantize<kFew>, amx_linear<T, kFew>,
                                       amx_linear_f32<kFew>, amx_scratch_bytes<T, kFew>,
                                       kAmxLanes* kAmxStripes};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
