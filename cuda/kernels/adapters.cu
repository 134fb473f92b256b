#include "kernels/adapters.h"

#include <algorithm>

#include "device/floats.h"

namespace tramontane::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kRanks = 4;  // Of a block of reduce_kernel.

struct PartialSums {
  float values[kWarps][kRanks][kAdapterRows];
};

// reduced = s * in * down^T: a block has some ranks of one pair and the rows of one group.
__global__ void __launch_bounds__(kThreads)
    reduce_kernel(const __grid_constant__ AdapterTask task) {
  PartialSums& partial = shared<PartialSums>();
  const AdapterRows& group = task.groups[blockIdx.y];
  if (group.count == 0) return;
  const int blocks = task.ranks / kRanks;
  const int p = static_cast<int>(blockIdx.x) / blocks;
  const int first = static_cast<int>(blockIdx.x) % blocks * kRanks;
  const DevicePair& pair = group.pairs[task.pairs[p]];
  if (first >= pair.rank) return;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int pieces = task.columns / kFloatValues;
  float sums[kRanks][kAdapterRows] = {};
  for (int i = thread; i < pieces; i += kThreads) {
    float w[kRanks][kFloatValues];
#pragma unroll
    for (int k = 0; k < kRanks; ++k) {
      load_values(pair.down_format, pair.down, static_cast<int64_t>(first + k) * pieces + i, w[k]);
    }
#pragma unroll
    for (int r = 0; r < kAdapterRows; ++r) {
      if (r >= group.count) continue;
      float x[kFloatValues];
      load_values(F32{}, task.in, static_cast<int64_t>(group.rows[r]) * pieces + i, x);
#pragma unroll
      for (int k = 0; k < kRanks; ++k) {
#pragma unroll
        for (int j = 0; j < kFloatValues; ++j) sums[k][r] += w[k][j] * x[j];
      }
    }
  }
#pragma unroll
  for (int k = 0; k < kRanks; ++k) {
    const float sum = warp_sums(sums[k]);
    constexpr int kLanes = 32 / kAdapterRows;  // That have the same sum.
    if (lane % kLanes == 0) partial.values[thread / 32][k][lane / kLanes] = sum;
  }
  __syncthreads();
  const int k = thread / kAdapterRows, r = thread % kAdapterRows;
  if (k >= kRanks || r >= group.count) return;
  float sum = 0.0f;
  for (int warp = 0; warp < kWarps; ++warp) sum += partial.values[warp][k][r];
  const int64_t row = static_cast<int64_t>(p) * task.rows + group.rows[r];
  task.reduced[row * task.ranks + first + k] = sum * (group.scales[r] * pair.scale);
}

// What brings an output to its magnitude.
__device__ __forceinline__ float length_factor(const DevicePair& pair, int output, float scale) {
  const double s = static_cast<double>(scale * pair.scale);
  const RowSquares& squares = pair.squares[output];
  const double square = squares.weight + 2 * s * squares.mixed + s * s * squares.pair;
  return square > 0 ? static_cast<float>(pair.magnitude[output] / sqrt(square)) : 0.0f;
}

// out += reduced * up^T: a thread has one output, for the rows of one group.
__global__ void __launch_bounds__(kThreads)
    expand_kernel(const __grid_constant__ AdapterTask task) {
  const AdapterRows& group = task.groups[blockIdx.y];
  if (group.count == 0) return;
  const int p = static_cast<int>(blockIdx.z);
  const DevicePair& pair = group.pairs[task.pairs[p]];
  const int output = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (output >= pair.outputs) return;
  const int pieces = pair.rank / kFloatValues;
  float sums[kAdapterRows] = {};
  for (int i = 0; i < pieces; ++i) {
    float w[kFloatValues];
    load_values(pair.up_format, pair.up, static_cast<int64_t>(output) * pieces + i, w);
#pragma unroll
    for (int r = 0; r < kAdapterRows; ++r) {
      if (r >= group.count) continue;
      const int64_t row = static_cast<int64_t>(p) * task.rows + group.rows[r];
      float x[kFloatValues];
      load_values(F32{}, task.reduced, row * (task.ranks / kFloatValues) + i, x);
#pragma unroll
      for (int j = 0; j < kFloatValues; ++j) sums[r] += w[j] * x[j];
    }
  }
#pragma unroll
  for (int r = 0; r < kAdapterRows; ++r) {
    if (r >= group.count) continue;
    const int64_t i = static_cast<int64_t>(group.rows[r]) * pair.outputs + output;
    float* out = task.outs[p] + i;
    float value = fetch(out) + sums[r];
    if (pair.magnitude) value *= length_factor(pair, output, group.scales[r]);
    if (pair.magnitude && task.aside) value += read(task.aside + i);
    *out = value;
  }
}

__global__ void __launch_bounds__(kThreads)
    set_aside_kernel(const __grid_constant__ AdapterTask task) {
  const AdapterRows& group = task.groups[blockIdx.y];
  if (group.count == 0) return;
  const DevicePair& pair = group.pairs[task.pairs[0]];
  const int output = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (output >= pair.outputs) return;
  if (!pair.magnitude) return;
  for (int r = 0; r < group.count; ++r) {
    const int64_t i = static_cast<int64_t>(group.rows[r]) * pair.outputs + output;
    task.aside[i] = fetch(task.outs[0] + i);
    task.outs[0][i] = 0.0f;
  }
}

// One warp a row of the weight.
__global__ void __launch_bounds__(kThreads)
    measure_kernel(DevicePair pair, const float* weight, const int* order, int first, int rows,
                   int columns, RowSquares* squares) {
  const int row = static_cast<int>(blockIdx.x * kWarps + threadIdx.x / 32);
  if (row >= rows) return;
  const int output = first + row;
  RowSquares sums{};
  for (int k = static_cast<int>(threadIdx.x % 32); k < columns; k += 32) {
    const int input = order ? read(order + k) : k;
    float own = 0.0f;
    for (int i = 0; i < pair.rank; ++i) {
      own += load_value(pair.up_format, pair.up, static_cast<int64_t>(output) * pair.rank + i) *
             load_value(pair.down_format, pair.down, static_cast<int64_t>(i) * columns + input);
    }
    const double u = own, w = read(weight + static_cast<int64_t>(row) * columns + k);
    sums.weight += w * w;
    sums.mixed += w * u;
    sums.pair += u * u;
  }
#pragma unroll
  for (int lane = 16; lane > 0; lane >>= 1) {
    sums.weight += __shfl_xor_sync(kAllLanes, sums.weight, lane);
    sums.mixed += __shfl_xor_sync(kAllLanes, sums.mixed, lane);
    sums.pair += __shfl_xor_sync(kAllLanes, sums.pair, lane);
  }
  if (threadIdx.x % 32 == 0) squares[output] = sums;
}

// Blocks of a thread an output: the most that a weight has.
dim3 output_grid(const AdapterTask& task) {
  int outputs = 0;
  for (int p = 0; p < task.count; ++p) outputs = std::max(outputs, task.widths[p]);
  return dim3(static_cast<unsigned>(divide_up(outputs, kThreads)),
              static_cast<unsigned>(task.group_count), static_cast<unsigned>(task.count));
}

}  // namespace

void set_aside(const AdapterTask& task, cudaStream_t stream) {
  launch(set_aside_kernel, output_grid(task), dim3(kThreads), stream, task);
}

void apply_adapters(const AdapterTask& task, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(task.count * (task.ranks / kRanks)),
                  static_cast<unsigned>(task.group_count));
  launch(reduce_kernel, grid, dim3(kThreads), stream, task);
  launch(expand_kernel, output_grid(task), dim3(kThreads), stream, task);
}

void measure(const DevicePair& pair, const float* weight, const int* order, int first, int rows,
             int columns, RowSquares* squares, cudaStream_t stream) {
  launch(measure_kernel, dim3(static_cast<unsigned>(divide_up(rows, kWarps))), dim3(kThreads),
         stream, pair, weight, order, first, rows, columns, squares);
}

}  // namespace tramontane::cuda
