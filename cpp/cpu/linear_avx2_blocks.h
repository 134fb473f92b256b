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

  // Calls use(group) for groups [first, first + count) of a stripe, a whole number of blocks.
  template <class Use>
  void for_each_group(const Stripe& stripe, int32_t first, int32_t count, Use use) const {
    const int64_t stride = task_.weight->rows < kLanes ? 0 : row_bytes_;
    Rows rows = {task_.weight->data + stripe.output * row_bytes_, stride};
    rows = rows + first / kBlockGroups * int64_t{kBlockBytes};
    for (int32_t g = 0; g < count; g += kBlockGroups) {
      Unpacked block(rows);
      unpack_groups(block, use, std::make_integer_sequence<int, kBlockGroups>());
      rows = rows + kBlockBytes;
    }
  }

 private:
  template <class Use, int... kGroup>
  static void unpack_groups(Unpacked& block, Use& use, std::integer_sequence<int, kGroup...>) {
    const auto one = [&]<int kIndex>(std::integral_constant<int, kIndex>) {
      Group x;
      block.template group<kIndex>(x);
      use(x);
    };
    (one(std::integral_constant<int, kGroup>()), ...);
  }

  const LinearTask& task_;
  int64_t row_bytes_;
};

// Eight outputs by kRows rows, weights read in place once. out [kRows][8]
template <class Source, int kRows>
void dot_in_place(const Source& source, const Stripe& stripe, int32_t groups,
                  const RowOfActivations* rows, float* out) {
  using S = typename Source::ShapeType;
  __m256 totals[kRows];
  for (int r = 0; r < kRows; ++r) totals[r] = _mm256_setzero_ps();
  RowOfActivations at[kRows];
  for (int r = 0; r < kRows; ++r) at[r] = rows[r];
  source.for_each_group(stripe, 0, groups, [&](const Group& x) {
    for (int r = 0; r < kRows; ++r) {
      const __m256i sum = integer_sum<S>(x, at[r]);
      totals[r] = add_group<S>(x, sum, *at[r].scales, at[r].weighted, totals[r]);
      at[r].q += 32;
      at[r].scales += 1;
      at[r].sums += 2;
      if constexpr (S::kOffset) at[r].weighted += S::kSubgroups;
    }
  });
  for (int r = 0; r < kRows; ++r) _mm256_storeu_ps(out + kLanes * r, totals[r]);
}

// Up to this many rows the weights are used as they are unpacked, beyond it from a panel.
constexpr int kInPlaceRows = 4;

template <class Source, int kRows>
void few_rows(const LinearTask& task, const Source& source) {
  using S = typename Source::ShapeType;
  const Activations& in = *task.in;
  const int32_t groups = in.columns / 32;
  RowOfActivations rows[kRows];
  for (int r = 0; r < kRows; ++r) {
    rows[r] = activations_of(in, r);
    if constexpr (S::kOffset) {
      float* weighted = reinterpret_cast<float*>(task.scratch) + r * groups * S::kSubgroups;
      weigh_sums<S>(rows[r].scales, rows[r].sums, groups, weighted);
      rows[r].weighted = weighted;
    }
  }
  for (int32_t output = task.first; output < task.last;) {
    const Stripe stripe = source.stripe_at(output);
    float sums[kRows * kLanes];
    dot_in_place<Source, kRows>(source, stripe, groups, rows, sums);
    for (int r = 0; r < kRows; ++r) store(task, r, stripe, sums + kLanes * r);
    output += stripe.count;
  }
}

template <Format kFormat>
void linear_blocks(const LinearTask& task) {
  using Source = BlockSource<kFormat>;
  const Source source(task);
  switch (task.in->rows) {
    case 0:
      return;
    case 1:
      return few_rows<Source, 1>(task, source);
    case 2:
      return few_rows<Source, 2>(task, source);
    case 3:
      return few_rows<Source, 3>(task, source);
    case 4:
      return few_rows<Source, 4>(task, source);
    default:
      return many_rows(task, source);
  }
}

inline size_t int8_scratch_bytes(int32_t columns, int32_t rows) {
  const size_t few = static_cast<size_t>(kInPlaceRows) * (columns / 16) * sizeof(float);
  return std::max(few, sizeof(PanelScratch) + static_cast<size_t>(rows) * kPanelOutputs * 4);
}

}  // namespace
}  // namespace tramontane::cpu
