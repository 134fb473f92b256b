// Weights in blocks, row by row: one row of activations or few, or many.
#pragma once

#include "cpu/linear/neon/panel.h"
#include "cpu/linear/neon/unpack_k.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// The weights of a task in blocks.
template <Format kFormat>
class BlockSource {
 public:
  using Unpacked = Unpack<kFormat>;
  using ShapeType = typename Unpacked::ShapeType;
  static constexpr int kBlockBytes = sizeof(typename Unpacked::Block);
  static constexpr int kBlockGroups = kBlockBytes >= 64 ? 8 : 1;

  explicit BlockSource(const LinearTask& task)
      : task_(task),
        row_bytes_(int64_t{task.weight->columns} / (32 * kBlockGroups) * kBlockBytes) {}

  // Where the weight has 4 rows, the last stripe reaches back over rows that are done; where it has
  // fewer, all lanes are one row.
  Stripe stripe_at(int32_t output) const {
    if (task_.weight->rows < kLanes) return {output, 0, 1};
    const int32_t start = std::min(output, task_.weight->rows - kLanes);
    return {start, output - start, std::min(start + kLanes, task_.last) - output};
  }

  // Asks for the blocks of groups [first, first + kPanelGroups) of a stripe.
  void prefetch_groups(const Stripe& stripe, int32_t first) const {
    constexpr int kBytes = kPanelGroups / kBlockGroups * kBlockBytes;
    const Rows rows = rows_of(stripe, first);
    for (int i = 0; i < kLanes; ++i) {
      for (int at = 0; at < kBytes + 63; at += 64) prefetch(rows.row(i) + at);
    }
  }

  // Calls use(group) for groups [first, first + count) of a stripe, a whole number of blocks. The
  // rows of a stripe are one piece of memory, and the next stripe follows it: with kAhead, as many
  // bytes of that are asked for as are used here, line after line. Not where rows are so long that
  // they would push the current ones out of L1; there the processor sees the rows' pattern itself.
  template <bool kAhead, class Use>
  TRAMONTANE_INLINE void for_each_group(const Stripe& stripe, int32_t first, int32_t count,
                                        Use& use) const {
    Rows rows = rows_of(stripe, first);
    const bool asks = kLanes * rows.stride <= kMostBytesAhead;
    const uint8_t* ahead = asks ? rows.base + kLanes * rows.stride : rows.base;
    for (int32_t g = 0; g < count; g += kBlockGroups) {
      const Unpacked block(rows);
      unpack_groups<kAhead>(block, rows, ahead, use,
                            std::make_integer_sequence<int, kBlockGroups>());
      rows = rows + kBlockBytes;
      ahead = asks ? ahead + kLanes * kBlockBytes : rows.base;
    }
  }

 private:
  static constexpr int64_t kMostBytesAhead = 16 << 10;

  Rows rows_of(const Stripe& stripe, int32_t first) const {
    const Rows rows = {task_.weight->data + stripe.output * row_bytes_,
                       task_.weight->rows < kLanes ? 0 : row_bytes_};
    return rows + first / kBlockGroups * int64_t{kBlockBytes};
  }

  template <bool kAhead, class Use, int... kGroup>
  TRAMONTANE_INLINE static void unpack_groups(const Unpacked& block, const Rows& rows,
                                              const uint8_t* ahead, Use& use,
                                              std::integer_sequence<int, kGroup...>) {
    (unpack_group<kAhead, kGroup>(block, rows, ahead, use), ...);
  }

  // The lines ahead are asked for a few at a time: what a core can wait for is soon full.
  template <bool kAhead, int kGroup, class Use>
  TRAMONTANE_INLINE static void unpack_group(const Unpacked& block, const Rows& rows,
                                             const uint8_t* ahead, Use& use) {
    constexpr int kGroupBytes = kLanes * kBlockBytes / kBlockGroups;
    if constexpr (kAhead) {
      TRAMONTANE_UNROLL
      for (int at = 0; at < kGroupBytes; at += 64) prefetch(ahead + kGroup * kGroupBytes + at);
    }
    fence();
    RowGroup x;
    TRAMONTANE_UNROLL
    for (int i = 0; i < kLanes; ++i) Unpacked::template weights<kGroup>(rows.row(i), x.w[i]);
    block.template scales<kGroup>(x);
    use(x);
  }

  const LinearTask& task_;
  int64_t row_bytes_;
};

// Multiplies each group it is given by kRows rows of activations.
template <class S, int kRows>
struct DotRows {
  TRAMONTANE_INLINE void operator()(const RowGroup& x) {
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const int8x16_t activations[2] = {vld1q_s8(rows[r].q), vld1q_s8(rows[r].q + 16)};
      float32x4_t term = vdupq_n_f32(0);
      TRAMONTANE_UNROLL
      for (int u = 0; u < S::kUnits; ++u) {
        term = pinned(add_unit<S>(unit_sum<S>(x, u, activations), x, u, rows[r].sums, term));
      }
      totals[r] = pinned(add_group<S>(x, rows[r].sums, *rows[r].scales, term, totals[r]));
      rows[r].template next<S>();
    }
  }

  RowOfActivations rows[kRows];  // At the group that comes next.
  float32x4_t totals[kRows];
};

// Up to so many rows, the weights are used as they are unpacked, 4 outputs at a time.
constexpr int kInPlaceRows = 4;

// At most kRows rows of activations: the last of them stands for those that are missing.
template <int kRows, class Source>
void few_rows(const LinearTask& task, const Source& source) {
  using S = typename Source::ShapeType;
  const Activations& in = *task.in;
  const int32_t groups = in.columns / 32;
  DotRows<S, kRows> start;
  for (int r = 0; r < kRows; ++r) {
    const int32_t row = std::min(r, in.rows - 1);
    start.rows[r] = activations_of(in, row);
    start.totals[r] = vdupq_n_f32(0);
    if constexpr (S::kHasOffset) {
      float* sums = reinterpret_cast<float*>(task.scratch) + r * groups * S::kUnits;
      unit_sums<S>(in.sums + int64_t{row} * groups * 2, groups, sums);
      start.rows[r].sums = sums;
    }
  }
  for (int32_t output = task.first; output < task.last;) {
    const Stripe stripe = source.stripe_at(output);
    DotRows<S, kRows> dot = start;
    source.template for_each_group<true>(stripe, 0, groups, dot);
    for (int r = 0; r < in.rows; ++r) {
      float sums[kLanes];
      vst1q_f32(sums, dot.totals[r]);
      store(task, r, stripe, sums);
    }
    output += stripe.count;
  }
}

template <Format kFormat>
void linear_int8(const LinearTask& task, const BlockSource<kFormat>& source) {
  const int32_t rows = task.in->rows;
  if (rows == 1) return few_rows<1>(task, source);
  if (rows == 2) return few_rows<2>(task, source);
  if (rows <= kInPlaceRows) return few_rows<kInPlaceRows>(task, source);
  many_rows<Panel<typename BlockSource<kFormat>::ShapeType, DotProducts>>(task, source);
}

inline size_t in_place_scratch_bytes(int32_t columns) {
  return kInPlaceRows * static_cast<size_t>(columns / 16) * sizeof(float);
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
