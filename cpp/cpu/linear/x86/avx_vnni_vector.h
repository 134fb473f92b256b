// AVX-VNNI, dpbusd for AVX2's registers, as the templates of linear_vnni.h use it. Included by
// linear_avx_vnni.cc inside its target pragma.
#pragma once

#include "cpu/linear/x86/vnni.h"

namespace tramontane::cpu {
namespace {

struct AvxVnni {
  using Vector = Eight;
  static constexpr int kTileRows = 6;  // 12 of 16 registers are sums.

  TRAMONTANE_INLINE static __m256i dot(__m256i sum, __m256i w, __m256i a) {
    return _mm256_dpbusd_avx_epi32(sum, w, a);
  }
  template <class T>
  TRAMONTANE_INLINE static void pin(T& x) {
    cpu::pin(x);
  }
};

}  // namespace
}  // namespace tramontane::cpu
