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

#include "cpu/linear/panels.h"
#include "cpu/linear/x86/avx2_unpack.h"

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
  static constexpr int kZero = kInner + (S::kInner ? 1 : 0);
  static constexpr int kScale = kZero + (S::kZero == kOwnZeros ? 1 : 0);
  static constexpr int kOffset = kScale + S::kSubgroups;
  static constexpr int kVectors = kOffset + (S::kOffset ? S::kSubgroups : 0);
};

// Packs each group it is given as those of one stripe.
template <class S>
struct Pack {
  using P = PackedGroup<S>;

  TRAMONTANE_INLINE void operator()(const UnpackedGroup& x) {
    for (int j = 0; j < 8; ++j) out[j * kPanelStripes] = x.w[j];
    if constexpr (S::kInner) out[P::kInner * kPanelStripes] = x.inner;
    if constexpr (S::kZero == kOwnZeros) out[P::kZero * kPanelStripes] = x.zero;
    for (int h = 0; h < S::kSubgroups; ++h) {
      out[(P::kScale + h) * kPanelStripes] = _mm256_castps_si256(x.scale[h]);
      if constexpr (S::kOffset) {
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
  static constexpr int kWords = S::kSubgroups;
  static constexpr bool kPairsRows = false;

  static void make_words(const int16_t* sums, int32_t groups, int32_t* words) {
    write_words<S, S::kZero>(sums, groups * kWords, words);
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
      alignas(32) float terms[kRows][kPanelOutputs];
      add_subgroups<kRows>(panel, *rows, terms, totals,
                           std::make_integer_sequence<int, S::kSubgroups>());
    }
  }

 private:
  static constexpr int kSubgroupWords = S::kSubgroup / 4;
  static constexpr int kRun = std::min(kProductsPerSum<S>, kSubgroupWords);

  template <int kRows, int... kIndex>
  TRAMONTANE_INLINE static void add_subgroups(const __m256i* group,
                                              const RowsOfGroup<kRows, kWords>& rows,
                                              float (&terms)[kRows][kPanelOutputs], float* totals,
                                              std::integer_sequence<int, kIndex...>) {
    (add_subgroup_of_rows<kIndex>(group, rows, terms, totals), ...);
  }

  // Takes a subgroup to the terms that wait for the next one, the last to the totals.
  template <int kSub, int kRows>
  TRAMONTANE_INLINE static void add_subgroup_of_rows(const __m256i* group,
                                                     const RowsOfGroup<kRows, kWords>& rows,
                                                     float (&terms)[kRows][kPanelOutputs],
                                                     float* totals) {
    // The exact sums, as integer_sum(): int16 in runs, which join as int32.
    constexpr int kRuns = kSubgroupWords / kRun, kFirst = kSub * kSubgroupWords;
    __m256i sums[kStripes][kRows], last_run[kStripes][kRows];
    add_runs<kFirst>(group, rows, sums, std::make_integer_sequence<int, kRuns - 1>());
    run_of_products<kFirst + (kRuns - 1) * kRun>(group, rows, last_run);
    const auto floats = [&](int v) { return _mm256_castsi256_ps(group[v]); };
    if constexpr (S::kScaleAlone) {
      for_each_sum<kRows>([&](int r, int p) {
        UnpackedGroup x;
        if constexpr (S::kZero == kOwnZeros) x.zero = group[P::kZero * kStripes + p];
        __m256i sum = sum_of_run(group, p, last_run[p][r]);
        if constexpr (kRuns > 1) sum = _mm256_add_epi32(sum, sums[p][r]);
        const __m256 value = _mm256_cvtepi32_ps(without_zeros<S>(x, rows.words[r], sum));
        const __m256 scale =
            _mm256_mul_ps(floats(P::kScale * kStripes + p), _mm256_set1_ps(rows.scales[r]));
        float* total = totals + kPanelOutputs * r + kLanes * p;
        _mm256_storeu_ps(total, _mm256_fmadd_ps(value, scale, _mm256_loadu_ps(total)));
      });
      return;
    }
    if constexpr (S::kSubgroups == 1) {
      // Each step for all sums: what waits for a sum keeps the next products out of the core's
      // queue. Row after row, Q4_K takes 8% longer.
      __m256 values[kStripes][kRows];
      for_each_sum<kRows>([&](int r, int p) {
        UnpackedGroup x;
        if constexpr (S::kZero == kOwnZeros) x.zero = group[P::kZero * kStripes + p];
        __m256i sum = sum_of_run(group, p, last_run[p][r]);
        if constexpr (kRuns > 1) sum = _mm256_add_epi32(sum, sums[p][r]);
        values[p][r] = _mm256_cvtepi32_ps(without_zeros<S>(x, rows.words[r], sum));
        pin_vector(values[p][r]);
      });
      for_each_sum<kRows>([&](int r, int p) {
        values[p][r] = _mm256_mul_ps(values[p][r], floats(P::kScale * kStripes + p));
        pin_vector(values[p][r]);
      });
      if constexpr (S::kOffset) {
        for_each_sum<kRows>([&](int r, int p) {
          values[p][r] = add_offset(floats(P::kOffset * kStripes + p), rows.words[r], values[p][r]);
          pin_vector(values[p][r]);
        });
      }
      for_each_sum<kRows>([&](int r, int p) {
        add_total(values[p][r], rows.scales[r], totals + kPanelOutputs * r + kLanes * p);
      });
      return;
    }
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      // Before anything is stored, so that they are loaded once.
      const float scale = rows.scales[r];
      int32_t words[kWords];
      std::memcpy(words, rows.words[r], sizeof words);
      TRAMONTANE_UNROLL
      for (int p = 0; p < kStripes; ++p) {
        __m256i sum = sum_of_run(group, p, last_run[p][r]);
        if constexpr (kRuns > 1) sum = _mm256_add_epi32(sum, sums[p][r]);
        const __m256 value =
            _mm256_cvtepi32_ps(without_zeros<S>(UnpackedGroup(), words + kSub, sum));
        const __m256 weight_scale = floats((P::kScale + kSub) * kStripes + p);
        float* kept = &terms[r][kLanes * p];
        if constexpr (kSub == 0) {
          _mm256_store_ps(kept, _mm256_mul_ps(value, weight_scale));
          continue;
        }
        __m256 term = _mm256_fmadd_ps(value, weight_scale, _mm256_load_ps(kept));
        if constexpr (S::kOffset) {
          TRAMONTANE_UNROLL
          for (int h = 0; h < S::kSubgroups; ++h) {
            term = add_offset(floats((P::kOffset + h) * kStripes + p), words + h, term);
          }
        }
        add_total(term, scale, totals + kPanelOutputs * r + kLanes * p);
      }
    }
  }

  TRAMONTANE_INLINE static void add_total(__m256 term, float scale, float* total) {
    const __m256 sum = _mm256_fmadd_ps(term, _mm256_set1_ps(scale), _mm256_loadu_ps(total));
    _mm256_storeu_ps(total, sum);
  }

  // Calls use(row, stripe).
  template <int kRows, class Use>
  TRAMONTANE_INLINE static void for_each_sum(const Use& use) {
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      TRAMONTANE_UNROLL
      for (int p = 0; p < kStripes; ++p) use(r, p);
    }
  }

  TRAMONTANE_INLINE static __m256i sum_of_run(const __m256i* group, int p, __m256i products) {
    return _mm256_madd_epi16(products,
                             S::kInner ? group[P::kInner * kStripes + p] : _mm256_set1_epi16(1));
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
  template <int kFirst, int kRows>
  TRAMONTANE_INLINE static void run_of_products(const __m256i* group,
                                                const RowsOfGroup<kRows, kWords>& rows,
                                                __m256i (&run)[kStripes][kRows]) {
    __m256i products[kStripes][kRows];
    add_products<kFirst>(group, rows, products);
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      TRAMONTANE_UNROLL
      for (int p = 0; p < kStripes; ++p) run[p][r] = products[p][r];
    }
  }

  template <int kFirst, bool kAdd, int kRows>
  TRAMONTANE_INLINE static void add_run(const __m256i* group,
                                        const RowsOfGroup<kRows, kWords>& rows,
                                        __m256i (&sums)[kStripes][kRows]) {
    __m256i run[kStripes][kRows];
    run_of_products<kFirst>(group, rows, run);
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      TRAMONTANE_UNROLL
      for (int p = 0; p < kStripes; ++p) {
        const __m256i sum = sum_of_run(group, p, run[p][r]);
        sums[p][r] = kAdd ? _mm256_add_epi32(sums[p][r], sum) : sum;
        pin_vector(sums[p][r]);
      }
    }
  }

  template <int kFirst, int kRows, int... kIndex>
  TRAMONTANE_INLINE static void add_runs([[maybe_unused]] const __m256i* group,
                                         const RowsOfGroup<kRows, kWords>& rows,
                                         __m256i (&sums)[kStripes][kRows],
                                         std::integer_sequence<int, kIndex...>) {
    (add_run<kFirst + kIndex * kRun, (kIndex > 0)>(group, rows, sums), ...);
  }
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
