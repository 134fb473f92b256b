// Many rows of activations: weights unpacked once into panels, and the tiles that multiply them.
// Included by linear_avx2.cc inside its target pragma.
#pragma once

#include "cpu/linear_avx2_dot.h"

namespace tramontane::cpu {
namespace {

// Many rows: 16 outputs by kPanelGroups groups are unpacked once into a panel that stays in L2,
// and meet all rows, a tile of them at a time.
constexpr int kPanelOutputs = 2 * kLanes;
constexpr int kPanelGroups = 64;
constexpr int kMaxTileRows = 6;
constexpr int kMaxGroupVectors = 8 + 2 + 1 + 1 + 2;

struct PanelScratch {
  __m256i panel[2][kPanelGroups * kMaxGroupVectors];
  float weighted[kMaxTileRows][kPanelGroups * 2];
};

// The vectors of a Group that a shape has, one after another.
template <class S>
struct PackedGroup {
  static constexpr int kInner = 8;
  static constexpr int kZero = kInner + (S::kInner ? S::kSubgroups : 0);
  static constexpr int kScale = kZero + (S::kZero ? 1 : 0);
  static constexpr int kOffset = kScale + 1;
  static constexpr int kVectors = kOffset + (S::kOffset ? S::kSubgroups : 0);

  static void store(const Group& x, __m256i* out) {
    for (int j = 0; j < 8; ++j) out[j] = x.w[j];
    if constexpr (S::kInner) {
      for (int h = 0; h < S::kSubgroups; ++h) out[kInner + h] = x.inner[h];
    }
    if constexpr (S::kZero) out[kZero] = x.zero;
    out[kScale] = _mm256_castps_si256(x.scale);
    if constexpr (S::kOffset) {
      for (int h = 0; h < S::kSubgroups; ++h) out[kOffset + h] = _mm256_castps_si256(x.offset[h]);
    }
  }
};

// 16 outputs by kRows rows over `groups` groups of two panels. `totals` [kRows][16] go on.
//
// The int16 sums (and, where a group needs several, the int32 ones) of the tile are in registers;
// the floats, needed once a group, are in L1.
template <class S, int kRows>
void multiply_tile(const __m256i* const panels[2], int32_t groups, const RowOfActivations* rows,
                   float* totals) {
  using P = PackedGroup<S>;
  constexpr int kRun = std::min(kProductsPerSum<S>, S::kSubgroup / 4);
  const int8_t* q[kRows];
  for (int r = 0; r < kRows; ++r) q[r] = rows[r].q;
  const __m256i* panel[2] = {panels[0], panels[1]};
  for (int32_t g = 0; g < groups; ++g) {
    __m256i sums[2][kRows];
    for (int run = 0; run < 8 / kRun; ++run) {
      __m256i products[2][kRows];
      for (int j = 0; j < kRun; ++j) {
        const __m256i w[2] = {panel[0][run * kRun + j], panel[1][run * kRun + j]};
        for (int r = 0; r < kRows; ++r) {
          const __m256i a = broadcast_word(q[r] + 4 * (run * kRun + j));
          for (int p = 0; p < 2; ++p) {
            const __m256i product = multiply<S>(w[p], a);
            products[p][r] = j == 0 ? product : _mm256_add_epi16(products[p][r], product);
          }
        }
      }
      for (int p = 0; p < 2; ++p) {
        const __m256i inner =
            S::kInner ? panel[p][P::kInner + run * kRun * 4 / S::kSubgroup] : _mm256_set1_epi16(1);
        for (int r = 0; r < kRows; ++r) {
          const __m256i sum = _mm256_madd_epi16(products[p][r], inner);
          sums[p][r] = run == 0 ? sum : _mm256_add_epi32(sums[p][r], sum);
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int p = 0; p < 2; ++p) {
        Group x;
        if constexpr (S::kZero) {
          x.zero = panel[p][P::kZero];
          sums[p][r] = subtract_zero(sums[p][r], x.zero, rows[r].sums + 2 * g);
        }
        x.scale = _mm256_castsi256_ps(panel[p][P::kScale]);
        if constexpr (S::kOffset) {
          for (int h = 0; h < S::kSubgroups; ++h) {
            x.offset[h] = _mm256_castsi256_ps(panel[p][P::kOffset + h]);
          }
        }
        float* total = totals + kPanelOutputs * r + kLanes * p;
        _mm256_storeu_ps(
            total, add_group<S>(x, sums[p][r], rows[r].scales[g],
                                rows[r].weighted + S::kSubgroups * g, _mm256_loadu_ps(total)));
      }
      q[r] += 32;
    }
    panel[0] += P::kVectors;
    panel[1] += P::kVectors;
  }
}

template <class S>
constexpr int kTileRows = kProductsPerSum<S> == 8 && S::kSubgroup == 32 ? 6
                          : S::kBits == 8                               ? 4
                                                                        : 3;

// All rows of a panel in tiles of kRows, the rest in smaller ones.
template <class S, int kRows>
void multiply_rows(const Activations& in, int32_t row, int32_t first, int32_t groups,
                   PanelScratch& scratch, float* totals) {
  const __m256i* const panels[2] = {scratch.panel[0], scratch.panel[1]};
  for (; row + kRows <= in.rows; row += kRows) {
    RowOfActivations rows[kRows];
    for (int r = 0; r < kRows; ++r) {
      rows[r] = activations_of(in, row + r);
      rows[r].q += 32 * first;
      rows[r].scales += first;
      rows[r].sums += 2 * first;
      if constexpr (S::kOffset) {
        weigh_sums<S>(rows[r].scales, rows[r].sums, groups, scratch.weighted[r]);
      }
      rows[r].weighted = scratch.weighted[r];
    }
    multiply_tile<S, kRows>(panels, groups, rows, totals + row * kPanelOutputs);
  }
  if constexpr (kRows > 1) {
    if (row < in.rows) multiply_rows<S, kRows - 1>(in, row, first, groups, scratch, totals);
  }
}

template <class Source>
void many_rows(const LinearTask& task, const Source& source) {
  using S = typename Source::ShapeType;
  const Activations& in = *task.in;
  const int32_t groups = in.columns / 32;
  PanelScratch& scratch = *reinterpret_cast<PanelScratch*>(task.scratch);
  float* totals = reinterpret_cast<float*>(task.scratch + sizeof(PanelScratch));
  for (int32_t output = task.first; output < task.last;) {
    // Where one stripe is left it is done twice, and stored once.
    Stripe stripes[2];
    stripes[0] = stripes[1] = source.stripe_at(output);
    output += stripes[0].count;
    if (output < task.last) stripes[1] = source.stripe_at(output);
    const int panels = output < task.last ? 2 : 1;
    if (panels == 2) output += stripes[1].count;
    std::fill_n(totals, in.rows * kPanelOutputs, 0.0f);
    for (int32_t first = 0; first < groups; first += kPanelGroups) {
      const int32_t count = std::min(kPanelGroups, groups - first);
      for (int p = 0; p < 2; ++p) {
        __m256i* panel = scratch.panel[p];
        source.for_each_group(stripes[p], first, count, [&](const Group& x) {
          PackedGroup<S>::store(x, panel);
          panel += PackedGroup<S>::kVectors;
        });
      }
      multiply_rows<S, kTileRows<S>>(in, 0, first, count, scratch, totals);
    }
    for (int32_t r = 0; r < in.rows; ++r) {
      for (int p = 0; p < panels; ++p) {
        store(task, r, stripes[p], totals + r * kPanelOutputs + kLanes * p);
      }
    }
  }
}

}  // namespace
}  // namespace tramontane::cpu
