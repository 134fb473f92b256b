// The tile instructions of cpp/cpu/linear/x86/amx_tiles.h on any machine. What the processor would
// fault on ends the test.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cpu/linear/x86/amx_tiles.h"

namespace tramontane::cpu {

class EmulatedTiles {
 public:
  static void configure(const TileShapes& shapes) {
    require(shapes.palette == 1 && shapes.start_row == 0);
    for (int tile = 0; tile < kTiles; ++tile) {
      require(shapes.rows[tile] <= kRows && shapes.row_bytes[tile] <= kRowBytes);
    }
    state() = {true, shapes, {}};
  }
  static void release() { state() = {}; }

  template <int kTile, int kOffset>
  static void load(const void* rows, int64_t stride) {
    auto& tile = state().tiles[check<kTile>()];
    std::memset(tile, 0, sizeof tile);
    for (int row = 0; row < state().shapes.rows[kTile]; ++row) {
      std::memcpy(tile[row], static_cast<const uint8_t*>(rows) + kOffset + row * stride,
                  state().shapes.row_bytes[kTile]);
    }
  }

  template <int kTile>
  static void store(void* rows, int64_t stride) {
    auto& tile = state().tiles[check<kTile>()];
    for (int row = 0; row < state().shapes.rows[kTile]; ++row) {
      std::memcpy(static_cast<uint8_t*>(rows) + row * stride, tile[row],
                  state().shapes.row_bytes[kTile]);
    }
  }

  template <int kTile>
  static void zero() {
    auto& tile = state().tiles[check<kTile>()];
    std::memset(tile, 0, sizeof tile);
  }

  template <int kSums, int kA, int kB>
  static void dot() {
    const TileShapes& shapes = state().shapes;
    auto& sums = state().tiles[check<kSums>()];
    const auto& a = state().tiles[check<kA>()];
    const auto& b = state().tiles[check<kB>()];
    require(kSums != kA && kSums != kB && kA != kB);
    require(shapes.rows[kSums] == shapes.rows[kA] &&
            shapes.row_bytes[kSums] == shapes.row_bytes[kB] &&
            shapes.row_bytes[kA] == 4 * shapes.rows[kB] && shapes.row_bytes[kSums] % 4 == 0);
    for (int m = 0; m < shapes.rows[kSums]; ++m) {
      for (int n = 0; n < shapes.row_bytes[kSums] / 4; ++n) {
        int32_t sum;
        std::memcpy(&sum, &sums[m][4 * n], sizeof sum);
        for (int k = 0; k < shapes.rows[kB]; ++k) {
          for (int i = 0; i < 4; ++i) {
            sum += static_cast<int8_t>(a[m][4 * k + i]) * static_cast<int8_t>(b[k][4 * n + i]);
          }
        }
        std::memcpy(&sums[m][4 * n], &sum, sizeof sum);
      }
    }
  }

 private:
  static constexpr int kTiles = 8, kRows = 16, kRowBytes = 64;
  struct State {
    bool configured;
    TileShapes shapes;
    uint8_t tiles[kTiles][kRows][kRowBytes];
  };

  static State& state() {
    static thread_local State state;
    return state;
  }
  static void require(bool holds) {
    if (holds) return;
    std::fprintf(stderr, "a tile instruction that the processor would not take\n");
    std::abort();
  }
  template <int kTile>
  static int check() {
    static_assert(kTile >= 0 && kTile < kTiles);
    require(state().configured && state().shapes.rows[kTile] > 0);
    return kTile;
  }
};

}  // namespace tramontane::cpu
