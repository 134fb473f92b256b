// The vector of vector_rows.h on NEON, which every AArch64 has.
#pragma once

#if defined(__aarch64__) || defined(_M_ARM64)

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

struct Four {
  using Floats = float32x4_t;
  using Mask = uint32x4_t;
  static constexpr int kLanes = 4;
  static constexpr int kTileRows = 6, kTileRegisters = 31;

  TRAMONTANE_INLINE static Floats zero() { return vdupq_n_f32(0); }
  TRAMONTANE_INLINE static Floats broadcast(float x) { return vdupq_n_f32(x); }

  TRAMONTANE_INLINE static Floats load(const float* p) { return vld1q_f32(p); }
  TRAMONTANE_INLINE static Floats load(const uint16_t* p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
  }
  TRAMONTANE_INLINE static void store(float* p, Floats x) { vst1q_f32(p, x); }
  TRAMONTANE_INLINE static void store(uint16_t* p, Floats x) {
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x)));
  }
  // The first `count` >= 1 floats, which may be more than there are lanes; other lanes are 0.
  TRAMONTANE_INLINE static Floats load_first(const float* p, int32_t count) {
    if (count >= kLanes) return load(p);
    float values[kLanes] = {};
    std::memcpy(values, p, static_cast<size_t>(count) * sizeof *p);
    return load(values);
  }
  TRAMONTANE_INLINE static void store_first(float* p, Floats x, int32_t count) {
    if (count >= kLanes) return store(p, x);
    float values[kLanes];
    store(values, x);
    std::memcpy(p, values, static_cast<size_t>(count) * sizeof *p);
  }
  // a b -> a a b b; `count`, of what there is, is a multiple of 4.
  TRAMONTANE_INLINE static Floats load_twice(const float* p, int32_t /*count*/) {
    const float32x2_t x = vld1_f32(p);
    return vcombine_f32(vzip1_f32(x, x), vzip2_f32(x, x));
  }

  TRAMONTANE_INLINE static Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
  TRAMONTANE_INLINE static Floats subtract(Floats a, Floats b) { return vsubq_f32(a, b); }
  TRAMONTANE_INLINE static Floats multiply(Floats a, Floats b) { return vmulq_f32(a, b); }
  TRAMONTANE_INLINE static Floats divide(Floats a, Floats b) { return vdivq_f32(a, b); }
  // a * b + c and a * b - c, rounded once.
  TRAMONTANE_INLINE static Floats multiply_add(Floats a, Floats b, Floats c) {
    return vfmaq_f32(c, a, b);
  }
  TRAMONTANE_INLINE static Floats multiply_subtract(Floats a, Floats b, Floats c) {
    return vfmaq_f32(vnegq_f32(c), a, b);
  }
  // Pairs (x, y) become (x cosine - y sine, y cosine + x sine), the second products rounded first.
  TRAMONTANE_INLINE static Floats rotate_pairs(Floats pairs, Floats cosine, Floats sine) {
    const Floats second = vmulq_f32(vrev64q_f32(pairs), sine);
    const uint32x4_t signs = vreinterpretq_u32_u64(vdupq_n_u64(0x80000000));  // Of the even lanes.
    const uint32x4_t bits = veorq_u32(vreinterpretq_u32_f32(second), signs);
    return vfmaq_f32(vreinterpretq_f32_u32(bits), pairs, cosine);
  }
  // Where one is NaN, NaN.
  TRAMONTANE_INLINE static Floats minimum(Floats a, Floats b) { return vminq_f32(a, b); }
  TRAMONTANE_INLINE static Floats maximum(Floats a, Floats b) { return vmaxq_f32(a, b); }
  TRAMONTANE_INLINE static Floats round(Floats x) { return vrndnq_f32(x); }
  // 2^n for a whole n from -126 to 127.
  TRAMONTANE_INLINE static Floats power_of_two(Floats n) {
    const int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23));
  }

  TRAMONTANE_INLINE static Mask less(Floats a, Floats b) { return vcltq_f32(a, b); }
  TRAMONTANE_INLINE static bool any(Mask mask) { return vmaxvq_u32(mask) != 0; }
  TRAMONTANE_INLINE static Floats select(Mask mask, Floats yes, Floats no) {
    return vbslq_f32(mask, yes, no);
  }

  // Of all lanes: lane i takes lane i + 2, then i + 1.
  TRAMONTANE_INLINE static float sum(Floats x) {
    const float32x2_t half = vadd_f32(vget_low_f32(x), vget_high_f32(x));
    return vget_lane_f32(half, 0) + vget_lane_f32(half, 1);
  }
  // Lane i is x[i] combined in the order of sum().
  template <auto combine>
  TRAMONTANE_INLINE static Floats across(const Floats (&x)[kLanes]) {
    Floats twos[2];
    for (int i = 0; i < 2; ++i) {
      const Floats a = x[2 * i], b = x[2 * i + 1];
      twos[i] = combine(vcombine_f32(vget_low_f32(a), vget_low_f32(b)),
                        vcombine_f32(vget_high_f32(a), vget_high_f32(b)));
    }
    return combine(vuzp1q_f32(twos[0], twos[1]), vuzp2q_f32(twos[0], twos[1]));
  }
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"

#endif
