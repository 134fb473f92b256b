// The dot kernel, a template over the format; instantiated by dot_*.cu.
#pragma once

#include "device/load.h"
#include "kernels/linear.h"

namespace tramontane::cuda {

constexpr int kDotWarps = 4;

// Sixteen products of a half of a group, as an integer.
template <class F>
__device__ __forceinline__ int dot_half(const Group& w, const uint4& x, int half, int sum) {
  int products = -F::kBias * sum;
  products = __dp4a(static_cast<int>(w.q[4 * half]), static_cast<int>(x.x), products);
  products = __dp4a(static_cast<int>(w.q[4 * half + 1]), static_cast<int>(x.y), products);
  products = __dp4a(static_cast<int>(w.q[4 * half + 2]), static_cast<int>(x.z), products);
  return __dp4a(static_cast<int>(w.q[4 * half + 3]), static_cast<int>(x.w), products);
}

// The group's part of the product with one row of activations.
template <class F>
__device__ __forceinline__ float dot_group(const Group& w, const int8_t* q,
                                           const ActivationScale* scale) {
  const uint4 low = read(reinterpret_cast<const uint4*>(q));
  const uint4 high = read(reinterpret_cast<const uint4*>(q) + 1);
  const uint2 s = read(reinterpret_cast<const uint2*>(scale));
  const int sums[2] = {static_cast<int16_t>(s.y & 0xffff), static_cast<int16_t>(s.y >> 16)};
  const int products[2] = {dot_half<F>(w, low, 0, sums[0]), dot_half<F>(w, high, 1, sums[1])};
  float total;
  if constexpr (F::kHalves) {
    total =
        w.scale[0] * static_cast<float>(products[0]) + w.scale[1] * static_cast<float>(products[1]);
    if constexpr (F::kOffset) {
      total +=
          w.offset[0] * static_cast<float>(sums[0]) + w.offset[1] * static_cast<float>(sums[1]);
    }
  } else {
    total = w.scale[0] * static_cast<float>(products[0] + products[1]);
    if constexpr (F::kOffset) total += w.offset[0] * static_cast<float>(sums[0] + sums[1]);
  }
  return total * __uint_as_float(s.x);
}

// The output for row lane / (32 / kRows).
template <class F, int kRows>
__device__ __forceinline__ float dot_output(const Weight& w, int output, const QuantizedRows& in) {
  const int groups = w.columns / kGroup;
  float sums[kRows] = {};
#pragma unroll kRows <= 2 ? 2 : 1
  for (int b = static_cast<int>(threadIdx.x % 32); b < groups; b += 32) {
    const Group group = load<F>(w, output, b);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int64_t i = static_cast<int64_t>(r) * groups + b;
      sums[r] += dot_group<F>(group, in.q + i * kGroup, in.scales + i);
    }
  }
  return warp_sums(sums);
}

// One warp an output of one of the weights. The second bound is said to leave registers enough:
// without it ptxas spills a few to fit more blocks.
template <class F, int kRows, bool kSwiglu>
__global__ void __launch_bounds__(kDotWarps * 32, kRows <= 2 ? 5 : 3) dot_kernel(LinearTask task) {
  int output = static_cast<int>(blockIdx.x * kDotWarps + threadIdx.x / 32);
  int p = 0;
  for (; !kSwiglu && p + 1 < task.count; ++p) {
    const int padded = divide_up(task.weights[p].rows, kDotWarps) * kDotWarps;
    if (output < padded) break;
    output -= padded;
  }
  const Weight& weight = task.weights[p];
  if (output >= weight.rows) return;
  float sum = dot_output<F, kRows>(weight, output, task.quantized);
  if constexpr (kSwiglu) {
    sum = swiglu(sum, dot_output<F, kRows>(task.weights[1], output, task.quantized));
  }
  constexpr int kLanes = 32 / kRows;  // That have the same sum.
  const int row = static_cast<int>(threadIdx.x % 32) / kLanes;
  if (threadIdx.x % kLanes || row >= task.rows) return;
  float* out = task.outs[p] + static_cast<int64_t>(row) * weight.rows + output;
  *out = sum + (task.add ? fetch(out) : 0.0f);
}

template <class F, bool kSwiglu>
void launch_dot(const LinearTask& task, cudaStream_t stream) {
  int blocks = 0;
  for (int p = 0; p < (kSwiglu ? 1 : task.count); ++p) {
    blocks += divide_up(task.weights[p].rows, kDotWarps);
  }
  auto kernel = dot_kernel<F, 8, kSwiglu>;
  if (task.rows <= 4) kernel = dot_kernel<F, 4, kSwiglu>;
  if (task.rows <= 2) kernel = dot_kernel<F, 2, kSwiglu>;
  if (task.rows <= 1) kernel = dot_kernel<F, 1, kSwiglu>;
  launch(kernel, dim3(static_cast<unsigned>(blocks)), dim3(kDotWarps * 32), stream, task);
}

// Defined here, instantiated for some formats in each dot_*.cu: they compile side by side.
template <class F>
void dot_format(const LinearTask& task, cudaStream_t stream) {
  if (task.swiglu) {
    launch_dot<F, true>(task, stream);
  } else {
    launch_dot<F, false>(task, stream);
  }
}

}  // namespace tramontane::cuda
