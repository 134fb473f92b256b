// The vector of vector_rows.h on AVX-512.
#pragma once

#if defined(__x86_64__) || defined(_M_X64)

#include "cpu/rows/avx2_vector.h"

#if defined(__GNUC__) && !defined(__clang__)
// gcc 12 warns of what its own intrinsics leave undefined.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

struct Sixteen {
  using Floats = __m512;
  using Mask = __mmask16;
  using Half = Eight;
  static constexpr int kLanes = 16;
  static constexpr int kTileRows = 8, kTileRegisters = 32;

  TRAMONTANE_INLINE static Floats zero() { return _mm512_setzero_ps(); }
  TRAMONTANE_INLINE static Floats broadcast(float x) { return _mm512_set1_ps(x); }

  TRAMONTANE_INLINE static Floats load(const float* p) { return _mm512_loadu_ps(p); }
  TRAMONTANE_INLINE static Floats load(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  TRAMONTANE_INLINE static void store(float* p, Floats x) { _mm512_storeu_ps(p, x); }
  TRAMONTANE_INLINE static void store(uint16_t* p, Floats x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  // All ones in the first `count` >= 1 lanes.
  TRAMONTANE_INLINE static Mask first_lanes(int32_t count) {
    return static_cast<Mask>(count >= kLanes ? 0xffff : (1 << count) - 1);
  }
  TRAMONTANE_INLINE static Floats load_first(const float* p, int32_t count) {
    return _mm512_maskz_loadu_ps(first_lanes(count), p);
  }
  TRAMONTANE_INLINE static void store_first(float* p, Floats x, int32_t count) {
    _mm512_mask_storeu_ps(p, first_lanes(count), x);
  }
  TRAMONTANE_INLINE static Floats load_twice(const float* p, int32_t count) {
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(Eight::load_first(p, count)));
  }

  TRAMONTANE_INLINE static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  TRAMONTANE_INLINE static Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
  TRAMONTANE_INLINE static Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  TRAMONTANE_INLINE static Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
  TRAMONTANE_INLINE static Floats multiply_add(Floats a, Floats b, Floats c) {
    return _mm512_fmadd_ps(a, b, c);
  }
  TRAMONTANE_INLINE static Floats multiply_subtract(Floats a, Floats b, Floats c) {
    return _mm512_fmsub_ps(a, b, c);
  }
  TRAMONTANE_INLINE static Floats rotate_pairs(Floats pairs, Floats cosine, Floats sine) {
    const Floats swapped = _mm512_permute_ps(pairs, 0xB1);
    return _mm512_fmaddsub_ps(pairs, cosine, _mm512_mul_ps(swapped, sine));
  }
  TRAMONTANE_INLINE static Floats minimum(Floats a, Floats b) { return _mm512_min_ps(a, b); }
  TRAMONTANE_INLINE static Floats maximum(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  TRAMONTANE_INLINE static Floats round(Floats x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  TRAMONTANE_INLINE static Floats power_of_two(Floats n) {
    const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
  }

  TRAMONTANE_INLINE static Mask less(Floats a, Floats b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
  }
  TRAMONTANE_INLINE static bool any(Mask mask) { return mask != 0; }
  TRAMONTANE_INLINE static Floats select(Mask mask, Floats yes, Floats no) {
    return _mm512_mask_blend_ps(mask, no, yes);
  }

  TRAMONTANE_INLINE static __m256 lower(Floats x) { return _mm512_extractf32x8_ps(x, 0); }
  TRAMONTANE_INLINE static __m256 upper(Floats x) { return _mm512_extractf32x8_ps(x, 1); }
  TRAMONTANE_INLINE static float sum(Floats x) {
    return Eight::sum(Eight::add(lower(x), upper(x)));
  }
  template <auto combine>
  TRAMONTANE_INLINE static Floats across(const Floats (&x)[kLanes]) {
    Floats eights[8], fours[4], twos[2];
    for (int i = 0; i < 8; ++i) {  // Rows i and i + 4, of 0 to 7 and of 8 to 15.
      const Floats a = x[i + (i & 4)], b = x[i + (i & 4) + 4];
      eights[i] = combine(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
    }
    for (int i = 0; i < 4; ++i) {
      const Floats a = eights[i], b = eights[i + 4];
      fours[i] = combine(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
    }
    for (int i = 0; i < 2; ++i) {
      const Floats a = fours[2 * i], b = fours[2 * i + 1];
      twos[i] = combine(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xEE));
    }
    return combine(_mm512_shuffle_ps(twos[0], twos[1], 0x88),
                   _mm512_shuffle_ps(twos[0], twos[1], 0xDD));
  }
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"

#endif
