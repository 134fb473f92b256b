// Products of panels by smmla, the instruction that multiplies two rows of eight bytes by two
// others and adds the four sums to a matrix of int32: twice the products of sdot.
#pragma once

#include "cpu/linear/neon/panel.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// A vector of a panel: 8 inputs of 2 outputs. Vector 2 i: inputs 8 i to 8 i + 7 of outputs 0 and 1;
// the next one: of outputs 2 and 3. 8 inputs cost 4 loads of weights, 4 of activations and 16
// smmla. The sums of two rows are brought apart after each unit:
//
//   a0 a1 b0 b1, a2 a3 b2 b3  ->  a0 a1 a2 a3, b0 b1 b2 b3
struct MatrixProducts {
  static constexpr bool kPairsRows = true;

  TRAMONTANE_INLINE static void order(const RowGroup& x, int8x16_t* w) {
    for (int half = 0; half < 2; ++half) {
      for (int pair = 0; pair < 2; ++pair) {
        const int64x2_t a = vreinterpretq_s64_s8(x.w[2 * pair][half]);
        const int64x2_t b = vreinterpretq_s64_s8(x.w[2 * pair + 1][half]);
        w[4 * half + pair] = vreinterpretq_s8_s64(vtrn1q_s64(a, b));
        w[4 * half + 2 + pair] = vreinterpretq_s8_s64(vtrn2q_s64(a, b));
      }
    }
  }
  TRAMONTANE_INLINE static void order(const LaneGroup& x, int8x16_t* w) {
    for (int j = 0; j < 8; j += 2) {
      const int32x4_t a = vreinterpretq_s32_s8(x.w[j]), b = vreinterpretq_s32_s8(x.w[j + 1]);
      w[j] = vreinterpretq_s8_s32(vzip1q_s32(a, b));
      w[j + 1] = vreinterpretq_s8_s32(vzip2q_s32(a, b));
    }
  }

  // The sums of unit `u` for kRows rows. One row is both of its pair.
  template <class S, int kRows>
  TRAMONTANE_INLINE static void multiply(const int8x16_t* panel, int u, const int8_t (*q)[32],
                                         int32x4_t (&sums)[kRows][kPanelStripes]) {
    constexpr int kPairs = (kRows + 1) / 2, kVectors = 2 * kPanelStripes, kEights = 4 / S::kUnits;
    int32x4_t squares[kPairs][kVectors];
    TRAMONTANE_UNROLL
    for (int i = 0; i < kPairs; ++i) {
      TRAMONTANE_UNROLL
      for (int v = 0; v < kVectors; ++v) squares[i][v] = vdupq_n_s32(0);
    }
    TRAMONTANE_UNROLL
    for (int eight = u * kEights; eight < (u + 1) * kEights; ++eight) {
      fence();
      int8x16_t w[kVectors];
      TRAMONTANE_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        w[v] = panel[(2 * eight + v % 2) * kPanelStripes + v / 2];
      }
      TRAMONTANE_UNROLL
      for (int i = 0; i < kPairs; ++i) {
        int8x16_t activations;
        if constexpr (kRows == 1) {
          const int8x8_t row = vld1_s8(q[0] + 8 * eight);
          activations = vcombine_s8(row, row);
        } else {
          activations = vld1q_s8(q[2 * i] + 16 * eight);
        }
        TRAMONTANE_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          squares[i][v] = pinned(vmmlaq_s32(squares[i][v], activations, w[v]));
        }
      }
    }
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      TRAMONTANE_UNROLL
      for (int p = 0; p < kPanelStripes; ++p) {
        const int64x2_t a = vreinterpretq_s64_s32(squares[r / 2][2 * p]);
        const int64x2_t b = vreinterpretq_s64_s32(squares[r / 2][2 * p + 1]);
        sums[r][p] = vreinterpretq_s32_s64(r % 2 == 0 ? vtrn1q_s64(a, b) : vtrn2q_s64(a, b));
      }
    }
  }
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
