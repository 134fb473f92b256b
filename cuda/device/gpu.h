// What kernels are written with, for nvcc and for the emulator. Each PTX instruction is wrapped
// once; what an architecture lacks is composed of smaller instructions here.
#pragma once

#include <cstdint>

#include "device/runtime_api.h"
#if defined(TRAMONTANE_CUDA_EMULATION)
#include "device/ptx_emulated.h"
#elif defined(__CUDACC__)
#include "device/ptx.h"
#endif

namespace tramontane::cuda {

__host__ __device__ constexpr int divide_up(int a, int b) { return (a + b - 1) / b; }

// The host side of the plug-in is compiled by the C++ compiler and sees no kernels.
#if defined(TRAMONTANE_CUDA_EMULATION) || defined(__CUDACC__)

constexpr unsigned kAllLanes = 0xffffffffu;

// D += A * B, int8, A [16][32], B [32][8].
__device__ __forceinline__ void mma_s8_k32(int (&d)[4], const uint32_t (&a)[4],
                                           const uint32_t (&b)[2]) {
  if constexpr (kHasAmpere) {
    mma_m16n8k32_s8(d, a, b);
  } else {
    // Words 0 and 2 of A are rows 0-7, words 1 and 3 rows 8-15; both halves of K in turn.
    int(&top)[2] = reinterpret_cast<int(&)[2]>(d[0]);
    int(&bottom)[2] = reinterpret_cast<int(&)[2]>(d[2]);
    mma_m8n8k16_s8(top, a[0], b[0]);
    mma_m8n8k16_s8(bottom, a[1], b[0]);
    mma_m8n8k16_s8(top, a[2], b[1]);
    mma_m8n8k16_s8(bottom, a[3], b[1]);
  }
}

// D += A * B, int8, A [16][16], B [16][8].
__device__ __forceinline__ void mma_s8_k16(int (&d)[4], uint32_t a0, uint32_t a1, uint32_t b) {
  if constexpr (kHasAmpere) {
    mma_m16n8k16_s8(d, a0, a1, b);
  } else {
    mma_m8n8k16_s8(reinterpret_cast<int(&)[2]>(d[0]), a0, b);
    mma_m8n8k16_s8(reinterpret_cast<int(&)[2]>(d[2]), a1, b);
  }
}

// D += A * B, A [16][16] and B [16][8] f16, D f32.
__device__ __forceinline__ void mma_f16_k16(float (&d)[4], const uint32_t (&a)[4],
                                            const uint32_t (&b)[2]) {
  if constexpr (kHasAmpere) {
    mma_m16n8k16_f16(d, a, b);
  } else {
    mma_m16n8k8_f16(d, a[0], a[1], b[0]);
    mma_m16n8k8_f16(d, a[2], a[3], b[1]);
  }
}

// Starts a copy of 16 bytes from global to shared memory, both aligned to 16; zeros when not
// `valid` (`from` is then not read). Without cp.async the copy is done at once.
__device__ __forceinline__ void copy_async16(void* to, const void* from, bool valid) {
  if constexpr (kHasAmpere) {
    cp_async16(to, from, valid);
  } else {
    *static_cast<uint4*>(to) =
        valid ? read(static_cast<const uint4*>(from)) : make_uint4(0, 0, 0, 0);
  }
}
__device__ __forceinline__ void copy_async8(void* to, const void* from, bool valid) {
  if constexpr (kHasAmpere) {
    cp_async8(to, from, valid);
  } else {
    *static_cast<uint2*>(to) = valid ? read(static_cast<const uint2*>(from)) : make_uint2(0, 0);
  }
}
// Closes the group of the copies started since the last commit.
__device__ __forceinline__ void commit_copies() {
  if constexpr (kHasAmpere) cp_async_commit();
}
// Waits until at most `kNewest` of this thread's groups are not done.
template <int kNewest>
__device__ __forceinline__ void wait_copies() {
  if constexpr (kHasAmpere) cp_async_wait<kNewest>();
}

__device__ __forceinline__ float bfloat_to_float(uint16_t bits) {
  return __uint_as_float(static_cast<unsigned>(bits) << 16);
}
__device__ __forceinline__ uint32_t pack_halves(float low, float high) {
  return float_to_half(low) | static_cast<uint32_t>(float_to_half(high)) << 16;
}

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int lane = 16; lane > 0; lane >>= 1) value += __shfl_xor_sync(kAllLanes, value, lane);
  return value;
}
// Sums kRows values over the warp, each row as warp_sum() does, to the bit; lane l gets the sum of
// row l / (32 / kRows). While rows are left, half of them go to the other half of the lanes: 9
// shuffles for 8 rows, not 40.
template <int kRows>
__device__ __forceinline__ float warp_sums(float (&rows)[kRows]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int left = kRows / 2; left > 0; left /= 2) {
    const int other = 16 * left * 2 / kRows;
#pragma unroll
    for (int r = 0; r < left; ++r) {
      const bool upper = lane & other;
      const float sent = upper ? rows[r] : rows[r + left];
      const float kept = upper ? rows[r + left] : rows[r];
      rows[r] = kept + __shfl_xor_sync(kAllLanes, sent, other);
    }
  }
#pragma unroll
  for (int other = 16 / kRows; other > 0; other /= 2) {
    rows[0] += __shfl_xor_sync(kAllLanes, rows[0], other);
  }
  return rows[0];
}

__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int lane = 16; lane > 0; lane >>= 1) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, lane));
  }
  return value;
}

// The same bits in every kernel that has it.
__device__ __forceinline__ float swiglu(float gate, float up) {
  return gate / (1.0f + __expf(-gate)) * up;
}

#endif

}  // namespace tramontane::cuda
