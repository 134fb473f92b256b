// Floats of NEON, as the templates of linear_float.h use them.
#pragma once

#include "cpu/linear/linear_float.h"
#include "cpu/linear/neon/dot.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// Eight lanes.
struct FloatVector {
  struct Floats {
    float32x4_t low, high;
  };

  TRAMONTANE_INLINE static Floats zero() { return {vdupq_n_f32(0), vdupq_n_f32(0)}; }
  TRAMONTANE_INLINE static Floats load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
  TRAMONTANE_INLINE static void store(float* p, Floats x) {
    vst1q_f32(p, x.low);
    vst1q_f32(p + 4, x.high);
  }
  TRAMONTANE_INLINE static Floats multiply_add(Floats a, Floats b, Floats sum) {
    return {vfmaq_f32(sum.low, a.low, b.low), vfmaq_f32(sum.high, a.high, b.high)};
  }
  TRAMONTANE_INLINE static float sum(Floats x) {
    const float32x4_t four = vaddq_f32(x.low, x.high);
    return vaddv_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)));
  }
};

struct LoadF32 {
  using Vector = FloatVector;
  static constexpr int kBytes = 4;
  TRAMONTANE_INLINE static float32x4_t load_four(const uint8_t* p) {
    return vreinterpretq_f32_u8(vld1q_u8(p));
  }
  TRAMONTANE_INLINE static Vector::Floats load(const uint8_t* p) {
    return {load_four(p), load_four(p + 16)};
  }
};

struct LoadF16 {
  using Vector = FloatVector;
  static constexpr int kBytes = 2;
  TRAMONTANE_INLINE static float32x4_t load_four(const uint8_t* p) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
  }
  TRAMONTANE_INLINE static Vector::Floats load(const uint8_t* p) {
    const float16x8_t halves = vreinterpretq_f16_u8(vld1q_u8(p));
    return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
  }
};

struct LoadBF16 {
  using Vector = FloatVector;
  static constexpr int kBytes = 2;
  TRAMONTANE_INLINE static float32x4_t load_four(const uint8_t* p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
  }
  TRAMONTANE_INLINE static Vector::Floats load(const uint8_t* p) {
    return {load_four(p), load_four(p + 8)};
  }
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
