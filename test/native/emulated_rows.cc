// The row kernels for AVX-512, compiled for AVX2 with an emulation of what they need: SIMDe's, and
// here what its version 0.7 lacks. https://github.com/simd-everywhere/simde
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>

#include <cstring>

namespace {

using Halves = simde__m512_private;

// By halves.
template <typename Half>
inline simde__m512 both(simde__m512 x, Half half) {
  Halves halves = simde__m512_to_private(x);
  for (__m256& h : halves.m256) h = half(h);
  return simde__m512_from_private(halves);
}

inline simde__m512 emulated_cvtph_ps(simde__m256i x) {
  Halves floats;
  floats.m256[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(x));
  floats.m256[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1));
  return simde__m512_from_private(floats);
}
inline simde__m256i emulated_cvtps_ph(simde__m512 x) {
  const Halves floats = simde__m512_to_private(x);
  return _mm256_set_m128i(_mm256_cvtps_ph(floats.m256[1], _MM_FROUND_TO_NEAREST_INT),
                          _mm256_cvtps_ph(floats.m256[0], _MM_FROUND_TO_NEAREST_INT));
}
inline simde__m512i emulated_cvtps_epi32(simde__m512 x) {
  const Halves floats = simde__m512_to_private(x);
  simde__m512i_private ints;
  for (int i = 0; i < 2; ++i) ints.m256i[i] = _mm256_cvtps_epi32(floats.m256[i]);
  return simde__m512i_from_private(ints);
}
inline simde__m512 emulated_round(simde__m512 x) {
  return both(x, [](__m256 h) { return _mm256_round_ps(h, _MM_FROUND_TO_NEAREST_INT); });
}
inline simde__m512 emulated_swap(simde__m512 x) {
  return both(x, [](__m256 h) { return _mm256_permute_ps(h, 0xB1); });
}
inline simde__m256 emulated_half(simde__m512 x, int which) {
  return simde__m512_to_private(x).m256[which];
}
inline simde__m512 emulated_fmaddsub(simde__m512 a, simde__m512 b, simde__m512 c) {
  const Halves x = simde__m512_to_private(a), y = simde__m512_to_private(b);
  Halves z = simde__m512_to_private(c);
  for (int i = 0; i < 2; ++i) z.m256[i] = _mm256_fmaddsub_ps(x.m256[i], y.m256[i], z.m256[i]);
  return simde__m512_from_private(z);
}
inline simde__m512 emulated_load_first(unsigned mask, const float* p) {
  float lanes[16] = {};
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i) & 1) lanes[i] = p[i];
  }
  return simde_mm512_loadu_ps(lanes);
}
inline void emulated_store_first(float* p, unsigned mask, simde__m512 x) {
  float lanes[16];
  simde_mm512_storeu_ps(lanes, x);
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i) & 1) p[i] = lanes[i];
  }
}

}  // namespace

#undef _mm512_roundscale_ps
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4(a, b, order) simde_mm512_shuffle_f32x4(a, b, order)
#define _mm512_cvtph_ps(x) emulated_cvtph_ps(x)
#define _mm512_cvtps_ph(x, rounding) emulated_cvtps_ph(x)
#define _mm512_cvtps_epi32(x) emulated_cvtps_epi32(x)
#define _mm512_roundscale_ps(x, rounding) emulated_round(x)
#define _mm512_permute_ps(x, order) emulated_swap(x)
#define _mm512_extractf32x8_ps(x, which) emulated_half(x, which)
#define _mm512_fmaddsub_ps(a, b, c) emulated_fmaddsub(a, b, c)
#define _mm512_maskz_loadu_ps(mask, p) emulated_load_first(mask, p)
#define _mm512_mask_storeu_ps(p, mask, x) emulated_store_first(p, mask, x)

#define TRAMONTANE_TARGET emulated

#include "cpu/rows/avx512_vector.h"
#include "cpu/rows/vector_rows.h"

namespace tramontane::cpu {

extern const RowKernels kEmulatedRows;
const RowKernels kEmulatedRows = emulated::row_kernels<emulated::Sixteen>();

}  // namespace tramontane::cpu
