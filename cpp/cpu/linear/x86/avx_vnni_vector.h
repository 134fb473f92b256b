// AVX-VNNI, dpbusd for AVX2's registers, as the templates of vnni.h use it.
#pragma once

#include "cpu/linear/x86/vnni.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

struct AvxVnni {
  using Vector = Eight;
  static constexpr int kTileRows = 6;  // 12 of 16 registers are sums.

  TRAMONTANE_INLINE static __m256i dot(__m256i sum, __m256i w, __m256i a) {
    return _mm256_dpbusd_avx_epi32(sum, w, a);
  }
  template <class T>
  TRAMONTANE_INLINE static void pin(T& x) {
    pin_vector(x);
  }
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
