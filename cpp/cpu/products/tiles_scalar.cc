#define TRAMONTANE_TARGET baseline
#include "cpu/products/multiply_tiles.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu {
namespace TRAMONTANE_TARGET {
namespace {

struct One {
  using Floats = float;
  static constexpr int kLanes = 1;
  static Floats zero() { return 0; }
  static Floats load(const float* p) { return *p; }
  static void store(float* p, Floats x) { *p = x; }
  static Floats broadcast(float x) { return x; }
  static Floats multiply_add(Floats a, Floats b, Floats sum) { return a * b + sum; }
};

}  // namespace
}  // namespace TRAMONTANE_TARGET

const TileKernels kScalarTiles = TRAMONTANE_TARGET::tile_kernels<TRAMONTANE_TARGET::One, 4, 8>();

}  // namespace tramontane::cpu

#include "cpu/target/end.h"
