// Few rows of activations by dpbusd: the weights are used as they are unpacked.
#pragma once

#include "cpu/linear/x86/vnni_panel.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// Rows up to which weights are used as they are unpacked, and not put into panels.
constexpr int kVnniFewRows = 16;

// Rows that are multiplied together, by weights that are unpacked once. Where there are registers
// for them, 16: a third less of the time that 8 take goes for unpacking (Zen 5, Q4_0: 12 rows 13%
// faster, 16 rows 10%). With scales inside of blocks their unpacking takes the registers.
template <class I, class S>
constexpr int kVnniRows = I::Vector::kLanes == 16 && !S::kLargeBlocks ? 16 : 8;

// Room for laid out rows, each a group of which is at most 44 bytes.
inline size_t vnni_few_bytes(int32_t columns, int32_t rows) {
  const int32_t most = std::min((rows + 7) / 8 * 8, kVnniFewRows);
  return sizeof(RowsOfGroup<1, 2>) * static_cast<size_t>(most) * static_cast<size_t>(columns / 32);
}

// Calls use.template operator()<kRows>(row) for tiles of kMost rows, 8 or 16, and a tile that the
// last ones fit.
template <int kMost, class Use>
void for_each_few(int32_t rows, const Use& use) {
  for (int32_t row = 0; row < rows; row += kMost) {
    const int32_t left = rows - row;
    if (left == 1) {
      use(std::integral_constant<int, 1>(), row);
    } else if (left == 2) {
      use(std::integral_constant<int, 2>(), row);
    } else if (left <= 4) {
      use(std::integral_constant<int, 4>(), row);
    } else if (kMost == 8 || left <= 8) {
      use(std::integral_constant<int, 8>(), row);
    } else if constexpr (kMost == 16) {
      left <= 12 ? use(std::integral_constant<int, 12>(), row)
                 : use(std::integral_constant<int, 16>(), row);
    }
  }
}

// Where the rows of a tile from `row` on are laid out, a row more often where there are too few.
template <class S, int kRows>
FewRows<S, kRows>* few_rows_at(uint8_t* scratch, int32_t columns, int32_t row) {
  return reinterpret_cast<FewRows<S, kRows>*>(scratch + sizeof(FewRows<S, 1>) * (columns / 32) *
                                                            static_cast<size_t>(row));
}

template <class I, class S, int kRows>
void pack_few_rows(const Activations& in, int32_t row, RowsOfGroup<kRows, S::kSubgroups>* out) {
  for (int32_t first = 0; first < in.columns / 32; first += kPanelGroups) {
    const int32_t count = std::min(kPanelGroups, in.columns / 32 - first);
    pack_tile<VnniPanel<I, S>, kRows>(in, row, first, count, out + first);
  }
}

// A stripe by rows [row, row + kRows) of activations.
template <class I, int kRows, class Source>
void vnni_stripe(const LinearTask& task, const Source& source, const Stripe& stripe, int32_t row,
                 const FewRows<typename Source::ShapeType, kRows>* rows) {
  using V = typename I::Vector;
  using S = typename Source::ShapeType;
  // On Zen 5, one row from memory: 91% of a plain read in between, 84% at once. With 8 rows of Q4_0
  // or Q8_0 at once is 8% faster, for K-quants it is not.
  constexpr bool kInBetween = V::kAsksInBetween && (kRows == 1 || S::kLargeBlocks);
  constexpr Ask kAsk = kInBetween ? Ask::kInBetween : Ask::kAtOnce;
  VnniDotRows<I, S, kRows> dot;
  dot.rows = rows;
  for (auto& total : dot.totals) total = V::zero_floats();
  source.template for_each_group<kAsk, V>(stripe, 0, task.in->columns / 32, dot);
  for (int r = 0; r < std::min(kRows, task.in->rows - row); ++r) {
    float sums[V::kLanes];
    V::store(sums, dot.totals[r]);
    store(task, row + r, stripe, sums);
  }
}

template <class I, Format kFormat, int kWidth>
void vnni_few_rows(const LinearTask& task, const BlockSource<kFormat, kWidth>& source) {
  using S = typename BlockSource<kFormat, kWidth>::ShapeType;
  const int32_t columns = task.in->columns;
  for_each_few<kVnniRows<I, S>>(task.in->rows, [&](auto rows, int32_t row) {
    pack_few_rows<I, S>(*task.in, row, few_rows_at<S, rows()>(task.scratch, columns, row));
  });
  for (int32_t output = task.first; output < task.last;) {
    const Stripe stripe = source.stripe_at(output);
    for_each_few<kVnniRows<I, S>>(task.in->rows, [&](auto rows, int32_t row) {
      vnni_stripe<I, rows()>(task, source, stripe, row,
                             few_rows_at<S, rows()>(task.scratch, columns, row));
    });
    output += stripe.count;
  }
}

// GPTQ: words are read along all outputs, whose totals wait in scratch meanwhile.
template <class I, int kBits, int kWidth>
void vnni_one_row(const LinearTask& task, const GptqSource<kBits, kWidth>& source) {
  using V = typename I::Vector;
  using S = typename GptqSource<kBits, kWidth>::ShapeType;
  const int32_t groups = task.in->columns / 32;
  float* totals = reinterpret_cast<float*>(task.scratch);
  auto* rows = few_rows_at<S, 1>(task.scratch + kGptqScratchBytes, task.in->columns, 0);
  pack_few_rows<I, S>(*task.in, 0, rows);
  for (int32_t first = task.first / kLanes * kLanes; first < task.last; first += kGptqTotals) {
    const int32_t last = std::min(first + kGptqTotals, task.last);
    std::fill_n(totals, kGptqTotals, 0.0f);
    for (int32_t g = 0; g < groups; ++g) {
      float* total = totals;
      for (int32_t output = first; output < last; output += kWidth, total += kWidth) {
        Operands<V> x;
        V::load_group(source, {output, 0, kWidth}, g, x);
        V::store(total, vnni_add_group<I, S, true>(x, rows[g].q[0], rows[g].scales,
                                                   rows[g].words[0], V::load_floats(total)));
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
  using S = typename BlockSource<kFormat, kWidth>::ShapeType;
  task.in->rows <= kVnniFewRows ? vnni_few_rows<I>(task, source)
                                : many_rows<VnniPanel<I, S>>(task, source);
}

template <class I, int kBits, int kWidth>
void vnni_linear_int8(const LinearTask& task, const GptqSource<kBits, kWidth>& source) {
  using S = typename GptqSource<kBits, kWidth>::ShapeType;
  task.in->rows == 1 ? vnni_one_row<I>(task, source) : many_rows<VnniPanel<I, S>>(task, source);
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
