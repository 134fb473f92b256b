// Weights in blocks, row by row: one row or few, or many. Included by linear_avx2.cc inside its
// target pragma.
#pragma once

#include "cpu/linear_avx2_panel.h"
#include "cpu/linear_avx2_unpack_k.h"

namespace tramontane::cpu {
namespace {

// The weights of a task in blocks, row by row.
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

  // Where the weight has 8 rows, the last stripe reaches back over rows that are done; where it has
  // fewer, all lanes are one row.
  Stripe stripe_at(int32_t output) const {
    if (task_.weight->rows < kLanes) return {output, 0, 1};
    const int32_t start = std::min(output, task_.weight->rows - kLanes);
    return {start, output - start, std::min(start + kLanes, task_.last) - output};
  }

  // Calls use(group) for groups [first, first + count) of a stripe, a whole number of blocks. The
  // rows of a stripe are one piece of memory, and the next stripe follows it: with kAhead, as many
  // bytes of that are asked for as are used here, line after line.
  template <bool kAhead, class Use>
  TRAMONTANE_INLINE void for_each_group(const Stripe& stripe, int32_t first, int32_t count,
                                        Use& use) const {
    const int64_t stride = task_.weight->rows < kLanes ? 0 : row_bytes_;
    Rows rows = {task_.weight->data + stripe.output * row_bytes_, stride};
    rows = rows + first / kBlockGroups * int64_t{kBlockBytes};
    const uint8_t* ahead = rows.base + kLanes * stride;
    for (int32_t g = 0; g < count; g += kBlockGroups) {
      if constexpr (kAhead) {
        for (int line = 0; line < kLanes * kBlockBytes; line += 64) prefetch(ahead + line);
        ahead += kLanes * kBlockBytes;
      }
      Unpacked block(rows);
      unpack_groups(block, use, std::make_integer_sequence<int, kBlockGroups>());
      rows = rows + kBlockBytes;
    }
  }

 private:
  template <class Use, int... kGroup>
  TRAMONTANE_INLINE static void unpack_groups(Unpacked& block, Use& use,
                                              std::integer_sequence<int, kGroup...>) {
    (unpack_group<kGroup>(block, use), ...);
  }

  template <int kGroup, class Use>
  TRAMONTANE_INLINE static void unpack_group(Unpacked& block, Use& use) {
    Group x;
    block.template group<kGroup>(x);
    use(x);
  }

  const LinearTask& task_;
  int64_t row_bytes_;
};

// Multiplies each group it is given by one row of activations.
template <class S>
struct DotRow {
  TRAMONTANE_INLINE void operator()(const Group& x) {
    total = add_group<S>(x, integer_sum<S>(x, row), *row.scales, row.weighted, total);
    row.template next<S>();
  }

  RowOfActivations row;  // At the group that comes next.
  __m256 total;
};

// One row of activations: the weights are used as they are unpacked, 8 outputs at a time.
template <class Source>
void one_row(const LinearTask& task, const Source& source) {
  using S = typename Source::ShapeType;
  const int32_t groups = task.in->columns / 32;
  RowOfActivations row = activations_of(*task.in, 0);
  if constexpr (S::kOffset) {
    float* weighted = reinterpret_cast<float*>(task.scratch);
    weigh_sums<S>(row.scales, row.sums, groups, weighted);
    row.weighted = weighted;
  }
  for (int32_t output = task.first; output < task.last;) {
    const Stripe stripe = source.stripe_at(output);
    DotRow<S> dot = {row, _mm256_setzero_ps()};
    source.template for_each_group<true>(stripe, 0, groups, dot);
    float sums[kLanes];
    _mm256_storeu_ps(sums, dot.total);
    store(task, 0, stripe, sums);
    output += stripe.count;
  }
}

template <Format kFormat>
void linear_blocks(const LinearTask& task) {
  const BlockSource<kFormat> source(task);
  task.in->rows == 1 ? one_row(task, source) : many_rows(task, source);
}

inline size_t int8_scratch_bytes(int32_t columns, int32_t rows) {
  return std::max(static_cast<size_t>(columns / 16) * sizeof(float),
                  sizeof(PanelScratch) + static_cast<size_t>(rows) * kPanelOutputs * sizeof(float));
}

}  // namespace
}  // namespace tramontane::cpu
