// Few rows of activations by dpbusd: the weights are used as they are unpacked. Included inside a
// target pragma, as linear_vnni_dot.h.
#pragma once

#include "cpu/linear_vnni_panel.h"

namespace tramontane::cpu {
namespace {

// Up to so many rows.
constexpr int kVnniFewRows = 8;

inline size_t vnni_few_bytes(int32_t columns) {
  return sizeof(RowsOfGroup<kVnniFewRows, 2>) * static_cast<size_t>(columns / 32);
}

// At most kRows rows: the last of them stands for those that are missing.
template <class I, class S, int kRows>
const FewRows<S, kRows>* pack_few_rows(const Activations& in, uint8_t* scratch) {
  auto* rows = reinterpret_cast<FewRows<S, kRows>*>(scratch);
  for (int32_t first = 0; first < in.columns / 32; first += kPanelGroups) {
    const int32_t count = std::min(kPanelGroups, in.columns / 32 - first);
    pack_tile<VnniPanel<I, S>, kRows>(in, 0, first, count, rows + first);
  }
  return rows;
}

template <class I, int kRows, Format kFormat, int kWidth>
void vnni_few_rows(const LinearTask& task, const BlockSource<kFormat, kWidth>& source) {
  using V = typename I::Vector;
  using S = typename BlockSource<kFormat, kWidth>::ShapeType;
  // What was measured to be faster.
  constexpr Ask kAsk =
      kRows == 1 || S::kInner ? Ask::kInBetween : Ask::kAtOnce;
  const auto* rows = pack_few_rows<I, S, kRows>(*task.in, task.scratch);
  for (int32_t output = task.first; output < task.last;) {
    const Stripe stripe = source.stripe_at(output);
    VnniDotRows<I, S, kRows> dot;
    dot.rows = rows;
    for (auto& total : dot.totals) total = V::zero_floats();
    source.template for_each_group<kAsk, V>(stripe, 0, task.in->columns / 32, dot);
    for (int r = 0; r < std::min(kRows, task.in->rows); ++r) {
      float sums[V::kLanes];
      V::store(sums, dot.totals[r]);
      store(task, r, stripe, sums);
    }
    output += stripe.count;
  }
}

// GPTQ: words are read along all outputs, whose totals wait in scratch meanwhile.
template <class I, int kRows, int kBits, int kWidth>
void vnni_few_rows(const LinearTask& task, const GptqSource<kBits, kWidth>& source) {
  using V = typename I::Vector;
  using S = typename GptqSource<kBits, kWidth>::ShapeType;
  static_assert(kRows == 1);
  const int32_t groups = task.in->columns / 32;
  float* totals = reinterpret_cast<float*>(task.scratch);
  const auto* rows = pack_few_rows<I, S, kRows>(*task.in, task.scratch + kGptqScratchBytes);
  for (int32_t first = task.first / kLanes * kLanes; first < task.last; first += kGptqTotals) {
    const int32_t last = std::min(first + kGptqTotals, task.last);
    std::fill_n(totals, kGptqTotals, 0.0f);
    for (int32_t g = 0; g < groups; ++g) {
      float* total = totals;
      for (int32_t output = first; output < last; output += kWidth, total += kWidth) {
        Operands<V> x;
        V::load_group(source, {output, 0, kWidth}, g, x);
        V::store(total, vnni_add_group<I, S, true>(x, rows[g].q[0], rows[g].scales, rows[g].words[0],
                                             V::load_floats(total)));
      }
    }
    const float* total = totals;
    for (int32_t output = std::max(first, task.first); output < last;) {
      const Stripe stripe = source.stripe_at(output);
      store(task, 0, stripe, total);
      output += stripe.count;
      total += kWidth;
    }
  }
}

template <class I, Format kFormat, int kWidth>
void vnni_linear_int8(const LinearTask& task, const BlockSource<kFormat, kWidth>& source) {
  const int32_t rows = task.in->rows;
  if (rows == 1) return vnni_few_rows<I, 1>(task, source);
  if constexpr (kWidth == 16) {
    if (rows == 2) return vnni_few_rows<I, 2>(task, source);
    if (rows <= 4) return vnni_few_rows<I, 4>(task, source);
    if (rows <= kVnniFewRows) return vnni_few_rows<I, kVnniFewRows>(task, source);
  }
  many_rows<VnniPanel<I, typename BlockSource<kFormat, kWidth>::ShapeType>>(task, source);
}

template <class I, int kBits, int kWidth>
void vnni_linear_int8(const LinearTask& task, const GptqSource<kBits, kWidth>& source) {
  if (task.in->rows == 1) return vnni_few_rows<I, 1>(task, source);
  many_rows<VnniPanel<I, typename GptqSource<kBits, kWidth>::ShapeType>>(task, source);
}

}  // namespace
}  // namespace tramontane::cpu
