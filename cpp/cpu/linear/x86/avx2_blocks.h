// Weights in blocks, row by row: one row or few, or many.
#pragma once

#include "cpu/linear/x86/avx2_panel.h"
#include "cpu/linear/x86/avx2_unpack_k.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// The weights of a task in blocks, row by row, in stripes of kWidth outputs.
template <Format kFormat, int kWidth>
class BlockSource {
 public:
  using Unpacked = Unpack<kFormat, ByOutputs>;
  using ShapeType = typename Unpacked::ShapeType;
  static constexpr int kBlockBytes = sizeof(typename Unpacked::Block);
  static constexpr int kBlockGroups = kBlockBytes >= 64 ? 8 : 1;

  explicit BlockSource(const LinearTask& task)
      : task_(task),
        row_bytes_(int64_t{task.weight->columns} / (32 * kBlockGroups) * kBlockBytes) {}

  // Where the weight has kWidth rows, the last stripe reaches back over rows that are done; where
  // it has fewer, all lanes are one row.
  Stripe stripe_at(int32_t output) const {
    if (task_.weight->rows < kWidth) return {output, 0, 1};
    const int32_t start = std::min(output, task_.weight->rows - kWidth);
    return {start, output - start, std::min(start + kWidth, task_.last) - output};
  }

  // Asks for the blocks of groups [first, first + kPanelGroups) of a stripe.
  void prefetch_groups(const Stripe& stripe, int32_t first) const {
    constexpr int kBytes = kPanelGroups / kBlockGroups * kBlockBytes;
    const uint8_t* row = task_.weight->data + stripe.output * row_bytes_ +
                         first / kBlockGroups * int64_t{kBlockBytes};
    for (int i = 0; i < kWidth; ++i, row += row_bytes_) {
      for (int at = 0; at < kBytes + 63; at += 64) prefetch(row + at);
    }
  }

  // Calls use(group) for groups [first, first + count) of a stripe, a whole number of blocks. The
  // rows of a stripe are one piece of memory, and the next stripe follows it: as many bytes of that
  // as are used here are asked for meanwhile, a few lines at a time: what a core can wait for is
  // soon full.
  template <Ask kAsk, class Form, class Use>
  TRAMONTANE_INLINE void for_each_group(const Stripe& stripe, int32_t first, int32_t count,
                                        Use& use) const {
    const int64_t stride = task_.weight->rows < kWidth ? 0 : row_bytes_;
    Rows rows = {task_.weight->data + stripe.output * row_bytes_, stride};
    rows = rows + first / kBlockGroups * int64_t{kBlockBytes};
    const uint8_t* next = rows.base + kWidth * stride;
    for (int32_t g = 0; g < count; g += kBlockGroups) {
      Ahead<kAsk> ahead = {next};
      typename Form::template Block<kFormat> block(rows, ahead);
      unpack_groups<Form>(block, next, ahead, use, std::make_integer_sequence<int, kBlockGroups>());
      rows = rows + kBlockBytes;
      next += kWidth * kBlockBytes;
    }
  }

 private:
  template <class Form, class Block, Ask kAsk, class Use, int... kGroup>
  TRAMONTANE_INLINE static void unpack_groups(Block& block, const uint8_t* next, Ahead<kAsk>& ahead,
                                              Use& use, std::integer_sequence<int, kGroup...>) {
    (unpack_group<Form, kGroup>(block, next, ahead, use), ...);
  }

  template <class Form, int kGroup, class Block, Ask kAsk, class Use>
  TRAMONTANE_INLINE static void unpack_group(Block& block, [[maybe_unused]] const uint8_t* next,
                                             Ahead<kAsk>& ahead, Use& use) {
    if constexpr (kAsk == Ask::kAtOnce) {
      constexpr int kGroupBytes = kWidth * kBlockBytes / kBlockGroups;
      TRAMONTANE_UNROLL
      for (int at = 0; at < kGroupBytes; at += 64) prefetch(next + kGroup * kGroupBytes + at);
    }
    typename Form::Group x;
    block.template group<kGroup>(x, ahead);
    use(x);
  }

  const LinearTask& task_;
  int64_t row_bytes_;
};

// Multiplies each group it is given by kRows rows of activations.
template <class S, int kRows>
struct DotRows {
  using Form = std::conditional_t<kRows == 1, ByRows, ByOutputs>;

  TRAMONTANE_INLINE void operator()(const UnpackedGroup& x) {
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      __m256i sums[S::kSubgroups];
      if constexpr (kRows == 1) {
        integer_sums_by_rows<S>(x, rows[r], sums);
      } else {
        for (int h = 0; h < S::kSubgroups; ++h) sums[h] = integer_sum<S>(x, h, rows[r]);
      }
      totals[r] = add_group<S>(x, sums, rows[r], totals[r]);
      pin_vector(totals[r]);
      rows[r].template next<S>();
    }
  }

  RowOfActivations rows[kRows];  // At the group that comes next.
  __m256 totals[kRows];
};

// Up to so many rows, the weights are used as they are unpacked, 8 outputs at a time.
constexpr int kInPlaceRows = 4;

// At most kRows rows of activations: the last of them stands for those that are missing.
template <int kRows, class Source>
void few_rows(const LinearTask& task, const Source& source) {
  using S = typename Source::ShapeType;
  const Activations& in = *task.in;
  const int32_t groups = in.columns / 32;
  DotRows<S, kRows> start;
  for (int r = 0; r < kRows; ++r) {
    start.rows[r] =
        activations_of<S>(in, std::min(r, in.rows - 1),
                          task.scratch + static_cast<size_t>(r) * word_bytes(in.columns));
    start.totals[r] = _mm256_setzero_ps();
  }
  for (int32_t output = task.first; output < task.last;) {
    const Stripe stripe = source.stripe_at(output);
    DotRows<S, kRows> dot = start;
    source.template for_each_group<Ask::kAtOnce, typename DotRows<S, kRows>::Form>(stripe, 0,
                                                                                   groups, dot);
    for (int r = 0; r < in.rows; ++r) {
      float sums[kLanes];
      _mm256_storeu_ps(sums, dot.totals[r]);
      store(task, r, stripe, sums);
    }
    output += stripe.count;
  }
}

template <Format kFormat>
void linear_int8(const LinearTask& task, const BlockSource<kFormat, kLanes>& source) {
  const int32_t rows = task.in->rows;
  if (rows == 1) return few_rows<1>(task, source);
  if (rows == 2) return few_rows<2>(task, source);
  if (rows <= kInPlaceRows) return few_rows<kInPlaceRows>(task, source);
  many_rows<Panel<typename BlockSource<kFormat, kLanes>::ShapeType>>(task, source);
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
