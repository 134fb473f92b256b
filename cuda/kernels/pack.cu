#include "kernels/pack.h"

#include "kernels/formats.h"

namespace tramontane::cuda {
namespace {

constexpr int kThreads = 128;

// The code of value i of group g of a file's block; without the bias, as the planes hold it.
__device__ __forceinline__ uint32_t nibble(const uint8_t* nibbles, int i) {
  return i < 16 ? nibbles[i] & 15u : nibbles[i - 16] >> 4;
}
__device__ __forceinline__ uint32_t fifth_bit(const uint8_t* fifth, int i) {
  return (fifth[i / 8] >> (i % 8) & 1u) << 4;
}
__device__ __forceinline__ uint32_t code(const quant::Q4_0& b, int, int i) {
  return nibble(b.nibbles, i);
}
__device__ __forceinline__ uint32_t code(const quant::Q4_1& b, int, int i) {
  return nibble(b.nibbles, i);
}
__device__ __forceinline__ uint32_t code(const quant::Q5_0& b, int, int i) {
  return nibble(b.nibbles, i) | fifth_bit(b.fifth, i);
}
__device__ __forceinline__ uint32_t code(const quant::Q5_1& b, int, int i) {
  return nibble(b.nibbles, i) | fifth_bit(b.fifth, i);
}
__device__ __forceinline__ uint32_t code(const quant::Q8_0& b, int, int i) {
  return static_cast<uint8_t>(b.q[i]);
}
__device__ __forceinline__ uint32_t code(const quant::Q8_1& b, int, int i) {
  return static_cast<uint8_t>(b.q[i]);
}
__device__ __forceinline__ uint32_t code(const quant::Q2_K& b, int g, int i) {
  return b.pairs[g / 4 * 32 + i] >> (g % 4 * 2) & 3u;
}
__device__ __forceinline__ uint32_t code(const quant::Q3_K& b, int g, int i) {
  return (b.pairs[g / 4 * 32 + i] >> (g % 4 * 2) & 3u) | (b.third[i] >> g & 1u) << 2;
}
__device__ __forceinline__ uint32_t code(const quant::Q4_K& b, int g, int i) {
  return b.nibbles[g / 2 * 32 + i] >> (g % 2 * 4) & 15u;
}
__device__ __forceinline__ uint32_t code(const quant::Q5_K& b, int g, int i) {
  return (b.nibbles[g / 2 * 32 + i] >> (g % 2 * 4) & 15u) | (b.fifth[i] >> g & 1u) << 4;
}
__device__ __forceinline__ uint32_t code(const quant::Q6_K& b, int g, int i) {
  const uint32_t low = b.nibbles[g / 4 * 64 + g % 2 * 32 + i] >> (g % 4 / 2 * 4) & 15u;
  return low | (b.pairs[g / 4 * 32 + i] >> (g % 4 * 2) & 3u) << 4;
}
__device__ __forceinline__ uint32_t code(const quant::IQ4_NL& b, int, int i) {
  return nibble(b.nibbles, i);
}
__device__ __forceinline__ uint32_t code(const quant::IQ4_XS& b, int g, int i) {
  return nibble(b.nibbles + 16 * g, i);
}

template <class T>
__device__ __forceinline__ T& at(uint8_t* plane, int64_t i) {
  return reinterpret_cast<T*>(plane)[i];
}

// The scales of group g, which is group `i` of the weight.
__device__ __forceinline__ void pack_scale(const Weight& w, int64_t i, uint16_t d) {
  at<uint16_t>(w.scales, i) = d;
}
__device__ __forceinline__ void pack_scale(const Weight& w, int64_t i, uint16_t d, uint16_t m) {
  at<uint32_t>(w.scales, i) = d | static_cast<uint32_t>(m) << 16;
}
__device__ __forceinline__ void pack_scales(const quant::Q4_0& b, int, const Weight& w, int64_t i) {
  pack_scale(w, i, b.d);
}
__device__ __forceinline__ void pack_scales(const quant::Q4_1& b, int, const Weight& w, int64_t i) {
  pack_scale(w, i, b.d, b.m);
}
__device__ __forceinline__ void pack_scales(const quant::Q5_0& b, int, const Weight& w, int64_t i) {
  pack_scale(w, i, b.d);
}
__device__ __forceinline__ void pack_scales(const quant::Q5_1& b, int, const Weight& w, int64_t i) {
  pack_scale(w, i, b.d, b.m);
}
__device__ __forceinline__ void pack_scales(const quant::Q8_0& b, int, const Weight& w, int64_t i) {
  pack_scale(w, i, b.d);
}
__device__ __forceinline__ void pack_scales(const quant::Q8_1& b, int, const Weight& w, int64_t i) {
  pack_scale(w, i, b.d);
}
__device__ __forceinline__ void pack_scales(const quant::IQ4_NL& b, int, const Weight& w,
                                            int64_t i) {
  pack_scale(w, i, b.d);
}
__device__ __forceinline__ void pack_scales(const quant::Q2_K& b, int g, const Weight& w,
                                            int64_t i) {
  at<uint16_t>(w.scales, i) =
      static_cast<uint16_t>(b.scales[2 * g] | static_cast<uint32_t>(b.scales[2 * g + 1]) << 8);
  if (g == 0) at<uint32_t>(w.supers, i / 8) = b.d | static_cast<uint32_t>(b.dmin) << 16;
}
__device__ __forceinline__ void pack_scales(const quant::Q6_K& b, int g, const Weight& w,
                                            int64_t i) {
  const uint32_t second = static_cast<uint8_t>(b.scales[2 * g + 1]);
  at<uint16_t>(w.scales, i) =
      static_cast<uint16_t>(static_cast<uint8_t>(b.scales[2 * g]) | second << 8);
  if (g == 0) at<uint16_t>(w.supers, i / 8) = b.d;
}
__device__ __forceinline__ void pack_scales(const quant::IQ4_XS& b, int g, const Weight& w,
                                            int64_t i) {
  if (g) return;
  at<uint2>(w.supers, i / 8) =
      make_uint2(b.d | static_cast<uint32_t>(b.scales_high[0]) << 16 |
                     static_cast<uint32_t>(b.scales_high[1]) << 24,
                 b.scales_low[0] | static_cast<uint32_t>(b.scales_low[1]) << 8 |
                     static_cast<uint32_t>(b.scales_low[2]) << 16 |
                     static_cast<uint32_t>(b.scales_low[3]) << 24);
}

__device__ __forceinline__ void append(SixBitPairs& pairs, int g, uint32_t first, uint32_t second) {
  pairs.low |= (first & 15) << (4 * g);
  pairs.low_second |= (second & 15) << (4 * g);
  pairs.high |= (first >> 4 | second >> 4 << 2) << (4 * g);
}
__device__ __forceinline__ void pack_k_scales(const uint8_t* bytes, uint16_t d, uint16_t dmin,
                                              const Weight& w, int64_t i) {
  SixBitPairs pairs = {d | static_cast<uint32_t>(dmin) << 16, 0, 0, 0};
  for (int g = 0; g < 4; ++g) append(pairs, g, bytes[g] & 63, bytes[g + 4] & 63);
  for (int g = 4; g < 8; ++g) {
    append(pairs, g, (bytes[g + 4] & 15u) | bytes[g - 4] >> 6 << 4,
           static_cast<uint32_t>(bytes[g + 4] >> 4 | bytes[g] >> 6 << 4));
  }
  at<uint4>(w.supers, i / 8) = make_uint4(pairs.halves, pairs.low, pairs.low_second, pairs.high);
}
__device__ __forceinline__ void pack_scales(const quant::Q4_K& b, int g, const Weight& w,
                                            int64_t i) {
  if (g == 0) pack_k_scales(b.scales, b.d, b.dmin, w, i);
}
__device__ __forceinline__ void pack_scales(const quant::Q5_K& b, int g, const Weight& w,
                                            int64_t i) {
  if (g == 0) pack_k_scales(b.scales, b.d, b.dmin, w, i);
}
__device__ __forceinline__ void pack_scales(const quant::Q3_K& b, int g, const Weight& w,
                                            int64_t i) {
  if (g) return;
  SixBitPairs pairs = {b.d, 0, 0, 0};
  for (int k = 0; k < 8; ++k) {
    uint32_t scales[2];
    for (int half = 0; half < 2; ++half) {
      const int j = 2 * k + half;
      scales[half] =
          (b.scales[j % 8] >> (j / 8 * 4) & 15u) | (b.scales[8 + j % 4] >> (j / 4 * 2) & 3u) << 4;
    }
    append(pairs, k, scales[0], scales[1]);
  }
  at<uint4>(w.supers, i / 8) = make_uint4(pairs.halves, pairs.low, pairs.low_second, pairs.high);
}

// Writes the low bits of a group's codes, in the order device/weights.h gives.
template <class F>
__device__ __forceinline__ void pack_codes(const uint32_t (&codes)[kGroup], const Weight& w,
                                           int64_t i) {
  if constexpr (F::kCodeBytes == 32) {
    for (int k = 0; k < kGroup; ++k) w.codes[32 * i + k] = static_cast<uint8_t>(codes[k]);
  } else if constexpr (F::kCodeBytes == 16) {
    for (int k = 0; k < 4; ++k) {
      uint32_t word = 0;
      for (int j = 0; j < 8; ++j) {
        const int at = F::kInOrder ? j : 2 * (j % 4) + j / 4;
        word |= (codes[8 * k + j] & 15) << (4 * at);
      }
      at<uint32_t>(w.codes, 4 * i + k) = word;
    }
  } else {
    for (int k = 0; k < 2; ++k) {
      uint32_t word = 0;
      for (int j = 0; j < 16; ++j) word |= (codes[16 * k + j] & 3) << (8 * (j % 4) + 2 * (j / 4));
      at<uint32_t>(w.codes, 2 * i + k) = word;
    }
  }
  constexpr int kLowBits = F::kCodeBytes / 4;
  if constexpr (F::kHighBytes == 4) {
    uint32_t word = 0;
    for (int j = 0; j < kGroup; ++j) word |= (codes[j] >> kLowBits & 1) << (8 * (j % 4) + j / 4);
    at<uint32_t>(w.high, i) = word;
  } else if constexpr (F::kHighBytes == 8) {
    for (int k = 0; k < 2; ++k) {
      uint32_t word = 0;
      for (int j = 0; j < 16; ++j) {
        word |= (codes[16 * k + j] >> kLowBits & 3) << (8 * (j % 4) + 2 * (j / 4));
      }
      at<uint32_t>(w.high, 2 * i + k) = word;
    }
  }
}

// One thread a group.
template <class F, class Block, int kGroups>
__global__ void __launch_bounds__(kThreads, 8)
    pack_kernel(const Block* raw, Weight to, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const Block& block = raw[i / kGroups];
  const int g = static_cast<int>(i % kGroups);
  uint32_t codes[kGroup];
  for (int k = 0; k < kGroup; ++k) codes[k] = code(block, g, k);
  pack_codes<F>(codes, to, i);
  pack_scales(block, g, to, i);
}

// One thread a group; neighbouring threads have neighbouring outputs, as GPTQ's words have.
template <class F, int kBits>
__global__ void __launch_bounds__(kThreads, 2) pack_gptq_kernel(GptqSource source, Weight to) {
  const int row = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  const int b = static_cast<int>(blockIdx.y);
  if (row >= to.rows) return;
  constexpr int kPerWord = 32 / kBits;
  constexpr uint32_t kMask = (1u << kBits) - 1;
  uint32_t codes[kGroup];
  for (int k = 0; k < kGroup; ++k) {
    const int place = b * kGroup + k;
    const int input = source.order ? source.order[place] : place;
    const uint32_t word = source.qweight[static_cast<int64_t>(input / kPerWord) * to.rows + row];
    codes[k] = word >> (input % kPerWord * kBits) & kMask;
    if (kBits == 8) codes[k] ^= 0x80;
  }
  const int groups = to.columns / kGroup;
  pack_codes<F>(codes, to, static_cast<int64_t>(row) * groups + b);
  if (b % to.scale_groups) return;
  const int group = b / to.scale_groups;
  const uint32_t word =
      source.qzeros[static_cast<int64_t>(group) * (to.rows / kPerWord) + row / kPerWord];
  const uint32_t zero = word >> (row % kPerWord * kBits);
  const int64_t at = static_cast<int64_t>(row) * source.groups + group;
  to.supers[at] = static_cast<uint8_t>((zero + static_cast<uint32_t>(source.zero_bias)) & kMask);
  reinterpret_cast<uint16_t*>(to.scales)[at] =
      source.scales[static_cast<int64_t>(group) * to.rows + row];
}

template <class F, class Block, int kGroups>
void launch_pack(const uint8_t* raw, const Weight& to, cudaStream_t stream) {
  const int64_t count = static_cast<int64_t>(to.rows) * (to.columns / kGroup);
  const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  launch(pack_kernel<F, Block, kGroups>, dim3(blocks), dim3(kThreads), stream,
         reinterpret_cast<const Block*>(raw), to, count);
}

template <class F>
PlaneBytes bytes_of(F, int64_t groups) {
  return {groups * F::kCodeBytes, groups * F::kHighBytes, groups * F::kScaleBytes,
          groups / kSuperGroups * F::kSuperBytes};
}

}  // namespace

PlaneBytes plane_bytes(Format format, int rows, int columns) {
  const int64_t groups = static_cast<int64_t>(rows) * (columns / kGroup);
  PlaneBytes bytes{};
  with_format(format, 4, [&](auto f) { bytes = bytes_of(f, groups); });
  return bytes;
}

// Float formats stay as they are; GPTQ has its own.
void pack(Format format, const uint8_t* raw, const Weight& to, cudaStream_t stream) {
  quant::with_blocks(format, [&](auto blocks) {
    using Block = typename decltype(blocks)::Block;
    using F = LayoutOf<Block>;
    constexpr int kGroups = F::kSuperBytes > 0 ? kSuperGroups : 1;
    launch_pack<F, Block, kGroups>(raw, to, stream);
  });
}

void pack_gptq(const GptqSource& source, const Weight& to, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(divide_up(to.rows, kThreads)),
                  static_cast<unsigned>(to.columns / kGroup));
  const auto kernel = source.bits == 4 ? pack_gptq_kernel<Gptq4, 4> : pack_gptq_kernel<Gptq8, 8>;
  launch(kernel, grid, dim3(kThreads), stream, source, to);
}

}  // namespace tramontane::cuda
