// Floats of AVX2, as the templates of linear_float.h use them.
#pragma once

#include "cpu/linear/linear_float.h"
#include "cpu/linear/x86/avx2_dot.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

inline float sum_lanes(__m256 x) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  sum = _mm_add_ss(sum, _mm_movehdup_ps(sum));
  return _mm_cvtss_f32(sum);
}

struct FloatVector {
  using Floats = __m256;

  TRAMONTANE_INLINE static Floats zero() { return _mm256_setzero_ps(); }
  TRAMONTANE_INLINE static Floats load(const float* p) { return _mm256_loadu_ps(p); }
  TRAMONTANE_INLINE static void store(float* p, Floats x) { _mm256_storeu_ps(p, x); }
  TRAMONTANE_INLINE static Floats multiply_add(Floats a, Floats b, Floats sum) {
    return _mm256_fmadd_ps(a, b, sum);
  }
  TRAMONTANE_INLINE static float sum(Floats x) { return sum_lanes(x); }
};

struct LoadF32 {
  using Vector = FloatVector;
  static constexpr int kBytes = 4;
  TRAMONTANE_INLINE static __m256 load(const uint8_t* p) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  }
};

struct LoadF16 {
  using Vector = FloatVector;
  static constexpr int kBytes = 2;
  TRAMONTANE_INLINE static __m256 load(const uint8_t* p) { return _mm256_cvtph_ps(load16(p)); }
};

struct LoadBF16 {
  using Vector = FloatVector;
  static constexpr int kBytes = 2;
  TRAMONTANE_INLINE static __m256 load(const uint8_t* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load16(p)), 16));
  }
};

inline void linear_f32(const LinearTask& task) { linear_decoded<FloatVector>(task); }

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
