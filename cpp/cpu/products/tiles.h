// Products of f32 matrices on one instruction set: what training computes with. Inference has
// kernels of its own (cpu/linear), which read the weights' blocks in place for few rows.
#pragma once

#include <cstdint>

namespace tramontane::cpu {

// out[i][j] (+)= sum over k of a[i][k] * b[k][j], products added in ascending order of k, one after
// the other: a result is the same to the bit however a product is cut into tasks, in any of its
// three directions.
struct TileTask {
  const float* a;  // [rows / TileKernels::rows][depth][TileKernels::rows], padded with zeros
  const float* b;  // [columns / TileKernels::columns][depth][TileKernels::columns], padded too
  int32_t rows, columns, depth;
  float* out;  // [rows][stride]
  int64_t stride;
  bool add;  // Goes on from what is there.
};

struct TileKernels {
  int32_t rows, columns;  // Of the tile that stays in registers.
  void (*multiply)(const TileTask& task);
};

// The largest tile of all implementations.
constexpr int32_t kMostTileRows = 8, kMostTileColumns = 32;

extern const TileKernels kScalarTiles;
#if defined(__x86_64__) || defined(_M_X64)
extern const TileKernels kAvx2Tiles;
extern const TileKernels kAvx512Tiles;
#elif defined(__aarch64__) || defined(_M_ARM64)
extern const TileKernels kNeonTiles;
#endif

}  // namespace tramontane::cpu
