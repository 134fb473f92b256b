// Many rows of activations: weights unpacked once into panels, and the tiles that multiply them.
//
// A panel is kStripes stripes of 4 outputs by kPanelGroups groups of 32 inputs, small enough to
// stay in L1 while all rows of activations pass by, kTileRows at a time:
//
//            activations                          panel                 sums
//   row 0:   q0 q1 .. q15 | ...            stripe 0   stripe 1      2 vectors of int32 a row,
//   row 1:   one vector, whose words   x   4 inputs of 4        ->  in 16 registers
//   ...      sdot takes by lane            outputs in a vector each
//
// 16 inputs cost 8 loads of weights, 8 of activations and 64 sdot. After a unit each of the 16 sums
// takes a conversion, a product and an FMA, on the same pipes as sdot. An estimate by the models of
// llvm-mca 19, never measured: a group of 32 inputs with one scale takes 118 to 132 cycles on
// Neoverse N1, where its 128 sdot alone take 64, and 55 to 61 on V1 and V2, where they take 32.
#pragma once

#include "cpu/linear/neon/dot.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

constexpr int kPanelGroups = 32;
constexpr int kStripes = 2, kTileRows = 8;
constexpr int kPanelOutputs = kStripes * kLanes;

// Where the vectors of a group lie in a panel: vector v of stripe p at v * kStripes + p.
template <class S>
struct PackedGroup {
  static constexpr int kScale = 8;
  static constexpr int kOffset = kScale + S::kUnits;
  static constexpr int kVectors = kOffset + (S::kHasOffset ? S::kUnits : 0);
};

struct PanelScratch {
  int8x16_t panel[kPanelGroups * 12 * kStripes];
  float sums[kTileRows][kPanelGroups * 2];
};

// Packs each group it is given as those of one stripe.
template <class S>
struct Pack {
  using P = PackedGroup<S>;

  TRAMONTANE_INLINE void operator()(const RowGroup& rows) {
    LaneGroup x;
    static_cast<Scales&>(x) = rows;
    for (int half = 0; half < 2; ++half) {
      uint32x4_t words[4];
      transpose(vreinterpretq_u32_s8(rows.w[0][half]), vreinterpretq_u32_s8(rows.w[1][half]),
                vreinterpretq_u32_s8(rows.w[2][half]), vreinterpretq_u32_s8(rows.w[3][half]),
                words);
      for (int j = 0; j < 4; ++j) x.w[4 * half + j] = vreinterpretq_s8_u32(words[j]);
    }
    (*this)(x);
  }

  TRAMONTANE_INLINE void operator()(const LaneGroup& x) {
    for (int j = 0; j < 8; ++j) out[j * kStripes] = x.w[j];
    for (int u = 0; u < S::kUnits; ++u) {
      out[(P::kScale + u) * kStripes] = vreinterpretq_s8_f32(x.scale[u]);
      if constexpr (S::kHasOffset) {
        out[(P::kOffset + u) * kStripes] = vreinterpretq_s8_f32(x.offset[u]);
      }
    }
    out += P::kVectors * kStripes;
  }

  int8x16_t* out;
};

// Word kLane of 16 activations of each row, by the 4 inputs of all stripes that belong to it.
template <int kLane, int kRows>
TRAMONTANE_INLINE void multiply_word(const int8x16_t* words, const int8x16_t* activations,
                                     int32x4_t sums[kRows][kStripes]) {
  fence();
  int8x16_t w[kStripes];
  TRAMONTANE_UNROLL
  for (int p = 0; p < kStripes; ++p) w[p] = words[kLane * kStripes + p];
  TRAMONTANE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    TRAMONTANE_UNROLL
    for (int p = 0; p < kStripes; ++p) {
      sums[r][p] = pinned(dot_word<kLane>(sums[r][p], w[p], activations[r]));
    }
  }
}

// All stripes by kRows rows over `groups` groups of a panel. The rows follow `first` at the strides
// of `in`, but for their sums; `totals` [kRows][kPanelOutputs] go on.
template <class S, int kRows>
void multiply_tile(const int8x16_t* panel, int32_t groups, const Activations& in,
                   RowOfActivations first, float* totals) {
  using P = PackedGroup<S>;
  const int64_t stride = quantized_stride(in.columns), scale_stride = in.columns / 32;
  for (int32_t g = 0; g < groups; ++g) {
    // The rows of the next tile at this group: they come from L2, or farther.
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) prefetch(first.q + (r + kRows) * stride);
    float terms[kRows][kPanelOutputs];
    TRAMONTANE_UNROLL
    for (int u = 0; u < S::kUnits; ++u) {
      int32x4_t sums[kRows][kStripes];
      TRAMONTANE_UNROLL
      for (int r = 0; r < kRows; ++r) {
        TRAMONTANE_UNROLL
        for (int p = 0; p < kStripes; ++p) sums[r][p] = vdupq_n_s32(0);
      }
      TRAMONTANE_UNROLL
      for (int half = u; half < u + 2 / S::kUnits; ++half) {
        int8x16_t activations[kRows];
        TRAMONTANE_UNROLL
        for (int r = 0; r < kRows; ++r) {
          activations[r] = vld1q_s8(first.q + r * stride + 16 * half);
        }
        const int8x16_t* words = panel + 4 * half * kStripes;
        multiply_word<0, kRows>(words, activations, sums);
        multiply_word<1, kRows>(words, activations, sums);
        multiply_word<2, kRows>(words, activations, sums);
        multiply_word<3, kRows>(words, activations, sums);
      }
      TRAMONTANE_UNROLL
      for (int p = 0; p < kStripes; ++p) {
        fence();
        Scales x;
        x.scale[u] = vreinterpretq_f32_s8(panel[(P::kScale + u) * kStripes + p]);
        if constexpr (S::kHasOffset) {
          TRAMONTANE_UNROLL
          for (int i = 0; i < S::kUnits; ++i) {
            x.offset[i] = vreinterpretq_f32_s8(panel[(P::kOffset + i) * kStripes + p]);
          }
        }
        TRAMONTANE_UNROLL
        for (int r = 0; r < kRows; ++r) {
          const float* row_sums = first.sums + r * kPanelGroups * 2;
          float* kept = &terms[r][kLanes * p];
          float32x4_t term = u == 0 ? vdupq_n_f32(0) : vld1q_f32(kept);
          term = add_unit<S>(sums[r][p], x, u, row_sums, term);
          if (u + 1 < S::kUnits) {
            vst1q_f32(kept, term);
            continue;
          }
          float* total = totals + kPanelOutputs * r + kLanes * p;
          vst1q_f32(total, add_group<S>(x, row_sums, first.scales[r * scale_stride], term,
                                        vld1q_f32(total)));
        }
      }
    }
    first.template next<S>();
    panel += P::kVectors * kStripes;
  }
}

// All rows of a panel in tiles of kRows, the rest in smaller ones.
template <class S, int kRows>
void multiply_rows(const Activations& in, int32_t row, int32_t first, int32_t groups,
                   PanelScratch& scratch, float* totals) {
  for (; row + kRows <= in.rows; row += kRows) {
    if constexpr (S::kHasOffset) {
      for (int r = 0; r < kRows; ++r) {
        const int64_t group = int64_t{row + r} * (in.columns / 32) + first;
        unit_sums<S>(in.sums + 2 * group, groups, scratch.sums[r]);
      }
    }
    RowOfActivations rows = activations_of(in, row);
    rows.q += 32 * first;
    rows.scales += first;
    rows.sums = scratch.sums[0];
    multiply_tile<S, kRows>(scratch.panel, groups, in, rows, totals + row * kPanelOutputs);
  }
  if constexpr (kRows > 1) {
    if (row < in.rows) multiply_rows<S, kRows / 2>(in, row, first, groups, scratch, totals);
  }
}

// Takes the outputs of a task through panels.
template <class Source>
void many_rows(const LinearTask& task, const Source& source) {
  using S = typename Source::ShapeType;
  PanelScratch& scratch = *reinterpret_cast<PanelScratch*>(task.scratch);
  float* totals = reinterpret_cast<float*>(task.scratch + sizeof(PanelScratch));
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
    std::fill_n(totals, in.rows * kPanelOutputs, 0.0f);
    for (int32_t first = 0; first < groups; first += kPanelGroups) {
      const int32_t depth = std::min(kPanelGroups, groups - first);
      for (int p = 0; p < kStripes; ++p) {
        Pack<S> pack{scratch.panel + p};
        source.template for_each_group<false>(stripes[p], first, depth, pack);
      }
      // While a few rows are multiplied, the weights that come next are on their way.
      for (const Stripe& stripe : stripes) {
        if (first + depth < groups) source.prefetch_groups(stripe, first + depth);
      }
      multiply_rows<S, kTileRows>(in, 0, first, depth, scratch, totals);
    }
    for (int32_t r = 0; r < in.rows; ++r) {
      for (int p = 0; p < count; ++p) {
        store(task, r, stripes[p], totals + r * kPanelOutputs + kLanes * p);
      }
    }
  }
}

inline size_t panel_scratch_bytes(int32_t rows) {
  return sizeof(PanelScratch) + static_cast<size_t>(rows) * kPanelOutputs * sizeof(float);
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
