// Many rows of activations: the tiles that multiply the panels of panels.h, by sdot here and by
// smmla in matrix.h.
//
// A panel is kStripes stripes of 4 outputs. Its tile takes kTileRows rows, whose sums stay in 16
// registers:
//
//            activations                          panel                 sums
//   row 0:   q0 q1 .. q15 | ...            stripe 0   stripe 1      2 vectors of int32 a row
//   row 1:   one vector, whose words   x   4 inputs of 4        ->
//   ...      sdot takes by lane            outputs in a vector each
//
// 16 inputs cost 8 loads of weights, 8 of activations and 64 sdot. After a unit each of the 16 sums
// takes a conversion, a product and an FMA, on the same pipes as sdot. An estimate by the models of
// llvm-mca 19, never measured: a group of 32 inputs with one scale takes 118 to 132 cycles on
// Neoverse N1, where its 128 sdot alone take 64, and 55 to 61 on V1 and V2, where they take 32.
#pragma once

#include "cpu/linear/neon/dot.h"
#include "cpu/linear/panels.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

constexpr int kPanelStripes = 2, kPanelRows = 8;
constexpr int kPanelOutputs = kPanelStripes * kLanes;

// Where the vectors of a group lie in a panel: vector v of stripe p at v * kPanelStripes + p.
template <class S>
struct PackedGroup {
  static constexpr int kScale = 8;
  static constexpr int kOffset = kScale + S::kUnits;
  static constexpr int kVectors = kOffset + (S::kHasOffset ? S::kUnits : 0);
};

// Packs each group it is given as those of one stripe.
template <class S, class Products>
struct Pack {
  using P = PackedGroup<S>;

  template <class Group>
  TRAMONTANE_INLINE void operator()(const Group& x) {
    int8x16_t w[8];
    Products::order(x, w);
    for (int j = 0; j < 8; ++j) out[j * kPanelStripes] = w[j];
    for (int u = 0; u < S::kUnits; ++u) {
      out[(P::kScale + u) * kPanelStripes] = vreinterpretq_s8_f32(x.scale[u]);
      if constexpr (S::kHasOffset) {
        out[(P::kOffset + u) * kPanelStripes] = vreinterpretq_s8_f32(x.offset[u]);
      }
    }
    out += P::kVectors * kPanelStripes;
  }

  int8x16_t* out;
};

// A vector of a panel: 4 inputs of 4 outputs.
struct DotProducts {
  static constexpr bool kPairsRows = false;

  TRAMONTANE_INLINE static void order(const RowGroup& x, int8x16_t* w) {
    for (int half = 0; half < 2; ++half) {
      uint32x4_t words[4];
      transpose(vreinterpretq_u32_s8(x.w[0][half]), vreinterpretq_u32_s8(x.w[1][half]),
                vreinterpretq_u32_s8(x.w[2][half]), vreinterpretq_u32_s8(x.w[3][half]), words);
      for (int j = 0; j < 4; ++j) w[4 * half + j] = vreinterpretq_s8_u32(words[j]);
    }
  }
  TRAMONTANE_INLINE static void order(const LaneGroup& x, int8x16_t* w) {
    for (int j = 0; j < 8; ++j) w[j] = x.w[j];
  }

  // The sums of unit `u` for kRows rows.
  template <class S, int kRows>
  TRAMONTANE_INLINE static void multiply(const int8x16_t* panel, int u, const int8_t (*q)[32],
                                         int32x4_t (&sums)[kRows][kPanelStripes]) {
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      TRAMONTANE_UNROLL
      for (int p = 0; p < kPanelStripes; ++p) sums[r][p] = vdupq_n_s32(0);
    }
    TRAMONTANE_UNROLL
    for (int half = u; half < u + 2 / S::kUnits; ++half) {
      int8x16_t activations[kRows];
      TRAMONTANE_UNROLL
      for (int r = 0; r < kRows; ++r) activations[r] = vld1q_s8(q[r] + 16 * half);
      const int8x16_t* words = panel + 4 * half * kPanelStripes;
      multiply_word<0>(words, activations, sums);
      multiply_word<1>(words, activations, sums);
      multiply_word<2>(words, activations, sums);
      multiply_word<3>(words, activations, sums);
    }
  }

 private:
  // Word kLane of 16 activations of each row, by the 4 inputs of all stripes that belong to it.
  template <int kLane, int kRows>
  TRAMONTANE_INLINE static void multiply_word(const int8x16_t* words, const int8x16_t* activations,
                                              int32x4_t (&sums)[kRows][kPanelStripes]) {
    fence();
    int8x16_t w[kPanelStripes];
    TRAMONTANE_UNROLL
    for (int p = 0; p < kPanelStripes; ++p) w[p] = words[kLane * kPanelStripes + p];
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      TRAMONTANE_UNROLL
      for (int p = 0; p < kPanelStripes; ++p) {
        sums[r][p] = pinned(dot_word<kLane>(sums[r][p], w[p], activations[r]));
      }
    }
  }
};

// All stripes by kRows rows over `depth` groups. `totals` [kRows][kPanelOutputs] go on. Not a
// member of the panel: those compilers put into each of its users.
template <class S, class Products, int kRows>
void multiply_tile(const int8x16_t* panel, int32_t depth, const RowsOfGroup<kRows, S::kUnits>* rows,
                   float* totals) {
  using P = PackedGroup<S>;
  for (int32_t g = 0; g < depth; ++g, ++rows, panel += P::kVectors * kPanelStripes) {
    float terms[kRows][kPanelOutputs];
    TRAMONTANE_UNROLL
    for (int u = 0; u < S::kUnits; ++u) {
      int32x4_t sums[kRows][kPanelStripes];
      Products::template multiply<S>(panel, u, rows->q, sums);
      TRAMONTANE_UNROLL
      for (int p = 0; p < kPanelStripes; ++p) {
        fence();
        Scales x;
        x.scale[u] = vreinterpretq_f32_s8(panel[(P::kScale + u) * kPanelStripes + p]);
        if constexpr (S::kHasOffset) {
          TRAMONTANE_UNROLL
          for (int i = 0; i < S::kUnits; ++i) {
            x.offset[i] = vreinterpretq_f32_s8(panel[(P::kOffset + i) * kPanelStripes + p]);
          }
        }
        TRAMONTANE_UNROLL
        for (int r = 0; r < kRows; ++r) {
          float unit_sums[S::kUnits];
          std::memcpy(unit_sums, rows->words[r], sizeof unit_sums);
          float* kept = &terms[r][kLanes * p];
          float32x4_t term = u == 0 ? vdupq_n_f32(0) : vld1q_f32(kept);
          term = add_unit<S>(sums[r][p], x, u, unit_sums, term);
          if (u + 1 < S::kUnits) {
            vst1q_f32(kept, term);
            continue;
          }
          float* total = totals + kPanelOutputs * r + kLanes * p;
          vst1q_f32(total, add_group<S>(x, unit_sums, rows->scales[r], term, vld1q_f32(total)));
        }
      }
    }
  }
}

// The shape's panel, as panels.h takes it.
template <class S, class Products>
struct Panel {
  using P = PackedGroup<S>;
  using Vector = int8x16_t;
  static constexpr int kWidth = kLanes, kStripes = kPanelStripes, kTileRows = kPanelRows;
  static constexpr int kVectors = P::kVectors;
  static constexpr int kWords = S::kUnits;
  static constexpr bool kPairsRows = Products::kPairsRows;

  // The bits of the sums of each unit, as floats.
  static void make_words(const int16_t* sums, int32_t groups, int32_t* words) {
    float floats[kPanelGroups * kWords];
    unit_sums<S>(sums, groups, floats);
    std::memcpy(words, floats, static_cast<size_t>(groups * kWords) * sizeof *words);
  }

  template <class Source>
  static void pack(const Source& source, const Stripe& stripe, int p, int32_t first, int32_t depth,
                   Vector* panel) {
    Pack<S, Products> pack{panel + p};
    source.template for_each_group<false>(stripe, first, depth, pack);
  }

  template <int kRows>
  static void multiply(const Vector* panel, int32_t depth, const RowsOfGroup<kRows, kWords>* rows,
                       float* totals) {
    multiply_tile<S, Products>(panel, depth, rows, totals);
  }
};

template <class Products>
size_t panel_scratch_bytes(int32_t rows) {
  // The shape with the most vectors and words of all.
  return PanelScratch<Panel<Shape<16, Offset::kOfWeights>, Products>>::bytes(rows);
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
