// Products of quantized weights and int8 activations by sdot, the instruction that multiplies four
// bytes by four in each lane and adds them to an int32.
//
// Lanes are outputs, four at a time. Weights are signed, so that no zero point remains; those of
// GPTQ become offsets of integers. Inputs that share a scale, 16 or 32, are a unit. Every output
// takes the steps of linear.h, whether rows are read in place or packed into panels.
#pragma once

#include "base/prefetch.h"
#include "cpu/linear/stripe.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

constexpr int kLanes = 4;

// What there is beside integers and scales, a float for each unit of an output.
enum class Offset {
  kNone,
  kOfWeights,   // scale * w + offset
  kOfIntegers,  // scale * (w + offset), an integer
};

// What the dot products need to know of a format at compile time.
template <int kUnit_, Offset kOffset_, int kFraction_ = 0, bool kInner = false>
struct Shape {
  using ShapeType = Shape;
  static constexpr int kUnit = kUnit_;  // Inputs that share a scale: 16 or 32.
  static constexpr Offset kOffset = kOffset_;
  static constexpr int kFraction = kFraction_;  // Integers are 2^kFraction times too large.
  static constexpr int kUnits = 32 / kUnit;
  static constexpr bool kHasOffset = kOffset != Offset::kNone;
  // kInner: the scale has a factor of its own in each group.
  static constexpr bool kScaleAlone = kUnits == 1 && !kInner && kOffset != Offset::kOfWeights;
};

// 32 inputs of 4 outputs. Input i has scale[i / kUnit] and offset[i / kUnit].
struct Scales {
  float32x4_t scale[2], offset[2];
};

// Each output's inputs as they follow each other.
struct RowGroup : Scales {
  int8x16_t w[kLanes][2];
};

// Vector j: inputs 4 j to 4 j + 3 of each output, which sdot multiplies by one word of activations.
struct LaneGroup : Scales {
  int8x16_t w[8];
};

// No load moves from behind a fence to before it. Without fences compilers load much ahead, and
// keep it in more registers than there are.
TRAMONTANE_INLINE void fence() {
#if defined(__GNUC__)
  __asm__ volatile("" ::: "memory");
#endif
}

// A sum that is pinned is taken here and now, in the order of the source: the same hazard.
template <class Vector>
TRAMONTANE_INLINE Vector pinned(Vector value) {
#if defined(__GNUC__)
  __asm__ volatile("" : "+w"(value));
#endif
  return value;
}

// The words a, b, ... of four rows by lanes.
//   row 0: a0 a1 a2 a3        words[0]: a0 b0 c0 d0
//   row 1: b0 b1 b2 b3   ->   words[1]: a1 b1 c1 d1
//   ...                       ...
TRAMONTANE_INLINE void transpose(uint32x4_t a, uint32x4_t b, uint32x4_t c, uint32x4_t d,
                                 uint32x4_t* words) {
  const uint64x2_t ab02 = vreinterpretq_u64_u32(vtrn1q_u32(a, b));
  const uint64x2_t ab13 = vreinterpretq_u64_u32(vtrn2q_u32(a, b));
  const uint64x2_t cd02 = vreinterpretq_u64_u32(vtrn1q_u32(c, d));
  const uint64x2_t cd13 = vreinterpretq_u64_u32(vtrn2q_u32(c, d));
  words[0] = vreinterpretq_u32_u64(vtrn1q_u64(ab02, cd02));
  words[1] = vreinterpretq_u32_u64(vtrn1q_u64(ab13, cd13));
  words[2] = vreinterpretq_u32_u64(vtrn2q_u64(ab02, cd02));
  words[3] = vreinterpretq_u32_u64(vtrn2q_u64(ab13, cd13));
}

// sum + four inputs of each output, by word kLane of the activations.
template <int kLane>
TRAMONTANE_INLINE int32x4_t dot_word(int32x4_t sum, int8x16_t w, int8x16_t activations) {
  return vdotq_laneq_s32(sum, w, activations, kLane);
}

// One row of activations from some group on.
struct RowOfActivations {
  const int8_t* q;      // 32 a group
  const float* scales;  // 1 a group
  const float* sums;    // Of q, one a unit; only for formats with an offset.

  template <class S>
  TRAMONTANE_INLINE void next() {
    q += 32;
    scales += 1;
    if constexpr (S::kHasOffset) sums += S::kUnits;
  }
};

inline RowOfActivations activations_of(const Activations& in, int32_t row) {
  return {in.q + row * quantized_stride(in.columns),
          in.scales + static_cast<int64_t>(row) * (in.columns / 32), nullptr};
}

// The sums of each unit of `groups` groups; `sums` are those of 16 activations each.
template <class S>
void unit_sums(const int16_t* sums, int32_t groups, float* out) {
  for (int32_t u = 0; u < groups * S::kUnits; ++u) {
    const int sum = S::kUnits == 2 ? sums[u] : sums[2 * u] + sums[2 * u + 1];
    out[u] = static_cast<float>(sum);
  }
}

// The term of a group of 4 outputs with unit `u`, from that of the units before; the first reads
// none. Where the scale is alone, the sum. `sums` are the group's.
template <class S>
TRAMONTANE_INLINE float32x4_t add_unit(int32x4_t sum, const Scales& x, int u, const float* sums,
                                       float32x4_t term) {
  float32x4_t value;
  if constexpr (S::kFraction > 0) {
    value = vcvtq_n_f32_s32(sum, S::kFraction);
  } else {
    value = vcvtq_f32_s32(sum);
  }
  // Exact: all of it is below 2^24.
  if constexpr (S::kOffset == Offset::kOfIntegers) value = vfmaq_n_f32(value, x.offset[u], sums[u]);
  if constexpr (S::kScaleAlone) return value;
  return u == 0 ? vmulq_f32(value, x.scale[u]) : vfmaq_f32(term, value, x.scale[u]);
}

// Adds a group's term to the float sum of 4 outputs.
template <class S>
TRAMONTANE_INLINE float32x4_t add_group(const Scales& x, const float* sums, float activation,
                                        float32x4_t term, float32x4_t total) {
  if constexpr (S::kScaleAlone) return vfmaq_f32(total, term, vmulq_n_f32(x.scale[0], activation));
  if constexpr (S::kOffset == Offset::kOfWeights) {
    TRAMONTANE_UNROLL
    for (int u = 0; u < S::kUnits; ++u) term = vfmaq_n_f32(term, x.offset[u], sums[u]);
  }
  return vfmaq_n_f32(total, term, activation);
}

// The exact sum of a unit for one row: each output's inputs by the same activations, its four
// partial sums added by pairs.
//   a0 a1 a2 a3, b0 b1 b2 b3, ...  ->  a01 a23 b01 b23, c01 c23 d01 d23  ->  a b c d
template <class S>
TRAMONTANE_INLINE int32x4_t unit_sum(const RowGroup& x, int u, const int8x16_t* activations) {
  int32x4_t partial[kLanes];
  TRAMONTANE_UNROLL
  for (int i = 0; i < kLanes; ++i) {
    partial[i] = vdotq_s32(vdupq_n_s32(0), x.w[i][u], activations[u]);
    if constexpr (S::kUnits == 1) partial[i] = vdotq_s32(partial[i], x.w[i][1], activations[1]);
  }
  return vpaddq_s32(vpaddq_s32(partial[0], partial[1]), vpaddq_s32(partial[2], partial[3]));
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
