// Many rows of activations: weights unpacked once into panels, and the tiles that multiply them.
//
// A panel is kStripes stripes of 8 outputs by kPanelGroups groups of 32 inputs, small enough to
// stay in L1 while rows of activations pass by, kTileRows at a time:
//
//            activations                      panel                 sums
//   row 0:   q0 q1 q2 q3 | ...        stripe 0   stripe 1       8 vectors of int16,
//   row 1:   a word of 4 inputs   x   4 inputs of 8         ->  in registers for 8 words
//   ...      broadcast                outputs in a vector each
//
// A word costs 2 loads of weights, 4 broadcasts, 8 multiplications and 8 additions. What it reaches
// and what bounds it is in docs/benchmarks.md.
#pragma once

#include "cpu/linear/x86/panels.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

constexpr int kPanelStripes = 2, kPanelRows = 4;
constexpr int kPanelOutputs = kPanelStripes * kLanes;

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

  TRAMONTANE_INLINE void operator()(const UnpackedGroup& x) {
    for (int j = 0; j < 8; ++j) out[j * kPanelStripes] = x.w[j];
    if constexpr (S::kInner) {
      for (int h = 0; h < S::kSubgroups; ++h) out[(P::kInner + h) * kPanelStripes] = x.inner[h];
    }
    if constexpr (S::kZero == kOwnZeros) out[P::kZero * kPanelStripes] = x.zero;
    out[P::kScale * kPanelStripes] = _mm256_castps_si256(x.scale);
    if constexpr (S::kOffset) {
      for (int h = 0; h < S::kSubgroups; ++h) {
        out[(P::kOffset + h) * kPanelStripes] = _mm256_castps_si256(x.offset[h]);
      }
    }
    out += P::kVectors * kPanelStripes;
  }

  __m256i* out;
};

// The shape's panel, as panels.h takes it.
template <class S>
struct Panel {
  using P = PackedGroup<S>;
  using Vector = __m256i;
  static constexpr int kWidth = kLanes, kStripes = kPanelStripes, kTileRows = kPanelRows;
  static constexpr int kVectors = P::kVectors;
  static constexpr int kWords = kWordsOf<S>;

  static void make_words(const float* scales, const int16_t* sums, int32_t groups, int32_t* words) {
    write_words<S>(scales, sums, groups, words);
  }

  template <class Source>
  static void pack(const Source& source, const Stripe& stripe, int p, int32_t first, int32_t depth,
                   __m256i* panel) {
    Pack<S> pack{panel + p};
    source.template for_each_group<Ask::kNever, ByOutputs>(stripe, first, depth, pack);
  }

  // All stripes by kRows rows over `depth` groups. `totals` [kRows][kPanelOutputs] go on.
  template <int kRows>
  static void multiply(const __m256i* panel, int32_t depth, const RowsOfGroup<kRows, kWords>* rows,
                       float* totals) {
    // For the next tile.
    for (int r = kRows; r < 2 * kRows; ++r) prefetch(totals + kPanelOutputs * r);
    for (int32_t g = 0; g < depth; ++g, ++rows, panel += kVectors * kStripes) {
      hide(totals);
      // The exact sums of the group, as integer_sum(): int16 in runs, which join as int32.
      __m256i sums[kStripes][kRows];
      if constexpr (kRun == 8) {
        add_only_run<kRows>(panel, *rows, sums);
      } else {
        add_runs<kRows>(panel, *rows, sums, std::make_integer_sequence<int, 8 / kRun>());
      }
      TRAMONTANE_UNROLL
      for (int r = 0; r < kRows; ++r) {
        // Before anything is stored, so that they are loaded once.
        const float scale = rows->scales[r];
        int32_t words[kWords];
        std::memcpy(words, rows->words[r], sizeof words);
        TRAMONTANE_UNROLL
        for (int p = 0; p < kStripes; ++p) {
          UnpackedGroup x;
          if constexpr (S::kZero == kOwnZeros) x.zero = panel[P::kZero * kStripes + p];
          x.scale = _mm256_castsi256_ps(panel[P::kScale * kStripes + p]);
          if constexpr (S::kOffset) {
            TRAMONTANE_UNROLL
            for (int h = 0; h < S::kSubgroups; ++h) {
              x.offset[h] = _mm256_castsi256_ps(panel[(P::kOffset + h) * kStripes + p]);
            }
          }
          __m256i sum = sums[p][r];
          if constexpr (kRun == 8) sum = sum_of_run<0>(panel, p, sum);
          sum = without_zeros<S>(x, words, sum);
          float* total = totals + kPanelOutputs * r + kLanes * p;
          _mm256_storeu_ps(total, add_group<S>(x, sum, scale, words, _mm256_loadu_ps(total)));
        }
      }
    }
  }

 private:
  static constexpr int kRun = std::min(kProductsPerSum<S>, S::kSubgroup / 4);

  template <int kFirst>
  TRAMONTANE_INLINE static __m256i sum_of_run(const __m256i* group, int p, __m256i products) {
    constexpr int kVector = P::kInner + kFirst * 4 / S::kSubgroup;
    return _mm256_madd_epi16(products,
                             S::kInner ? group[kVector * kStripes + p] : _mm256_set1_epi16(1));
  }

  // The products of words kFirst to kFirst + kRun.
  template <int kFirst, int kRows>
  TRAMONTANE_INLINE static void add_products(const __m256i* group,
                                             const RowsOfGroup<kRows, kWords>& rows,
                                             __m256i (&products)[kStripes][kRows]) {
    TRAMONTANE_UNROLL
    for (int j = kFirst; j < kFirst + kRun; ++j) {
      __m256i w[kStripes];
      TRAMONTANE_UNROLL
      for (int p = 0; p < kStripes; ++p) w[p] = group[j * kStripes + p];
      TRAMONTANE_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const __m256i a = broadcast_word(rows.q[r] + 4 * j);
        TRAMONTANE_UNROLL
        for (int p = 0; p < kStripes; ++p) {
          const __m256i product = byte_products<S>(w[p], a);
          products[p][r] = j == kFirst ? product : _mm256_add_epi16(products[p][r], product);
          pin_vector(products[p][r]);
        }
      }
    }
  }

  // Through an array of its own, which stays in registers.
  template <int kRows>
  TRAMONTANE_INLINE static void add_only_run(const __m256i* group,
                                             const RowsOfGroup<kRows, kWords>& rows,
                                             __m256i (&sums)[kStripes][kRows]) {
    __m256i products[kStripes][kRows];
    add_products<0>(group, rows, products);
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      TRAMONTANE_UNROLL
      for (int p = 0; p < kStripes; ++p) sums[p][r] = products[p][r];
    }
  }

  template <int kFirst, int kRows>
  TRAMONTANE_INLINE static void add_run(const __m256i* group,
                                        const RowsOfGroup<kRows, kWords>& rows,
                                        __m256i (&sums)[kStripes][kRows]) {
    __m256i products[kStripes][kRows];
    add_products<kFirst>(group, rows, products);
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      TRAMONTANE_UNROLL
      for (int p = 0; p < kStripes; ++p) {
        const __m256i sum = sum_of_run<kFirst>(group, p, products[p][r]);
        sums[p][r] = kFirst == 0 ? sum : _mm256_add_epi32(sums[p][r], sum);
        pin_vector(sums[p][r]);
      }
    }
  }

  template <int kRows, int... kIndex>
  TRAMONTANE_INLINE static void add_runs(const __m256i* group,
                                         const RowsOfGroup<kRows, kWords>& rows,
                                         __m256i (&sums)[kStripes][kRows],
                                         std::integer_sequence<int, kIndex...>) {
    (add_run<kIndex * kRun>(group, rows, sums), ...);
  }
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
