// Half floats and matrix products. Compiled without instrumentation: the lane that finishes a
// product writes for the others.
#include "emulation/tensor.h"

namespace emulation {

float half_to_float(uint16_t bits) {
  const unsigned sign = static_cast<unsigned>(bits & 0x8000) << 16;
  const unsigned exponent = bits >> 10 & 31, mantissa = bits & 1023;
  if (exponent == 31) return __uint_as_float(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return __uint_as_float(sign | (exponent + 112) << 23 | mantissa << 13);
}

// Rounds to nearest even.
uint16_t float_to_half(float value) {
  const unsigned bits = __float_as_uint(value);
  const unsigned sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7fff);
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude < 0x38800000) {  // Subnormal: adding 0.5 leaves units of 2^-24.
    const float shifted = __uint_as_float(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (__float_as_uint(shifted) - 0x3f000000u));
  }
  const unsigned rounded = magnitude + 0xc8000fff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | rounded >> 13);
}

namespace {

// Finishes a product of an M x K by a K x 8 matrix. A lane's words are A's fragment, then B's; a
// word holds kPacked values next to each other along K, and K is covered by pieces of 4 words
// (lanes t = 0..3).
template <int M, int K, int kPacked, class Sum, Sum (*kValue)(uint32_t word, int i)>
void multiply(Meeting* m) {
  constexpr int kHalves = M / 8;              // Row halves of A.
  constexpr int kPieces = K / (4 * kPacked);  // Pieces along K.
  Sum a[M][K], b[K][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane >> 2, t = lane & 3;
    for (int piece = 0; piece < kPieces; ++piece) {
      for (int i = 0; i < kPacked; ++i) {
        const int k = (piece * 4 + t) * kPacked + i;
        for (int half = 0; half < kHalves; ++half) {
          a[group + 8 * half][k] = kValue(m->words[lane][piece * kHalves + half], i);
        }
        b[k][group] = kValue(m->words[lane][kPieces * kHalves + piece], i);
      }
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 2 * kHalves; ++i) {
      const int row = (lane >> 2) + (i >> 1) * 8, column = (lane & 3) * 2 + (i & 1);
      Sum sum = 0;
      for (int k = 0; k < K; ++k) sum += a[row][k] * b[k][column];
      std::memcpy(&m->results[lane][i], &sum, sizeof sum);
    }
  }
}

int byte_of(uint32_t word, int i) { return static_cast<int8_t>(word >> (8 * i)); }
float half_of(uint32_t word, int i) {
  return half_to_float(static_cast<uint16_t>(word >> (16 * i)));
}

}  // namespace

void multiply_s8_m16k32(Meeting* m) { multiply<16, 32, 4, int, byte_of>(m); }
void multiply_s8_m16k16(Meeting* m) { multiply<16, 16, 4, int, byte_of>(m); }
void multiply_s8_m8k16(Meeting* m) { multiply<8, 16, 4, int, byte_of>(m); }
void multiply_f16_m16k16(Meeting* m) { multiply<16, 16, 2, float, half_of>(m); }
void multiply_f16_m16k8(Meeting* m) { multiply<16, 8, 2, float, half_of>(m); }

}  // namespace emulation
