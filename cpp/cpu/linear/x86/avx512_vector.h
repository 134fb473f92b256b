// AVX-512 with VNNI as the templates of linear_vnni.h use it. Included by linear_avx512.cc inside
// its target pragma.
#pragma once

#include "cpu/linear/x86/avx512_unpack.h"

namespace tramontane::cpu {
namespace {

struct Avx512Vnni {
  using Vector = Sixteen;
  static constexpr int kTileRows = 6;  // 12 of 32 registers are sums: see linear_vnni_panel.h.

  TRAMONTANE_INLINE static __m512i dot(__m512i sum, __m512i w, __m512i a) {
    return _mm512_dpbusd_epi32(sum, w, a);
  }
  // As pin() of linear_avx2_dot.h, in any of the 32 registers.
  template <class T>
  TRAMONTANE_INLINE static void pin([[maybe_unused]] T& x) {
#if defined(__AVX512F__)
    __asm__("" : "+v"(x));
#endif
  }
};

}  // namespace
}  // namespace tramontane::cpu
