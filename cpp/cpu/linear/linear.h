// Linear layers on one instruction set: the interface between the CPU backend, which splits the
// work among threads, and the kernels, which do a part of it.
//
// The arithmetic is one. Kernels of every instruction set give the same bits, those of the scalar
// ones: integers are exact, and all that rounds is done in the order that stands here. Only which
// NaN a NaN is, is not defined. Written as a * b, a product is rounded; fma(a, b, c) is a * b + c,
// rounded once.
//
// Quantized weights. Of 32 inputs each subgroup, 16 or 32 that share a scale, has an integer sum of
// (w - zero) * q, and one of q; where one subgroup is all, there is no second:
//
//   term   = sum 0 * scale 0
//   term   = fma(sum 1, scale 1, term)
//   term   = fma(offset, sum of q, term)             subgroup 0, then 1; of formats with offsets
//   total  = fma(term, activation scale, total)      32 inputs after 32, from 0 on
//
// Blocks of 32 whose one scale is alone (quant::kScaleAlone), and GPTQ, have no term, which would
// only wait for the sum:
//
//   total  = fma(sum, scale * activation scale, total)
//
// A scale of K-quants is d times a small integer n, which is exact. So is the sum times n, below
// 2^24: kernels may take sum * (d * n) as (sum * n) * d.
//
// Float weights, and decoded ones. Lane l of 8 begins with 0 and takes inputs l, l + 8, ... by
// lane = fma(w, x, lane), with zeros behind the last input; then halves of the lanes are added to
// halves, l and l + 4, l and l + 2, 0 and 1.
//
// Quantizing 32 activations. Their error at a level, and the sums for the scale, are taken so too:
//
//   error    by off = fma(-integer, magnitude / level, x), lane = fma(off, off, lane)
//   scale    magnitude / level * (product / square), lanes fma(x * (level / magnitude), integer,
//            lane) and fma(integer, integer, lane), integers rounded to nearest, ties to even
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/backend.h"

namespace tramontane::cpu {

// Integers from one row of quantized activations to the next. Rows of 4096 side by side would all
// lie in the same few sets of a cache.
constexpr int64_t quantized_stride(int32_t columns) { return int64_t{columns} + 64; }

// Rows of activations that share a layer input. The quantized form is value = scale * q, in blocks
// of 32 inputs; it is null where no weight at hand needs it (columns need not be a multiple of 32
// then).
struct Activations {
  int32_t rows, columns;
  const float* values;  // [rows][columns]
  const int8_t* q;      // [rows][quantized_stride(columns)] in [-127, 127]
  const float* scales;  // [rows][columns / 32]
  const int16_t* sums;  // [rows][columns / 16] of q
};

// GPTQ weights in the order that gptq.h explains; the activations that linear() meets are in it
// too, `columns` of them. linear_f32() takes the file's order, and does not look here.
struct GptqLayout {
  int32_t columns;              // A multiple of 32.
  const uint8_t* qweight;       // int32 [columns * bits / 32][rows], no alignment
  const int32_t* block_groups;  // [columns / 32] the group that 32 inputs belong to.
};

// out[r][o] (+)= sum over i of in[r][i] * weight[o][i], for all rows r and outputs o in
// [first, last). A row's result is the same to the bit whatever `in.rows`, `first` and `last` are.
struct LinearTask {
  const WeightData* weight;
  const Activations* in;
  int32_t first, last;
  float* out;  // [in.rows][stride]; output o of row r is out[r * stride + o]
  int64_t stride;
  bool add;          // Adds to what is there.
  uint8_t* scratch;  // scratch_bytes() long, aligned to 64, of the calling thread alone.
  const GptqLayout* gptq = nullptr;  // Of a GPTQ weight, for linear().
};

// A block's largest activation becomes one of the kLevels largest integers, whichever leaves the
// least squared error over the block; the scale is then fitted to the integers by least squares.
// Against a plain 127 that is 6 to 11% less noise (normal, Laplace and outlier-ridden blocks), and
// 20% less squared error in the reference logits, for a few hundredths of a layer's time.
constexpr int kLargestLevel = 127, kLevels = 6;

struct LinearKernels {
  // Quantizes one row of activations; columns is a multiple of 32.
  void (*quantize)(const float* values, int32_t columns, int8_t* q, float* scales, int16_t* sums);
  // Quantized formats by their quantized activations, F32, F16 and BF16 by the f32 ones.
  void (*linear)(const LinearTask& task);
  // Weights decoded to f32, f32 activations.
  void (*linear_f32)(const LinearTask& task);
  // Scratch one thread needs for a weight with so many columns (the layout's where those are more)
  // and so many rows of activations.
  size_t (*scratch_bytes)(int32_t columns, int32_t rows);
  // Outputs a split among threads should be a multiple of.
  int32_t output_granularity;
};

extern const LinearKernels kScalarLinear;
#if defined(__x86_64__) || defined(_M_X64)
extern const LinearKernels kAvx2Linear;
extern const LinearKernels kAvx512VnniLinear;
extern const LinearKernels* const kAmxLinear;      // Null where the compiler does not know it.
extern const LinearKernels* const kAvxVnniLinear;  // Null where the compiler does not know it.
#elif defined(__aarch64__) || defined(_M_ARM64)
extern const LinearKernels* const kNeonI8mmLinear;  // As well; null on Windows too.
extern const LinearKernels* const kNeonDotLinear;   // As well.
#endif

}  // namespace tramontane::cpu
