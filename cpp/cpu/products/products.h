// Products of f32 matrices, and of f32 with weights in any format, over the threads of a model. A
// sum's order is fixed: neither threads nor the size of a matrix change a bit of it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "cpu/backend/workers.h"
#include "cpu/products/tiles.h"
#include "quant/weight.h"

namespace tramontane::cpu {

// A matrix in memory: element (i, j) is data[i * row_stride + j * column_stride].
struct MatrixView {
  const float* data;
  int64_t row_stride, column_stride;

  MatrixView transposed() const { return {data, column_stride, row_stride}; }
};
inline MatrixView rows_of(const float* data, int64_t width) { return {data, width, 1}; }

struct ProductSize {
  int32_t rows, columns, depth;
};

// Where a product goes: [rows][stride].
struct ProductOut {
  float* data;
  int64_t stride;
  bool add = false;  // To what is there.
};

// One thread's product, without others.
class ThreadProducts {
 public:
  explicit ThreadProducts(const TileKernels& kernels) : kernels_(kernels) {}

  // out (+)= a [rows][depth] * b [depth][columns]
  void multiply(const MatrixView& a, const MatrixView& b, const ProductSize& size,
                const ProductOut& out);

 private:
  const TileKernels& kernels_;
  AlignedBuffer<float> a_, b_;
};

class Products {
 public:
  Products(const TileKernels& kernels, const Workers& workers);

  // out (+)= a [rows][depth] * b [depth][columns]
  void multiply(const MatrixView& a, const MatrixView& b, const ProductSize& size,
                const ProductOut& out);

  // out [rows][weight.rows] (+)= in [rows][weight.columns] * weight^T
  void forward(const float* in, int32_t rows, const WeightData& weight, float* out, bool add);
  // d_in [rows][weight.columns] (+)= d_out [rows][weight.rows] * weight
  void backward(const float* d_out, int32_t rows, const WeightData& weight, float* d_in, bool add);

 private:
  struct Scratch {
    AlignedBuffer<float> panels, decoded, sums;
  };
  template <typename PackB>
  void run(const MatrixView& a, const ProductSize& size, const ProductOut& out, PackB pack_b);

  const TileKernels& kernels_;
  const Workers& workers_;
  AlignedBuffer<float> a_;
  std::vector<Scratch> scratch_;  // One a thread.
};

}  // namespace tramontane::cpu
