// Linear layers on one instruction set: the interface between the CPU backend, which splits the
// work among threads, and the kernels, which do a part of it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/backend.h"

namespace tramontane::cpu {

// Rows of activations that share a layer input. The quantized form is value = scale * q, in blocks
// of 32 inputs; it is null where no weight at hand needs it (columns need not be a multiple of 32
// then).
struct Activations {
  int32_t rows, columns;
  const float* values;   // [rows][columns]
  const int8_t* q;       // [rows][columns] in [-127, 127]
  const float* scales;   // [rows][columns / 32]
  const int16_t* sums;   // [rows][columns / 16] of q
};

// out[r][o] (+)= sum over i of in[r][i] * weight[o][i], for all rows r and outputs o in
// [first, last). A row's result is the same to the bit whatever `in.rows`, `first` and `last` are.
struct LinearTask {
  const WeightData* weight;
  const Activations* in;
  int32_t first, last;
  float* out;            // [in.rows][stride]; output o of row r is out[r * stride + o]
  int64_t stride;
  bool add;              // Adds to what is there.
  uint8_t* scratch;      // scratch_bytes() long, aligned to 64, of the calling thread alone.
};

struct LinearKernels {
  // Quantizes one row of activations; columns is a multiple of 32.
  void (*quantize)(const float* values, int32_t columns, int8_t* q, float* scales, int16_t* sums);
  // Quantized formats by their quantized activations, F32, F16 and BF16 by the f32 ones.
  void (*linear)(const LinearTask& task);
  // Weights decoded to f32, f32 activations.
  void (*linear_f32)(const LinearTask& task);
  // Scratch one thread needs for a weight with so many columns and so many rows of activations.
  size_t (*scratch_bytes)(int32_t columns, int32_t rows);
  // Outputs a split among threads should be a multiple of.
  int32_t output_granularity;
};

extern const LinearKernels kScalarLinear;
#if defined(__x86_64__) || defined(_M_X64)
extern const LinearKernels kAvx2Linear;
#endif

}  // namespace tramontane::cpu
