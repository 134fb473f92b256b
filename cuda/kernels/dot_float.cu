#include "device/gpu.h"
#include "kernels/linear.h"

namespace tramontane::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kValues = 8;  // Of a weight that a lane takes at once.

struct F32 {};
struct F16 {};
struct BF16 {};

__device__ __forceinline__ void load_values(F32, const uint8_t* weight, int64_t i,
                                            float (&w)[kValues]) {
  const float4* from = reinterpret_cast<const float4*>(weight) + 2 * i;
  const float4 a = read(from), b = read(from + 1);
  w[0] = a.x, w[1] = a.y, w[2] = a.z, w[3] = a.w;
  w[4] = b.x, w[5] = b.y, w[6] = b.z, w[7] = b.w;
}

template <class Convert>
__device__ __forceinline__ void load_16_bit(const uint8_t* weight, int64_t i, float (&w)[kValues],
                                            Convert convert) {
  const uint4 n = read(reinterpret_cast<const uint4*>(weight) + i);
  const uint32_t words[4] = {n.x, n.y, n.z, n.w};
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    w[2 * k] = convert(static_cast<uint16_t>(words[k] & 0xffff));
    w[2 * k + 1] = convert(static_cast<uint16_t>(words[k] >> 16));
  }
}
__device__ __forceinline__ void load_values(F16, const uint8_t* weight, int64_t i,
                                            float (&w)[kValues]) {
  load_16_bit(weight, i, w, [](uint16_t bits) { return half_to_float(bits); });
}
__device__ __forceinline__ void load_values(BF16, const uint8_t* weight, int64_t i,
                                            float (&w)[kValues]) {
  load_16_bit(weight, i, w, [](uint16_t bits) { return bfloat_to_float(bits); });
}

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
  const int pieces = weight.columns / kValues;
  float sums[kRows] = {};
  for (int i = static_cast<int>(threadIdx.x % 32); i < pieces; i += 32) {
    float w[kValues];
    load_values(F{}, weight.codes, static_cast<int64_t>(output) * pieces + i, w);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      float x[kValues];
      load_values(F32{}, reinterpret_cast<const uint8_t*>(task.values),
                  static_cast<int64_t>(first + r) * pieces + i, x);
#pragma unroll
      for (int k = 0; k < kValues; ++k) sums[r] += w[k] * x[k];
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
  switch (format) {
    case Format::kF16:
      return launch_format<F16>(task, stream);
    case Format::kBF16:
      return launch_format<BF16>(task, stream);
    default:
      return launch_format<F32>(task, stream);
  }
}

}  // namespace tramontane::cuda
