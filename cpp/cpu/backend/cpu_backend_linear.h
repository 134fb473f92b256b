// Linear layers over the threads of a model: quantizes what they share once, and splits outputs.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "backend/rules.h"
#include "base/aligned_buffer.h"
#include "cpu/backend/cpu_backend_weights.h"
#include "cpu/backend/workers.h"
#include "cpu/linear/linear.h"

namespace tramontane::cpu {

struct LinearOutput {
  const Matrix* matrix;
  float* out;  // [rows][matrix->data.rows]
};

struct OutputRange {
  int32_t first, last;  // The last is not in it.
};

// What thread `thread` of `threads` begins with, of a product with so many outputs: multiples of
// `granularity`, where that is possible. Weights of one format and width have equal bytes.
OutputRange part_of(int32_t outputs, int thread, int threads, int32_t granularity);

class LinearLayers {
 public:
  LinearLayers(const LinearKernels& kernels, Compute compute, const Workers& workers);

  // out (+)= in * matrix^T for one to kMaxProjections weights that share their input,
  // in [rows][columns]. Throws std::bad_alloc.
  void run(const LinearOutput* outputs, int32_t count, const float* in, int32_t rows, bool add);

 private:
  // Activations in int8, in the order of some weights' inputs.
  struct Quantized {
    AlignedBuffer<int8_t> q;
    AlignedBuffer<float> scales;
    AlignedBuffer<int16_t> sums;
  };
  // What a thread needs for itself.
  struct Scratch {
    AlignedBuffer<uint8_t> kernel;
    AlignedBuffer<float> permuted;
  };

  // Outputs of one of the products of a run.
  struct Piece {
    int32_t product;
    OutputRange outputs;
  };

  Activations quantize(const Matrix& matrix, const float* in, int32_t rows, Quantized& quantized);

  const LinearKernels& kernels_;
  const Compute compute_;
  const Workers& workers_;
  std::array<Quantized, kMaxProjections> quantized_;
  std::vector<Scratch> scratch_;  // One a thread.
  std::vector<Piece> pieces_;     // Thread by thread.
};

}  // namespace tramontane::cpu
