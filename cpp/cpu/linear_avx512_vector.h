// AVX-512 with VNNI as the templates of linear_vnni.h use it. Included by linear_avx512.cc inside
// its target pragma.
#pragma once

#include "cpu/linear_vnni.h"

namespace tramontane::cpu {
namespace {

struct Sixteen {
  static constexpr int kLanes = 16;
  using Ints = __m512i;
  using Floats = __m512;

  TRAMONTANE_INLINE static Ints load(const void* p) { return _mm512_loadu_si512(p); }
  TRAMONTANE_INLINE static Floats load_floats(const void* p) { return _mm512_loadu_ps(p); }
  TRAMONTANE_INLINE static void store(float* p, Floats x) { _mm512_storeu_ps(p, x); }
  TRAMONTANE_INLINE static Ints zero() { return _mm512_setzero_si512(); }
  TRAMONTANE_INLINE static Ints broadcast(const void* p) {
    int value;
    std::memcpy(&value, p, sizeof value);
    return _mm512_set1_epi32(value);
  }
  TRAMONTANE_INLINE static Floats broadcast_float(const void* p) {
    return _mm512_castsi512_ps(broadcast(p));
  }
  TRAMONTANE_INLINE static Ints multiply_pairs(Ints a, Ints b) { return _mm512_madd_epi16(a, b); }
  // With a mask of all lanes: gcc 12 warns of what the plain one leaves undefined.
  TRAMONTANE_INLINE static Floats to_floats(Ints x) { return _mm512_maskz_cvtepi32_ps(0xffff, x); }
  TRAMONTANE_INLINE static Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  TRAMONTANE_INLINE static Floats multiply_add(Floats a, Floats b, Floats sum) {
    return _mm512_fmadd_ps(a, b, sum);
  }
};

struct Avx512Vnni {
  using Vector = Sixteen;
  static constexpr int kTileRows = 12;  // 24 of 32 registers are sums.

  TRAMONTANE_INLINE static __m256i dot(__m256i sum, __m256i w, __m256i a) {
    return _mm256_dpbusd_epi32(sum, w, a);
  }
  TRAMONTANE_INLINE static __m512i dot(__m512i sum, __m512i w, __m512i a) {
    return _mm512_dpbusd_epi32(sum, w, a);
  }
  // As pin() of linear_avx2_dot.h, in any of the 32 registers.
  TRAMONTANE_INLINE static void pin([[maybe_unused]] __m512i& x) {
#if defined(__AVX512F__)
    __asm__("" : "+v"(x));
#endif
  }
};

}  // namespace
}  // namespace tramontane::cpu
