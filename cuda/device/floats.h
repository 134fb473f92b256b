// Weights and adapters in floats: values of F32, F16 and BF16 as f32.
#pragma once

#include "device/gpu.h"
#include "quant/format.h"

namespace tramontane::cuda {

constexpr int kFloatValues = 8;  // That a lane takes at once.

struct F32 {};
struct F16 {};
struct BF16 {};

// Calls work(F{}) for a format of floats.
template <class Work>
void with_float(Format format, Work work) {
  if (format == Format::kF16) return work(F16{});
  if (format == Format::kBF16) return work(BF16{});
  work(F32{});
}

#if defined(TRAMONTANE_CUDA_EMULATION) || defined(__CUDACC__)

// Eight values, the i-th ones of `values`, which is aligned to 16 bytes.
__device__ __forceinline__ void load_values(F32, const void* values, int64_t i,
                                            float (&w)[kFloatValues]) {
  const float4* from = static_cast<const float4*>(values) + 2 * i;
  const float4 a = read(from), b = read(from + 1);
  w[0] = a.x, w[1] = a.y, w[2] = a.z, w[3] = a.w;
  w[4] = b.x, w[5] = b.y, w[6] = b.z, w[7] = b.w;
}

template <class Convert>
__device__ __forceinline__ void load_16_bit(const void* values, int64_t i, float (&w)[kFloatValues],
                                            Convert convert) {
  const uint4 n = read(static_cast<const uint4*>(values) + i);
  const uint32_t words[4] = {n.x, n.y, n.z, n.w};
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    w[2 * k] = convert(static_cast<uint16_t>(words[k] & 0xffff));
    w[2 * k + 1] = convert(static_cast<uint16_t>(words[k] >> 16));
  }
}
__device__ __forceinline__ void load_values(F16, const void* values, int64_t i,
                                            float (&w)[kFloatValues]) {
  load_16_bit(values, i, w, [](uint16_t bits) { return half_to_float(bits); });
}
__device__ __forceinline__ void load_values(BF16, const void* values, int64_t i,
                                            float (&w)[kFloatValues]) {
  load_16_bit(values, i, w, [](uint16_t bits) { return bfloat_to_float(bits); });
}

// A format that is known where the kernel runs.
__device__ __forceinline__ void load_values(Format format, const void* values, int64_t i,
                                            float (&w)[kFloatValues]) {
  if (format == Format::kF16) return load_values(F16{}, values, i, w);
  if (format == Format::kBF16) return load_values(BF16{}, values, i, w);
  load_values(F32{}, values, i, w);
}

__device__ __forceinline__ float load_value(F32, const void* values, int64_t i) {
  return read(static_cast<const float*>(values) + i);
}
__device__ __forceinline__ float load_value(F16, const void* values, int64_t i) {
  return half_to_float(read(static_cast<const uint16_t*>(values) + i));
}
__device__ __forceinline__ float load_value(BF16, const void* values, int64_t i) {
  return bfloat_to_float(read(static_cast<const uint16_t*>(values) + i));
}
__device__ __forceinline__ float load_value(Format format, const void* values, int64_t i) {
  if (format == Format::kF16) return load_value(F16{}, values, i);
  if (format == Format::kBF16) return load_value(BF16{}, values, i);
  return load_value(F32{}, values, i);
}

#endif

}  // namespace tramontane::cuda
