// AVX-512 with VNNI as the templates of vnni.h use it.
#pragma once

#include "cpu/linear/x86/avx512_unpack.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

struct Avx512Vnni {
  using Vector = Sixteen;
  static constexpr int kTileRows = 6;  // 12 of 32 registers are sums: see vnni_panel.h.

  TRAMONTANE_INLINE static __m512i dot(__m512i sum, __m512i w, __m512i a) {
    return _mm512_dpbusd_epi32(sum, w, a);
  }
  // As pin_vector() of avx2_dot.h, in any of the 32 registers.
  template <class T>
  TRAMONTANE_INLINE static void pin([[maybe_unused]] T& x) {
#if defined(__AVX512F__)
    __asm__("" : "+v"(x));
#endif
  }
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
