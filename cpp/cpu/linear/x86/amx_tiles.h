// The tile instructions that amx_panel.h uses. By name: compilers' intrinsics do not all say what
// memory they read.
#pragma once

#include <cstdint>

#include "base/inline.h"

namespace tramontane::cpu {

// As ldtilecfg reads it: rows and bytes of a row of each tile.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

struct Tiles {
  static void configure(const TileShapes& shapes) {
    __asm__ volatile("ldtilecfg %0" : : "m"(shapes) : "memory");
  }
  static void release() { __asm__ volatile("tilerelease"); }

  // Rows of a tile from kOffset bytes behind `rows` on, `stride` bytes apart.
  template <int kTile, int kOffset>
  TRAMONTANE_INLINE static void load(const void* rows, int64_t stride) {
    __asm__ volatile("tileloadd %c3(%0,%1,1), %%tmm%c2"
                     :
                     : "r"(rows), "r"(stride), "i"(kTile), "i"(kOffset)
                     : "memory");
  }
  template <int kTile>
  TRAMONTANE_INLINE static void store(void* rows, int64_t stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)"
                     :
                     : "r"(rows), "r"(stride), "i"(kTile)
                     : "memory");
  }
  template <int kTile>
  TRAMONTANE_INLINE static void zero() {
    __asm__ volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  // sums[m][n] += a[m][4 k + i] * b[k][4 n + i] for all k and i, signed bytes.
  template <int kSums, int kA, int kB>
  TRAMONTANE_INLINE static void dot() {
    __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kA), "i"(kB));
  }
};

}  // namespace tramontane::cpu
