// Many rows of activations by dpbusd: weights unpacked once into panels, and the tiles that
// multiply them.
//
// A panel is two vectors of outputs (2 x 16 with AVX-512) by kPanelGroups groups of 32 inputs,
// small enough for L1, where it stays while all rows of activations pass by, I::kTileRows at a
// time:
//
//            activations                  panel                 sums of a subgroup
//   row 0:   q0 q1 q2 q3 | ...      vector 0   vector 1         2 vectors of int32 a row,
//   row 1:   a word of 4 inputs  x  4 inputs of 16 outputs  ->  in registers for 4 or 8 words
//   ...      broadcast              in a vector each
//
// What bounds it, with AVX-512 and 6 rows: a group takes 96 dpbusd, 64 loads (16 of weights, 48
// broadcasts), and then for each of the 12 sums a conversion, a product, an FMA, a load and a
// store. On Zen 5 dpbusd, product and FMA share two pipes: 120 in 60 cycles, of which 48 are
// dpbusd's (80%; formats with offsets or subgroups of 16: 73%, with both: 62%); its 90 loads need
// 45 cycles. From L1 the tile reaches 79% of the int8 peak for Q4_0, 72% for Q4_K and Q6_K. 12
// rows: 66, 69 and 61%; 8 rows: 73%; a tile of 16 outputs would need twice the broadcasts for the
// same products.
#pragma once

#include "cpu/linear/panels.h"
#include "cpu/linear/x86/vnni_dot.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

constexpr int kVnniVectors = 2;

template <class I>
constexpr int kVnniPanelOutputs = kVnniVectors* I::Vector::kLanes;

// Where the vectors of a group lie in a panel: vector v of stripe p at v * kVnniVectors + p.
template <class K>
struct VnniGroup {
  static constexpr int kZeros = 8;
  static constexpr int kScale = kZeros + (K::kCorrection == Correction::kOwnZeros ? 1 : 0);
  static constexpr int kOffset = kScale + K::kSubgroups;
  static constexpr int kVectors =
      kOffset + (K::kCorrection == Correction::kOffset ? K::kSubgroups : 0);
};

// Packs each group it is given as those of one stripe.
template <class I, class S>
struct VnniPack {
  using K = KindOf<S>;
  using P = VnniGroup<K>;
  using V = typename I::Vector;

  TRAMONTANE_INLINE void operator()(const Operands<V>& x) {
    for (int j = 0; j < 8; ++j) out[j * kVnniVectors] = x.w[j];
    if constexpr (K::kCorrection == Correction::kOwnZeros) out[P::kZeros * kVnniVectors] = x.zero;
    for (int h = 0; h < K::kSubgroups; ++h) {
      out[(P::kScale + h) * kVnniVectors] = V::as_ints(x.scales[h]);
      if constexpr (K::kCorrection == Correction::kOffset) {
        out[(P::kOffset + h) * kVnniVectors] = V::as_ints(x.offsets[h]);
      }
    }
    out += P::kVectors * kVnniVectors;
  }

  typename V::Ints* out;
};

// The shape's panel, as panels.h takes it.
template <class I, class S>
struct VnniPanel {
  using K = KindOf<S>;
  using V = typename I::Vector;
  using P = VnniGroup<K>;
  using Ints = typename V::Ints;
  using Floats = typename V::Floats;
  using Vector = Ints;
  static constexpr int kWidth = V::kLanes, kStripes = kVnniVectors, kTileRows = I::kTileRows;
  static constexpr int kVectors = P::kVectors;
  static constexpr int kWords = S::kSubgroups;
  static constexpr bool kPairsRows = false;

  static void make_words(const int16_t* sums, int32_t groups, int32_t* words) {
    write_words<S, kZeroPoint<S>>(sums, groups * kWords, words);
  }

  template <class Source>
  static void pack(const Source& source, const Stripe& stripe, int p, int32_t first, int32_t depth,
                   Ints* panel) {
    VnniPack<I, S> pack{panel + p};
    source.template for_each_group<Ask::kNever, V>(stripe, first, depth, pack);
  }

  // All stripes by kRows rows over `depth` groups. `totals` [kRows][kVnniPanelOutputs] go on.
  template <int kRows>
  static void multiply(const Ints* panel, int32_t depth, const RowsOfGroup<kRows, kWords>* rows,
                       float* totals) {
    for (int32_t g = 0; g < depth; ++g, ++rows, panel += kVectors * kStripes) {
      hide(totals);
      const auto vector = [&](int v, int p) { return panel + v * kStripes + p; };
      alignas(64) float terms[kRows][kVnniPanelOutputs<I>];
      TRAMONTANE_UNROLL
      for (int h = 0; h < K::kSubgroups; ++h) {
        Ints sums[kVnniVectors][kRows];
        TRAMONTANE_UNROLL
        for (int r = 0; r < kRows; ++r) {
          TRAMONTANE_UNROLL
          for (int p = 0; p < kVnniVectors; ++p) {
            sums[p][r] = start_of<K, V>(&rows->words[r][h], V::load(vector(P::kZeros, p)));
          }
        }
        TRAMONTANE_UNROLL
        for (int j = h * K::kWords; j < (h + 1) * K::kWords; ++j) {
          Ints w[kVnniVectors];
          TRAMONTANE_UNROLL
          for (int p = 0; p < kVnniVectors; ++p) w[p] = V::load(vector(j, p));
          TRAMONTANE_UNROLL
          for (int r = 0; r < kRows; ++r) {
            const Ints a = V::broadcast(rows->q[r] + 4 * j);
            TRAMONTANE_UNROLL
            for (int p = 0; p < kVnniVectors; ++p) {
              sums[p][r] = I::dot(sums[p][r], w[p], a);
              I::pin(sums[p][r]);
            }
          }
        }
        Floats scale[kVnniVectors];
        TRAMONTANE_UNROLL
        for (int p = 0; p < kVnniVectors; ++p) scale[p] = V::load_floats(vector(P::kScale + h, p));
        TRAMONTANE_UNROLL
        for (int r = 0; r < kRows; ++r) {
          const Floats row_scale = V::broadcast_float(&rows->scales[r]);
          TRAMONTANE_UNROLL
          for (int p = 0; p < kVnniVectors; ++p) {
            const Floats value = V::to_floats(sums[p][r]);
            float* total = totals + kVnniPanelOutputs<I> * r + V::kLanes * p;
            if constexpr (S::kScaleAlone) {
              const Floats both = V::multiply(scale[p], row_scale);
              V::store(total, V::multiply_add(value, both, V::load_floats(total)));
              continue;
            }
            float* kept = &terms[r][V::kLanes * p];
            Floats term = h == 0 ? V::multiply(value, scale[p])
                                 : V::multiply_add(value, scale[p], V::load_floats(kept));
            if (h + 1 < K::kSubgroups) {
              V::store(kept, term);
              continue;
            }
            if constexpr (K::kCorrection == Correction::kOffset) {
              TRAMONTANE_UNROLL
              for (int i = 0; i < K::kSubgroups; ++i) {
                term = V::multiply_add(V::load_floats(vector(P::kOffset + i, p)),
                                       V::broadcast_float(&rows->words[r][i]), term);
              }
            }
            V::store(total, V::multiply_add(term, row_scale, V::load_floats(total)));
          }
        }
      }
    }
  }
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
