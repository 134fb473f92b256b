// Many rows of activations: weights unpacked once into panels, and the tiles that multiply them.
// Included by linear_avx2.cc inside its target pragma.
//
// A panel is kStripes stripes of 8 outputs by kPanelGroups groups of 32 inputs, small enough to
// stay in L1 while all rows of activations pass by, kTileRows at a time:
//
//            activations                      panel                 sums
//   row 0:   q0 q1 q2 q3 | ...        stripe 0   stripe 1       8 vectors of int16,
//   row 1:   a word of 4 inputs   x   4 inputs of 8         ->  in registers for 8 words
//   ...      broadcast                outputs in a vector each
//
// A word costs 2 loads of weights, 4 broadcasts, 8 multiplications and 8 additions. What it reaches
// and what bounds it is in docs/benchmarks.md.
#pragma once

#include "cpu/linear_avx2_unpack.h"

namespace tramontane::cpu {
namespace {

constexpr int kPanelGroups = 16;
constexpr int kStripes = 2, kTileRows = 4;
constexpr int kPanelOutputs = kStripes * kLanes;
constexpr int kMaxGroupVectors = 8 + 2 + 1 + 1 + 2;

struct PanelScratch {
  __m256i panel[kPanelGroups * kMaxGroupVectors * kStripes];
  float weighted[kTileRows][kPanelGroups * 2];
};

// Where the vectors of a Group that a shape has lie in a panel: vector v of stripe p of a group at
// v * kStripes + p.
template <class S>
struct PackedGroup {
  static constexpr int kInner = 8;
  static constexpr int kZero = kInner + (S::kInner ? S::kSubgroups : 0);
  static constexpr int kScale = kZero + (S::kZero == kOwnZeros ? 1 : 0);
  static constexpr int kOffset = kScale + 1;
  static constexpr int kVectors = kOffset + (S::kOffset ? S::kSubgroups : 0);
};

// Packs each group it is given as those of one stripe.
template <class S>
struct Pack {
  using P = PackedGroup<S>;

  TRAMONTANE_INLINE void operator()(const Group& x) {
    for (int j = 0; j < 8; ++j) out[j * kStripes] = x.w[j];
    if constexpr (S::kInner) {
      for (int h = 0; h < S::kSubgroups; ++h) out[(P::kInner + h) * kStripes] = x.inner[h];
    }
    if constexpr (S::kZero == kOwnZeros) out[P::kZero * kStripes] = x.zero;
    out[P::kScale * kStripes] = _mm256_castps_si256(x.scale);
    if constexpr (S::kOffset) {
      for (int h = 0; h < S::kSubgroups; ++h) {
        out[(P::kOffset + h) * kStripes] = _mm256_castps_si256(x.offset[h]);
      }
    }
    out += P::kVectors * kStripes;
  }

  __m256i* out;
};

// Rows of activations from some group on: the first, and the steps to the next.
struct RowsOfActivations {
  RowOfActivations first;
  int32_t columns;

  const int8_t* q(int r) const { return first.q + r * quantized_stride(columns); }
  const float* scale(int r) const { return first.scales + r * (columns / 32); }
  const int16_t* sums(int r) const { return first.sums + r * (columns / 16); }
  const float* weighted(int r) const { return first.weighted + r * kPanelGroups * 2; }
};

// The exact sums of a group for a tile: as integer_sum(), for kRows rows and all stripes.
template <class S, int kRows>
TRAMONTANE_INLINE void tile_sums(const __m256i* group, const RowsOfActivations& rows,
                                 __m256i sums[kStripes][kRows]) {
  using P = PackedGroup<S>;
  constexpr int kRun = std::min(kProductsPerSum<S>, S::kSubgroup / 4), kRuns = 8 / kRun;
  constexpr int kRunsPerInner = S::kSubgroup / 4 / kRun;
  TRAMONTANE_UNROLL
  for (int run = 0; run < kRuns; ++run) {
    __m256i products[kStripes][kRows];
    TRAMONTANE_UNROLL
    for (int j = run * kRun; j < (run + 1) * kRun; ++j) {
      __m256i w[kStripes];
      TRAMONTANE_UNROLL
      for (int p = 0; p < kStripes; ++p) w[p] = group[j * kStripes + p];
      TRAMONTANE_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const __m256i a = broadcast_word(rows.q(r) + 4 * j);
        TRAMONTANE_UNROLL
        for (int p = 0; p < kStripes; ++p) {
          const __m256i product = multiply<S>(w[p], a);
          products[p][r] = j == run * kRun ? product : _mm256_add_epi16(products[p][r], product);
          pin(products[p][r]);
        }
      }
    }
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      TRAMONTANE_UNROLL
      for (int p = 0; p < kStripes; ++p) {
        const __m256i inner = S::kInner ? group[(P::kInner + run / kRunsPerInner) * kStripes + p]
                                        : _mm256_set1_epi16(1);
        const __m256i sum = _mm256_madd_epi16(products[p][r], inner);
        sums[p][r] = run == 0 ? sum : _mm256_add_epi32(sums[p][r], sum);
        if constexpr (kRuns > 1) pin(sums[p][r]);
      }
    }
  }
}

// All stripes by kRows rows over `groups` groups of a panel. `totals` [kRows][kPanelOutputs] go on.
template <class S, int kRows>
void multiply_tile(const __m256i* panel, int32_t groups, RowsOfActivations rows, float* totals) {
  using P = PackedGroup<S>;
  for (int32_t g = 0; g < groups; ++g) {
    // The rows of the next tile at this group: they come from L3, or farther.
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) prefetch(rows.q(r + kRows));
    __m256i sums[kStripes][kRows];
    tile_sums<S, kRows>(panel, rows, sums);
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      __m256i zeros = _mm256_setzero_si256();
      if constexpr (S::kZero > 0) zeros = zero_sum(_mm256_set1_epi16(S::kZero), rows.sums(r));
      TRAMONTANE_UNROLL
      for (int p = 0; p < kStripes; ++p) {
        if constexpr (S::kZero == kOwnZeros) {
          zeros = zero_sum(panel[P::kZero * kStripes + p], rows.sums(r));
        }
        Group x;
        x.scale = _mm256_castsi256_ps(panel[P::kScale * kStripes + p]);
        if constexpr (S::kOffset) {
          TRAMONTANE_UNROLL
          for (int h = 0; h < S::kSubgroups; ++h) {
            x.offset[h] = _mm256_castsi256_ps(panel[(P::kOffset + h) * kStripes + p]);
          }
        }
        const __m256i sum = S::kZero == kNoZero ? sums[p][r] : _mm256_sub_epi32(sums[p][r], zeros);
        float* total = totals + kPanelOutputs * r + kLanes * p;
        _mm256_storeu_ps(
            total, add_group<S>(x, sum, *rows.scale(r), rows.weighted(r), _mm256_loadu_ps(total)));
      }
    }
    rows.first.template next<S>();
    panel += P::kVectors * kStripes;
  }
}

// All rows of a panel in tiles of kRows, the rest in smaller ones.
template <class S, int kRows>
void multiply_rows(const Activations& in, int32_t row, int32_t first, int32_t groups,
                   PanelScratch& scratch, float* totals) {
  for (; row + kRows <= in.rows; row += kRows) {
    RowsOfActivations rows = {activations_of(in, row), in.columns};
    rows.first.q += 32 * first;
    rows.first.scales += first;
    rows.first.sums += 2 * first;
    rows.first.weighted = scratch.weighted[0];
    if constexpr (S::kOffset) {
      for (int r = 0; r < kRows; ++r) {
        weigh_sums<S>(rows.scale(r), rows.sums(r), groups, scratch.weighted[r]);
      }
    }
    for (int r = kRows; r < 2 * kRows; ++r) {  // For the next tile.
      prefetch(rows.scale(r));
      prefetch(rows.sums(r));
    }
    multiply_tile<S, kRows>(scratch.panel, groups, rows, totals + row * kPanelOutputs);
  }
  if constexpr (kRows > 1) {
    if (row < in.rows) multiply_rows<S, kRows - 1>(in, row, first, groups, scratch, totals);
  }
}

// Takes the outputs of a task through panels of kStripes stripes. `panel` packs one stripe of some
// groups, and multiplies what was packed by all rows; totals [rows][kStripes * 8].
template <int kStripes, class Source, class Panel>
void through_panels(const LinearTask& task, const Source& source, const Panel& panel,
                    float* totals) {
  constexpr int kOutputs = kStripes * kLanes;
  const Activations& in = *task.in;
  const int32_t groups = in.columns / 32;
  for (int32_t output = task.first; output < task.last;) {
    // Where fewer stripes are left, the last one is there several times, and stored once.
    Stripe stripes[kStripes];
    int count = 0;
    for (Stripe& stripe : stripes) {
      stripe = count > 0 && output == task.last ? stripes[count - 1] : source.stripe_at(output);
      if (output == task.last) continue;
      output += stripe.count;
      ++count;
    }
    std::fill_n(totals, in.rows * kOutputs, 0.0f);
    for (int32_t first = 0; first < groups; first += kPanelGroups) {
      const int32_t depth = std::min(kPanelGroups, groups - first);
      for (int p = 0; p < kStripes; ++p) panel.pack(source, stripes[p], p, first, depth);
      // While a few rows are multiplied, the weights that come next are on their way.
      for (const Stripe& stripe : stripes) {
        if (first + depth < groups) source.expect(stripe, first + depth);
      }
      panel.multiply(in, first, depth, totals);
    }
    for (int32_t r = 0; r < in.rows; ++r) {
      for (int p = 0; p < count; ++p) {
        store(task, r, stripes[p], totals + r * kOutputs + kLanes * p);
      }
    }
  }
}

template <class S>
struct Panel {
  template <class Source>
  void pack(const Source& source, const Stripe& stripe, int p, int32_t first, int32_t depth) const {
    Pack<S> pack{scratch.panel + p};
    source.template for_each_group<false, ByOutputs>(stripe, first, depth, pack);
  }

  void multiply(const Activations& in, int32_t first, int32_t depth, float* totals) const {
    multiply_rows<S, kTileRows>(in, 0, first, depth, scratch, totals);
  }

  PanelScratch& scratch;
};

template <class Source>
void many_rows(const LinearTask& task, const Source& source) {
  const Panel<typename Source::ShapeType> panel{*reinterpret_cast<PanelScratch*>(task.scratch)};
  float* totals = reinterpret_cast<float*>(task.scratch + sizeof(PanelScratch));
  through_panels<kStripes>(task, source, panel, totals);
}

}  // namespace
}  // namespace tramontane::cpu
