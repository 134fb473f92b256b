// The linear kernels of instruction sets that the processor at hand may lack, compiled for AVX2
// with SIMDe's emulation of the rest, and listed as the implementations that the tests run.
// https://github.com/simd-everywhere/simde
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>

// What SIMDe 0.7 does not have, has wrong, or takes very long to compile.

// Even and odd bytes apart: their products, unsigned by signed, fit 16 bits.
static inline __m256i emulated_dpbusd(__m256i sum, __m256i w, __m256i a) {
  const __m256i even_w = _mm256_and_si256(w, _mm256_set1_epi16(0xff));
  const __m256i even_a = _mm256_srai_epi16(_mm256_slli_epi16(a, 8), 8);
  const __m256i even = _mm256_madd_epi16(even_w, even_a);
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(w, 8), _mm256_srai_epi16(a, 8));
  return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}
static inline simde__m512i emulated_dpbusd(simde__m512i sum, simde__m512i w, simde__m512i a) {
  simde__m512i_private halves = simde__m512i_to_private(sum);
  const simde__m512i_private w_halves = simde__m512i_to_private(w);
  const simde__m512i_private a_halves = simde__m512i_to_private(a);
  for (int i = 0; i < 2; ++i) {
    halves.m256i[i] = emulated_dpbusd(halves.m256i[i], w_halves.m256i[i], a_halves.m256i[i]);
  }
  return simde__m512i_from_private(halves);
}
static inline simde__m512 emulated_cvtepi32_ps(simde__m512i x) {
  const simde__m512i_private ints = simde__m512i_to_private(x);
  simde__m512_private floats;
  for (int i = 0; i < 2; ++i) floats.m256[i] = _mm256_cvtepi32_ps(ints.m256i[i]);
  return simde__m512_from_private(floats);
}
static inline simde__m512i emulated_srai_epi32(simde__m512i x, int count) {
  simde__m512i_private halves = simde__m512i_to_private(x);
  for (int i = 0; i < 2; ++i) halves.m256i[i] = _mm256_srai_epi32(halves.m256i[i], count);
  return simde__m512i_from_private(halves);
}
static inline simde__m256i emulated_cvtepi32_epi16(simde__m512i x) {
  const simde__m512i_private halves = simde__m512i_to_private(x);
  const __m256i low = _mm256_and_si256(halves.m256i[0], _mm256_set1_epi32(0xffff));
  const __m256i high = _mm256_and_si256(halves.m256i[1], _mm256_set1_epi32(0xffff));
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);
}
static inline simde__m512 emulated_cvtph_ps(simde__m256i x) {
  simde__m512_private floats;
  floats.m256[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(x));
  floats.m256[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1));
  return simde__m512_from_private(floats);
}
template <int kOrder>
static inline simde__m512i emulated_shuffle_epi32(simde__m512i x) {
  simde__m512i_private halves = simde__m512i_to_private(x);
  for (int i = 0; i < 2; ++i) halves.m256i[i] = _mm256_shuffle_epi32(halves.m256i[i], kOrder);
  return simde__m512i_from_private(halves);
}
#undef _mm512_srai_epi32
#undef _mm512_cvtepi32_epi16
#undef _mm512_cvtph_ps
#undef _mm512_shuffle_epi32
#undef _mm512_madd_epi16
#undef _mm256_dpbusd_epi32
#undef _mm512_dpbusd_epi32
#undef _mm256_dpbusd_avx_epi32
#define _mm512_maskz_cvtepi32_ps(mask, x) emulated_cvtepi32_ps(x)
#define _mm512_srai_epi32(x, count) emulated_srai_epi32(x, count)
#define _mm512_cvtepi32_epi16(x) emulated_cvtepi32_epi16(x)
#define _mm512_cvtph_ps(x) emulated_cvtph_ps(x)
#define _mm512_shuffle_epi32(x, order) emulated_shuffle_epi32<order>(x)
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
#define _mm256_dpbusd_epi32(sum, w, a) emulated_dpbusd(sum, w, a)
#define _mm512_dpbusd_epi32(sum, w, a) emulated_dpbusd(sum, w, a)
#define _mm256_dpbusd_avx_epi32(sum, w, a) emulated_dpbusd(sum, w, a)

#define TRAMONTANE_TARGET emulated

#include "base/inline.h"
#undef TRAMONTANE_UNROLL
#define TRAMONTANE_UNROLL
#include "cpu/backend/implementation.h"
#include "cpu/linear/x86/amx.h"
#include "cpu/linear/x86/avx512_vector.h"
#include "cpu/linear/x86/avx_vnni_vector.h"
#include "emulated_tiles.h"

namespace tramontane::cpu {
namespace emulated {

constexpr LinearKernels kAvx512 = kVnniLinear<Avx512Vnni>;
constexpr LinearKernels kAmx = kAmxKernels<EmulatedTiles, kAvx512>;
constexpr LinearKernels kAvxVnni = kVnniLinear<AvxVnni>;

}  // namespace emulated

extern const RowKernels kEmulatedRows;  // Of emulated_rows.cc.

// In place of implementation.cc's.
const std::vector<Implementation>& implementations() {
  static const std::vector<Implementation> all = {
      {"amx (emulated)", [] { return true; }, &emulated::kAmx, &kEmulatedRows, &kAvx2Tiles},
      {"avx512-vnni (emulated)", [] { return true; }, &emulated::kAvx512, &kEmulatedRows,
       &kAvx2Tiles},
      {"avx-vnni (emulated)", [] { return true; }, &emulated::kAvxVnni, &kAvx2Rows, &kAvx2Tiles},
  };
  return all;
}

const Implementation* choose_implementation(const char*, std::string*) {
  return &implementations().front();
}

}  // namespace tramontane::cpu
