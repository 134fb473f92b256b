// The vector of vector_rows.h on AVX2, FMA and F16C.
#pragma once

#if defined(__x86_64__) || defined(_M_X64)

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

struct Eight {
  using Floats = __m256;
  using Mask = __m256;
  static constexpr int kLanes = 8;
  // A tile of 6 by 2 sums leaves a register for a query, and two for keys.
  static constexpr int kTileRows = 6, kTileRegisters = 16;

  TRAMONTANE_INLINE static Floats zero() { return _mm256_setzero_ps(); }
  TRAMONTANE_INLINE static Floats broadcast(float x) { return _mm256_set1_ps(x); }

  TRAMONTANE_INLINE static Floats load(const float* p) { return _mm256_loadu_ps(p); }
  TRAMONTANE_INLINE static Floats load(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  TRAMONTANE_INLINE static void store(float* p, Floats x) { _mm256_storeu_ps(p, x); }
  TRAMONTANE_INLINE static void store(uint16_t* p, Floats x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  // All ones in the first `count` lanes.
  TRAMONTANE_INLINE static __m256i first_lanes(int32_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  // The first `count` >= 1 floats, which may be more than there are lanes; other lanes are 0.
  TRAMONTANE_INLINE static Floats load_first(const float* p, int32_t count) {
    return count >= kLanes ? load(p) : _mm256_maskload_ps(p, first_lanes(count));
  }
  TRAMONTANE_INLINE static void store_first(float* p, Floats x, int32_t count) {
    if (count >= kLanes) return store(p, x);
    _mm256_maskstore_ps(p, first_lanes(count), x);
  }
  // a b c d -> a a b b c c d d; `count`, of what there is, is a multiple of 4.
  TRAMONTANE_INLINE static Floats load_twice(const float* p, int32_t /*count*/) {
    const __m128 x = _mm_loadu_ps(p);
    return _mm256_set_m128(_mm_unpackhi_ps(x, x), _mm_unpacklo_ps(x, x));
  }

  TRAMONTANE_INLINE static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  TRAMONTANE_INLINE static Floats subtract(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
  TRAMONTANE_INLINE static Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  TRAMONTANE_INLINE static Floats divide(Floats a, Floats b) { return _mm256_div_ps(a, b); }
  // a * b + c and a * b - c, rounded once.
  TRAMONTANE_INLINE static Floats multiply_add(Floats a, Floats b, Floats c) {
    return _mm256_fmadd_ps(a, b, c);
  }
  TRAMONTANE_INLINE static Floats multiply_subtract(Floats a, Floats b, Floats c) {
    return _mm256_fmsub_ps(a, b, c);
  }
  // Pairs (x, y) become (x cosine - y sine, y cosine + x sine), the second products rounded first.
  TRAMONTANE_INLINE static Floats rotate_pairs(Floats pairs, Floats cosine, Floats sine) {
    const Floats swapped = _mm256_permute_ps(pairs, 0xB1);
    return _mm256_fmaddsub_ps(pairs, cosine, _mm256_mul_ps(swapped, sine));
  }
  // Where b is NaN, NaN.
  TRAMONTANE_INLINE static Floats minimum(Floats a, Floats b) { return _mm256_min_ps(a, b); }
  TRAMONTANE_INLINE static Floats maximum(Floats a, Floats b) { return _mm256_max_ps(a, b); }
  TRAMONTANE_INLINE static Floats round(Floats x) {
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // 2^n for a whole n from -126 to 127.
  TRAMONTANE_INLINE static Floats power_of_two(Floats n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
  }

  TRAMONTANE_INLINE static Mask less(Floats a, Floats b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
  TRAMONTANE_INLINE static bool any(Mask mask) { return _mm256_movemask_ps(mask) != 0; }
  TRAMONTANE_INLINE static Floats select(Mask mask, Floats yes, Floats no) {
    return _mm256_blendv_ps(no, yes, mask);
  }

  // Of all lanes: lane i takes lane i + 4, then i + 2 and i + 1.
  TRAMONTANE_INLINE static float sum(Floats x) {
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
  }
  // Lane i is x[i] combined in the order of sum().
  template <auto combine>
  TRAMONTANE_INLINE static Floats across(const Floats (&x)[kLanes]) {
    Floats fours[4], twos[2];
    for (int i = 0; i < 4; ++i) {
      fours[i] = combine(_mm256_permute2f128_ps(x[i], x[i + 4], 0x20),
                         _mm256_permute2f128_ps(x[i], x[i + 4], 0x31));
    }
    for (int i = 0; i < 2; ++i) {
      const Floats a = fours[2 * i], b = fours[2 * i + 1];
      twos[i] = combine(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xEE));
    }
    return combine(_mm256_shuffle_ps(twos[0], twos[1], 0x88),
                   _mm256_shuffle_ps(twos[0], twos[1], 0xDD));
  }
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"

#endif
