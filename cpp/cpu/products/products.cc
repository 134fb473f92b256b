#include "cpu/products/products.h"

#include <algorithm>
#include <cstring>

#include "cpu/products/weight_tile.h"

namespace tramontane::cpu {
namespace {

// Of a product's depth and of its columns, what is packed at a time: 256 KiB of b, which the second
// cache holds beside as much of a for 256 rows.
constexpr int32_t kDepth = kWeightTile, kStrip = kWeightTile;

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Panels of `width` rows of `view`, from `first` on: out [panels][depth][width], padded with zeros.
void pack(const MatrixView& view, int32_t first, int32_t rows, int32_t first_k, int32_t depth,
          int32_t width, float* out) {
  for (int32_t panel = 0; panel < rows; panel += width) {
    const int32_t present = std::min(width, rows - panel);
    const float* from =
        view.data + int64_t{first + panel} * view.row_stride + first_k * view.column_stride;
    for (int32_t k = 0; k < depth; ++k) {
      for (int32_t i = 0; i < present; ++i) out[i] = from[i * view.row_stride];
      for (int32_t i = present; i < width; ++i) out[i] = 0;
      from += view.column_stride;
      out += width;
    }
  }
}

// As pack(), where a panel's rows lie side by side in each of `depth` lines.
void pack_lines(const float* from, int64_t stride, int32_t rows, int32_t depth, int32_t width,
                float* out) {
  for (int32_t panel = 0; panel < rows; panel += width) {
    const int32_t present = std::min(width, rows - panel);
    for (int32_t k = 0; k < depth; ++k) {
      std::memcpy(out, from + k * stride + panel, static_cast<size_t>(present) * sizeof(float));
      std::fill(out + present, out + width, 0.0f);
      out += width;
    }
  }
}

// b^T in panels: columns [first, first + columns) of b.
void pack_columns(const MatrixView& b, int32_t first, int32_t columns, int32_t first_k,
                  int32_t depth, int32_t width, float* out) {
  if (b.column_stride == 1) {
    pack_lines(b.data + first_k * b.row_stride + first, b.row_stride, columns, depth, width, out);
  } else {
    pack(b.transposed(), first, columns, first_k, depth, width, out);
  }
}

}  // namespace

void ThreadProducts::multiply(const MatrixView& a, const MatrixView& b, const ProductSize& size,
                              const ProductOut& out) {
  a_.reserve(static_cast<size_t>(round_up(size.rows, kernels_.rows) * kDepth));
  b_.reserve(static_cast<size_t>(round_up(kStrip, kernels_.columns) * kDepth));
  for (int32_t k = 0; k < size.depth; k += kDepth) {
    const int32_t depth = std::min(kDepth, size.depth - k);
    pack(a, 0, size.rows, k, depth, kernels_.rows, a_.data());
    for (int32_t j = 0; j < size.columns; j += kStrip) {
      const int32_t columns = std::min(kStrip, size.columns - j);
      pack_columns(b, j, columns, k, depth, kernels_.columns, b_.data());
      kernels_.multiply({a_.data(), b_.data(), size.rows, columns, depth, out.data + j, out.stride,
                         out.add || k > 0});
    }
  }
}

Products::Products(const TileKernels& kernels, const Workers& workers)
    : kernels_(kernels), workers_(workers), scratch_(static_cast<size_t>(workers.threads())) {}

// pack_b(first column, columns, first of depth, depth, scratch) fills scratch.panels.
template <typename PackB>
void Products::run(const MatrixView& a, const ProductSize& size, const ProductOut& out,
                   PackB pack_b) {
  const double work = static_cast<double>(size.rows) * size.columns * size.depth;
  const int64_t padded = round_up(size.rows, kernels_.rows);
  a_.reserve(static_cast<size_t>(padded * size.depth));
  const int32_t depths = (size.depth + kDepth - 1) / kDepth;
  workers_.run(depths, work, [&](int32_t piece, int) {
    const int32_t k = piece * kDepth;
    pack(a, 0, size.rows, k, std::min(kDepth, size.depth - k), kernels_.rows,
         a_.data() + k * padded);
  });
  const int32_t strips = (size.columns + kStrip - 1) / kStrip;
  workers_.run(strips, work, [&](int32_t strip, int thread) {
    Scratch& scratch = scratch_[static_cast<size_t>(thread)];
    scratch.panels.reserve(static_cast<size_t>(round_up(kStrip, kernels_.columns) * kDepth));
    // Sums are made in lines without gaps: in rows of 4096 all lines of a strip would lie in the
    // same few sets of a cache.
    scratch.sums.reserve(static_cast<size_t>(size.rows) * kStrip);
    float* sums = scratch.sums.data();  // [rows][kStrip]
    const int32_t first = strip * kStrip, columns = std::min(kStrip, size.columns - first);
    for (int64_t row = 0; out.add && row < size.rows; ++row) {
      std::copy_n(out.data + row * out.stride + first, columns, sums + row * kStrip);
    }
    for (int32_t k = 0; k < size.depth; k += kDepth) {
      const int32_t depth = std::min(kDepth, size.depth - k);
      pack_b(first, columns, k, depth, scratch);
      kernels_.multiply({a_.data() + k * padded, scratch.panels.data(), size.rows, columns, depth,
                         sums, kStrip, out.add || k > 0});
    }
    for (int64_t row = 0; row < size.rows; ++row) {
      std::copy_n(sums + row * kStrip, columns, out.data + row * out.stride + first);
    }
  });
}

void Products::multiply(const MatrixView& a, const MatrixView& b, const ProductSize& size,
                        const ProductOut& out) {
  run(a, size, out,
      [&](int32_t first, int32_t columns, int32_t k, int32_t depth, Scratch& scratch) {
        pack_columns(b, first, columns, k, depth, kernels_.columns, scratch.panels.data());
      });
}

void Products::forward(const float* in, int32_t rows, const WeightData& weight, float* out,
                       bool add) {
  const auto pack_b = [&](int32_t first, int32_t columns, int32_t k, int32_t depth,
                          Scratch& scratch) {
    scratch.decoded.reserve(size_t{kWeightTile} * kWeightTile);
    decode_weight_tile(weight, {first, columns, k, depth}, scratch.decoded.data());
    pack(rows_of(scratch.decoded.data(), kWeightTile), 0, columns, 0, depth, kernels_.columns,
         scratch.panels.data());
  };
  run(rows_of(in, weight.columns), {rows, weight.rows, weight.columns}, {out, weight.rows, add},
      pack_b);
}

void Products::backward(const float* d_out, int32_t rows, const WeightData& weight, float* d_in,
                        bool add) {
  const auto pack_b = [&](int32_t first, int32_t columns, int32_t k, int32_t depth,
                          Scratch& scratch) {
    scratch.decoded.reserve(size_t{kWeightTile} * kWeightTile);
    decode_weight_tile(weight, {k, depth, first, columns}, scratch.decoded.data());
    pack_lines(scratch.decoded.data(), kWeightTile, columns, depth, kernels_.columns,
               scratch.panels.data());
  };
  run(rows_of(d_out, weight.rows), {rows, weight.columns, weight.rows}, {d_in, weight.columns, add},
      pack_b);
}

}  // namespace tramontane::cpu
