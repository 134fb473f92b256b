#if defined(__x86_64__) || defined(_M_X64)

#define TRAMONTANE_TARGET avx2
#include "cpu/products/multiply_tiles.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu {
namespace TRAMONTANE_TARGET {
namespace {

struct Eight {
  using Floats = __m256;
  static constexpr int kLanes = 8;
  TRAMONTANE_INLINE static Floats zero() { return _mm256_setzero_ps(); }
  TRAMONTANE_INLINE static Floats load(const float* p) { return _mm256_loadu_ps(p); }
  TRAMONTANE_INLINE static void store(float* p, Floats x) { _mm256_storeu_ps(p, x); }
  TRAMONTANE_INLINE static Floats broadcast(float x) { return _mm256_set1_ps(x); }
  TRAMONTANE_INLINE static Floats multiply_add(Floats a, Floats b, Floats sum) {
    return _mm256_fmadd_ps(a, b, sum);
  }
};

}  // namespace
}  // namespace TRAMONTANE_TARGET

// Of 16 registers, 12 are sums.
const TileKernels kAvx2Tiles = TRAMONTANE_TARGET::tile_kernels<TRAMONTANE_TARGET::Eight, 6, 2>();

}  // namespace tramontane::cpu

#include "cpu/target/end.h"

#endif
