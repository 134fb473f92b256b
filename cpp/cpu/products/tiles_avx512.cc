#if defined(__x86_64__) || defined(_M_X64)

#define TRAMONTANE_TARGET avx512_vnni
#include "cpu/products/multiply_tiles.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu {
namespace TRAMONTANE_TARGET {
namespace {

struct Sixteen {
  using Floats = __m512;
  static constexpr int kLanes = 16;
  TRAMONTANE_INLINE static Floats zero() { return _mm512_setzero_ps(); }
  TRAMONTANE_INLINE static Floats load(const float* p) { return _mm512_loadu_ps(p); }
  TRAMONTANE_INLINE static void store(float* p, Floats x) { _mm512_storeu_ps(p, x); }
  TRAMONTANE_INLINE static Floats broadcast(float x) { return _mm512_set1_ps(x); }
  TRAMONTANE_INLINE static Floats multiply_add(Floats a, Floats b, Floats sum) {
    return _mm512_fmadd_ps(a, b, sum);
  }
};

}  // namespace
}  // namespace TRAMONTANE_TARGET

// Of 32 registers, 16 are sums: two FMAs a cycle of four cycles each need eight, and adapters of
// rank 8 and 16 fill whole tiles.
const TileKernels kAvx512Tiles =
    TRAMONTANE_TARGET::tile_kernels<TRAMONTANE_TARGET::Sixteen, 8, 2>();

}  // namespace tramontane::cpu

#include "cpu/target/end.h"

#endif
