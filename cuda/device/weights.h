// Weights as the device stores them. A group is 32 neighbouring inputs of one output. The parts of
// a format's blocks lie in planes of their own, group after group, so that every load is aligned:
//
//   codes   4 bits: 16 bytes a group; byte i of word w is inputs 8w+i (low nibble) and 8w+4+i
//           2 bits: 8 bytes; bits 2j, 2j+1 of byte i of word w are input 16w+4j+i
//           8 bits: 32 bytes in order
//   high    the bits above the codes: 1 bit, 4 bytes a group: bit j of byte i is input 4j+i;
//           2 bits as above
//   scales  per group of 32
//   supers  per 8 groups
//
// So a shift and a mask give four neighbouring inputs as the bytes of a word.
#pragma once

#include <cstdint>

#include "device/gpu.h"
#include "quant/format.h"

namespace tramontane::cuda {

constexpr int kGroup = 32;
constexpr int kSuperGroups = 8;

struct Weight {
  uint8_t* codes;
  uint8_t* high;
  uint8_t* scales;
  uint8_t* supers;
  int rows, columns;
  int scale_groups;  // GPTQ: groups of 32 that share a scale.
};

// One type a storage format. A weight is scale * (code - kBias) + offset; scale and offset are one
// for each half of a group where kHalves.
struct FormatTraits {
  static constexpr int kBias = 0;
  static constexpr bool kOffset = false;
  static constexpr bool kHalves = false;
  static constexpr bool kInOrder = false;  // Nibble j of word w is input 8w+j.
  static constexpr int kCodeBytes = 16;    // Bytes a group in each plane.
  static constexpr int kHighBytes = 0;
  static constexpr int kScaleBytes = 0;
  static constexpr int kSuperBytes = 0;
};
struct Q4_0 : FormatTraits {
  static constexpr int kBias = 8;
  static constexpr int kScaleBytes = 2;  // f16 d
};
struct Q4_1 : FormatTraits {
  static constexpr bool kOffset = true;
  static constexpr int kScaleBytes = 4;  // f16 d, m
};
struct Q5_0 : FormatTraits {
  static constexpr int kBias = 16;
  static constexpr int kHighBytes = 4;
  static constexpr int kScaleBytes = 2;  // f16 d
};
struct Q5_1 : FormatTraits {
  static constexpr bool kOffset = true;
  static constexpr int kHighBytes = 4;
  static constexpr int kScaleBytes = 4;  // f16 d, m
};
struct Q8_0 : FormatTraits {
  static constexpr int kCodeBytes = 32;
  static constexpr int kScaleBytes = 2;  // f16 d
};
struct Q2_K : FormatTraits {
  static constexpr bool kOffset = true;
  static constexpr bool kHalves = true;
  static constexpr int kCodeBytes = 8;
  static constexpr int kScaleBytes = 2;  // s | m << 4 for each half
  static constexpr int kSuperBytes = 4;  // f16 d, dmin
};
struct Q3_K : FormatTraits {
  static constexpr int kBias = 4;
  static constexpr bool kHalves = true;
  static constexpr int kCodeBytes = 8;
  static constexpr int kHighBytes = 4;
  static constexpr int kSuperBytes = 16;  // SixBitPairs; the second f16 is unused
};
struct Q4_K : FormatTraits {
  static constexpr bool kOffset = true;
  static constexpr int kSuperBytes = 16;  // SixBitPairs
};
struct Q5_K : FormatTraits {
  static constexpr bool kOffset = true;
  static constexpr int kHighBytes = 4;
  static constexpr int kSuperBytes = 16;  // SixBitPairs
};
struct Q6_K : FormatTraits {
  static constexpr int kBias = 32;
  static constexpr bool kHalves = true;
  static constexpr int kHighBytes = 8;
  static constexpr int kScaleBytes = 2;  // int8 for each half
  static constexpr int kSuperBytes = 2;  // f16 d
};
struct IQ4_NL : FormatTraits {
  static constexpr bool kInOrder = true;
  static constexpr int kScaleBytes = 2;  // f16 d
};
struct IQ4_XS : FormatTraits {
  static constexpr bool kInOrder = true;
  static constexpr int kSuperBytes = 8;  // f16 d, 16 bits of high and 32 of low scales: the file's
};
// GPTQ: scales [rows][columns / 32 / scale_groups] f16, supers the zero points as bytes.
struct Gptq4 : FormatTraits {
  static constexpr bool kOffset = true;
};
struct Gptq8 : FormatTraits {
  static constexpr bool kOffset = true;
  static constexpr int kCodeBytes = 32;
};

// Two f16 and, for each of 8 groups, two numbers of six bits: nibble g of `low` are the low bits of
// the first, of `low_second` of the second; nibble g of `high` the two high bits of both.
struct SixBitPairs {
  uint32_t halves, low, low_second, high;
};

// Activations quantized to int8: value = scale * q.
struct ActivationScale {
  float scale;
  int16_t sums[2];  // Of q over each half of the group.
};
struct QuantizedRows {
  int8_t* q;                // [rows][columns]
  ActivationScale* scales;  // [rows][columns / 32]
};

}  // namespace tramontane::cuda
