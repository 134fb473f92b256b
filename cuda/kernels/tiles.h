// The tile kernel: int8 tensor cores; a template over the format, instantiated by tiles_*.cu.
//
// A block computes kTokens rows by 64 outputs, 64 inputs a step. Activations come by asynchronous
// copies, three stages deep; weights are loaded to registers one step ahead, unpacked to signed
// bytes and stored to the other of two buffers. One barrier a step:
//
//   barrier k        tokens of step k and weights of step k are there; nobody reads step k-1
//   start copies     of step k+2, to the stage of step k-1
//   multiply         step k
//   store weights    of step k+1, to the buffer of step k-1
#pragma once

#include "device/load.h"
#include "kernels/linear.h"

namespace tramontane::cuda {

constexpr int kTileThreads = 128;
constexpr int kTileOutputs = 64;
constexpr int kTileInputs = 64;
constexpr int kTileGroups = kTileInputs / kGroup;
constexpr int kTileStages = 3;
constexpr int kTilePitch = kTileInputs + 16;  // Rows of a fragment fall into different banks.

struct WeightScale {
  float scale[2], offset[2];
};

template <int kTokens>
struct TileShared {
  alignas(16) int8_t weights[2][kTileOutputs][kTilePitch];
  alignas(16) int8_t tokens[kTileStages][kTokens][kTilePitch];
  alignas(16) WeightScale weight_scales[2][kTileGroups][kTileOutputs];
  alignas(16) ActivationScale token_scales[kTileStages][kTokens][kTileGroups];
};

// One thread's part of the tile: 32 weights of one output.
template <class F>
struct WeightLoader {
  const Weight& weight;
  const int output;  // In the tile,
  const int group;   // and of the step's groups.
  const int first;   // Output of the weight that is the tile's first.
  Group loaded;

  __device__ __forceinline__ WeightLoader(const Weight& weight, int first)
      : weight(weight),
        output(static_cast<int>(threadIdx.x) / kTileGroups),
        group(static_cast<int>(threadIdx.x) % kTileGroups),
        first(first) {}

  __device__ __forceinline__ void load_step(int step) {
    const int b = step * kTileGroups + group;
    if (b < weight.columns / kGroup && first + output < weight.rows) {
      loaded = load<F>(weight, first + output, b);
#pragma unroll
      for (int k = 0; k < 8; ++k) loaded.q[k] = signed_codes<F>(loaded.q[k]);
    } else {
#pragma unroll
      for (int k = 0; k < 8; ++k) loaded.q[k] = 0;
      set_scale(loaded, 0.0f);
    }
  }

  template <int kTokens>
  __device__ __forceinline__ void store_step(int step, TileShared<kTokens>& s) const {
    uint4* to = reinterpret_cast<uint4*>(&s.weights[step % 2][output][group * kGroup]);
    to[0] = make_uint4(loaded.q[0], loaded.q[1], loaded.q[2], loaded.q[3]);
    to[1] = make_uint4(loaded.q[4], loaded.q[5], loaded.q[6], loaded.q[7]);
    WeightScale& scale = s.weight_scales[step % 2][group][output];
    scale = {{loaded.scale[0], loaded.scale[1]}, {loaded.offset[0], loaded.offset[1]}};
  }
};

// Starts the copies of a step's activations; rows and inputs behind the end are zeros.
template <int kTokens>
__device__ __forceinline__ void copy_tokens(const LinearTask& task, int columns, int first,
                                            int step, TileShared<kTokens>& s) {
  const int stage = step % kTileStages, groups = columns / kGroup;
  constexpr int kPieces = kTileInputs / 16;
  for (int i = static_cast<int>(threadIdx.x); i < kTokens * kPieces; i += kTileThreads) {
    const int token = i / kPieces, input = step * kTileInputs + i % kPieces * 16;
    const bool valid = first + token < task.rows && input < columns;
    const int64_t from = valid ? static_cast<int64_t>(first + token) * columns + input : 0;
    copy_async16(&s.tokens[stage][token][i % kPieces * 16], task.quantized.q + from, valid);
  }
  for (int i = static_cast<int>(threadIdx.x); i < kTokens * kTileGroups; i += kTileThreads) {
    const int token = i / kTileGroups, b = step * kTileGroups + i % kTileGroups;
    const bool valid = first + token < task.rows && b < groups;
    const int64_t from = valid ? static_cast<int64_t>(first + token) * groups + b : 0;
    copy_async8(&s.token_scales[stage][token][i % kTileGroups], task.quantized.scales + from,
                valid);
  }
  commit_copies();
}

// A warp's part: kM tiles of 16 tokens by kN tiles of 8 outputs.
template <class F, int kTokens, int kM, int kN>
__device__ __forceinline__ void multiply_step(const TileShared<kTokens>& s, int step,
                                              int first_token, int first_output,
                                              float (&sums)[kM][kN][4]) {
  const int lane = static_cast<int>(threadIdx.x % 32), buffer = step % 2;
  const int stage = step % kTileStages;
#pragma unroll
  for (int g = 0; g < kTileGroups; ++g) {
    uint32_t b[kN / 2][4];
#pragma unroll
    for (int n = 0; n < kN / 2; ++n) {
      const int output = first_output + n * 16 + (lane >> 4) * 8 + (lane & 7);
      ldmatrix_x4(b[n], &s.weights[buffer][output][g * kGroup + (lane >> 3 & 1) * 16]);
    }
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      const int token = first_token + m * 16;
      uint32_t a[4];
      ldmatrix_x4(a, &s.tokens[stage][token + (lane & 15)][g * kGroup + (lane >> 4) * 16]);
      const ActivationScale scales[2] = {s.token_scales[stage][token + (lane >> 2)][g],
                                         s.token_scales[stage][token + (lane >> 2) + 8][g]};
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        const uint32_t columns[2] = {b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]};
        const WeightScale* weights =
            &s.weight_scales[buffer][g][first_output + n * 8 + (lane & 3) * 2];
        int products[2][4] = {};
        if constexpr (F::kHalves) {
          mma_s8_k16(products[0], a[0], a[1], columns[0]);
          mma_s8_k16(products[1], a[2], a[3], columns[1]);
        } else {
          mma_s8_k32(products[0], a, columns);
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const WeightScale& w = weights[i & 1];
          const ActivationScale& x = scales[i >> 1];
          float sum = w.scale[0] * static_cast<float>(products[0][i]);
          if constexpr (F::kHalves) sum += w.scale[1] * static_cast<float>(products[1][i]);
          if constexpr (F::kOffset && F::kHalves) {
            sum += w.offset[0] * static_cast<float>(x.sums[0]) +
                   w.offset[1] * static_cast<float>(x.sums[1]);
          } else if constexpr (F::kOffset) {
            sum += w.offset[0] * static_cast<float>(x.sums[0] + x.sums[1]);
          }
          sums[m][n][i] += x.scale * sum;
        }
      }
    }
  }
}

template <class F, int kTokens>
__global__ void __launch_bounds__(kTileThreads) tile_kernel(LinearTask task) {
  TileShared<kTokens>& s = shared<TileShared<kTokens>>();
  int first_output = static_cast<int>(blockIdx.y) * kTileOutputs;
  int p = 0;
  for (; p + 1 < task.count; ++p) {
    const int padded = divide_up(task.weights[p].rows, kTileOutputs) * kTileOutputs;
    if (first_output < padded) break;
    first_output -= padded;
  }
  const Weight& weight = task.weights[p];
  const int first_token = static_cast<int>(blockIdx.x) * kTokens;
  const int steps = divide_up(weight.columns, kTileInputs);

  constexpr int kWarpsAlongTokens = kTokens == 16 ? 1 : 2;
  constexpr int kM = kTokens / 16 / kWarpsAlongTokens;
  constexpr int kN = kTileOutputs / 8 * kWarpsAlongTokens / 4;
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const int warp_token = warp % kWarpsAlongTokens * kM * 16;
  const int warp_output = warp / kWarpsAlongTokens * kN * 8;
  float sums[kM][kN][4] = {};

  WeightLoader<F> loader(weight, first_output);
  copy_tokens(task, weight.columns, first_token, 0, s);
  copy_tokens(task, weight.columns, first_token, 1, s);
  loader.load_step(0);
  loader.store_step(0, s);
  for (int step = 0; step < steps; ++step) {
    loader.load_step(step + 1);
    wait_copies<1>();
    __syncthreads();
    copy_tokens(task, weight.columns, first_token, step + 2, s);
    multiply_step<F>(s, step, warp_token, warp_output, sums);
    loader.store_step(step + 1, s);
  }
  wait_copies<0>();

#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kN; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int token = first_token + warp_token + m * 16 + (lane >> 2) + (i >> 1) * 8;
        const int output = first_output + warp_output + n * 8 + (lane & 3) * 2 + (i & 1);
        if (token >= task.rows || output >= weight.rows) continue;
        float* out = task.outs[p] + static_cast<int64_t>(token) * weight.rows + output;
        *out = sums[m][n][i] + (task.add ? fetch(out) : 0.0f);
      }
    }
  }
}

// Instantiated for some formats in each tiles_*.cu: they compile side by side.
template <class F>
void tiles_format(const LinearTask& task, cudaStream_t stream) {
  int outputs = 0;
  for (int p = 0; p < task.count; ++p) outputs += divide_up(task.weights[p].rows, kTileOutputs);
  const int tokens = task.rows <= 16 ? 16 : 64;
  launch(tokens == 16 ? tile_kernel<F, 16> : tile_kernel<F, 64>,
         dim3(static_cast<unsigned>(divide_up(task.rows, tokens)), static_cast<unsigned>(outputs)),
         dim3(kTileThreads), stream, task);
}

}  // namespace tramontane::cuda
