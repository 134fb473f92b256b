// The product of packed matrices for any vector of floats:
//
//   Vector::kLanes, zero, load, store, broadcast, multiply_add
#pragma once

#include "cpu/products/tiles.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// kRows rows by kVectors vectors of columns, all in registers.
template <class Vector, int kRows, int kVectors>
TRAMONTANE_INLINE void multiply_tile(const float* a, const float* b, int32_t depth, float* out,
                                     int64_t stride, bool add) {
  using Floats = typename Vector::Floats;
  constexpr int kLanes = Vector::kLanes;
  Floats sums[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = add ? Vector::load(out + r * stride + v * kLanes) : Vector::zero();
    }
  }
  for (int32_t k = 0; k < depth; ++k) {
    Floats columns[kVectors];
    for (int v = 0; v < kVectors; ++v) columns[v] = Vector::load(b + v * kLanes);
    for (int r = 0; r < kRows; ++r) {
      const Floats row = Vector::broadcast(a[r]);
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = Vector::multiply_add(row, columns[v], sums[r][v]);
      }
    }
    a += kRows;
    b += kVectors * kLanes;
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) Vector::store(out + r * stride + v * kLanes, sums[r][v]);
  }
}

// A panel of b stays in the first cache while the panels of a pass by.
template <class Vector, int kRows, int kVectors>
void multiply_tiles(const TileTask& task) {
  constexpr int kColumns = kVectors * Vector::kLanes;
  static_assert(kRows <= kMostTileRows && kColumns <= kMostTileColumns);
  for (int32_t j = 0; j < task.columns; j += kColumns) {
    const float* b = task.b + int64_t{j} * task.depth;
    const int32_t columns = std::min(kColumns, task.columns - j);
    for (int32_t i = 0; i < task.rows; i += kRows) {
      const float* a = task.a + int64_t{i} * task.depth;
      const int32_t rows = std::min(kRows, task.rows - i);
      float* out = task.out + i * task.stride + j;
      if (rows == kRows && columns == kColumns) {
        multiply_tile<Vector, kRows, kVectors>(a, b, task.depth, out, task.stride, task.add);
        continue;
      }
      alignas(64) float edge[kRows * kColumns] = {};
      for (int32_t r = 0; task.add && r < rows; ++r) {
        std::copy_n(out + r * task.stride, columns, edge + r * kColumns);
      }
      multiply_tile<Vector, kRows, kVectors>(a, b, task.depth, edge, kColumns, task.add);
      for (int32_t r = 0; r < rows; ++r) {
        std::copy_n(edge + r * kColumns, columns, out + r * task.stride);
      }
    }
  }
}

template <class Vector, int kRows, int kVectors>
constexpr TileKernels tile_kernels() {
  return {kRows, kVectors * Vector::kLanes, multiply_tiles<Vector, kRows, kVectors>};
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
