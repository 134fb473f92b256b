#include "device/floats.h"
#include "kernels/linear.h"

namespace tramontane::cuda {
namespace {

constexpr int kWarps = 4;

// One warp an output of one weight, for kRows rows of activations from row blockIdx.y * kRows.
template <class F, int kRows>
__global__ void __launch_bounds__(kWarps * 32, 4) dot_float_kernel(LinearTask task) {
  int output = static_cast<int>(blockIdx.x * kWarps + threadIdx.x / 32);
  int p = 0;
  for (; p + 1 < task.count; ++p) {
    const int padded = divide_up(task.weights[p].rows, kWarps) * kWarps;
    if (output < padded) break;
    output -= padded;
  }
  const Weight& weight = task.weights[p];
  if (output >= weight.rows) return;
  const int first = static_cast<int>(blockIdx.y) * kRows;
  const int pieces = weight.columns / kFloatValues;
  float sums[kRows] = {};
  for (int i = static_cast<int>(threadIdx.x % 32); i < pieces; i += 32) {
    float w[kFloatValues];
    load_values(F{}, weight.codes, static_cast<int64_t>(output) * pieces + i, w);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      float x[kFloatValues];
      load_values(F32{}, task.values, static_cast<int64_t>(first + r) * pieces + i, x);
#pragma unroll
      for (int k = 0; k < kFloatValues; ++k) sums[r] += w[k] * x[k];
    }
  }
  const float sum = warp_sums(sums);
  constexpr int kLanes = 32 / kRows;  // That have the same sum.
  const int row = first + static_cast<int>(threadIdx.x % 32) / kLanes;
  if (threadIdx.x % kLanes || row >= task.rows) return;
  float* out = task.outs[p] + static_cast<int64_t>(row) * weight.rows + output;
  *out = sum + (task.add ? fetch(out) : 0.0f);
}

template <class F>
void launch_format(const LinearTask& task, cudaStream_t stream) {
  int blocks = 0;
  for (int p = 0; p < task.count; ++p) blocks += divide_up(task.weights[p].rows, kWarps);
  int rows = 8;
  auto kernel = dot_float_kernel<F, 8>;
  if (task.rows <= 4) kernel = dot_float_kernel<F, 4>, rows = 4;
  if (task.rows <= 2) kernel = dot_float_kernel<F, 2>, rows = 2;
  if (task.rows <= 1) kernel = dot_float_kernel<F, 1>, rows = 1;
  launch(kernel,
         dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(divide_up(task.rows, rows))),
         dim3(kWarps * 32), stream, task);
}

}  // namespace

void dot_float(Format format, const LinearTask& task, cudaStream_t stream) {
  with_float(format, [&](auto f) { launch_format<decltype(f)>(task, stream); });
}

}  // namespace tramontane::cuda
