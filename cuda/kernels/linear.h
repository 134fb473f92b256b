// Linear layers: out = in * weight^T for one to three weights that share an input.
#pragma once

#include "backend/backend.h"
#include "device/weights.h"

namespace tramontane::cuda {

constexpr int kMaxDotRows = 8;  // Rows the dot kernels take; more go through tiles.

struct LinearTask {
  Weight weights[kMaxProjections];  // [rows][columns], all of one format
  float* outs[kMaxProjections];     // [rows of activations][weight.rows]
  int count;
  int rows;     // Rows of activations; the buffers have room for a multiple of kMaxDotRows.
  bool add;     // Adds to what is in outs.
  bool swiglu;  // Two weights, gate and up: outs[0] = silu(gate) * up. Dot kernels only.
  QuantizedRows quantized;  // For the quantized formats,
  const float* values;      // for F32, F16 and BF16: [rows][columns].
};

// One row to eight: a warp computes an output, reading its weights once. Quantized formats.
void dot(Format format, int gptq_bits, const LinearTask& task, cudaStream_t stream);
// Any number of rows, int8 tensor cores. Quantized formats.
void tiles(Format format, int gptq_bits, const LinearTask& task, cudaStream_t stream);
// Any number of rows, f32 activations. F32, F16 and BF16.
void dot_float(Format format, const LinearTask& task, cudaStream_t stream);

}  // namespace tramontane::cuda
