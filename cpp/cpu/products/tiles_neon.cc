#if defined(__aarch64__) || defined(_M_ARM64)

#define TRAMONTANE_TARGET baseline
#include "cpu/products/multiply_tiles.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu {
namespace TRAMONTANE_TARGET {
namespace {

struct Four {
  using Floats = float32x4_t;
  static constexpr int kLanes = 4;
  TRAMONTANE_INLINE static Floats zero() { return vdupq_n_f32(0); }
  TRAMONTANE_INLINE static Floats load(const float* p) { return vld1q_f32(p); }
  TRAMONTANE_INLINE static void store(float* p, Floats x) { vst1q_f32(p, x); }
  TRAMONTANE_INLINE static Floats broadcast(float x) { return vdupq_n_f32(x); }
  TRAMONTANE_INLINE static Floats multiply_add(Floats a, Floats b, Floats sum) {
    return vfmaq_f32(sum, a, b);
  }
};

}  // namespace
}  // namespace TRAMONTANE_TARGET

// Of 32 registers, 16 are sums.
const TileKernels kNeonTiles = TRAMONTANE_TARGET::tile_kernels<TRAMONTANE_TARGET::Four, 8, 2>();

}  // namespace tramontane::cpu

#include "cpu/target/end.h"

#endif
