// Brings weights from the layout of their file into planes (device/weights.h), on the device.
#pragma once

#include "device/weights.h"

namespace tramontane::cuda {

// Bytes of each plane of a weight, 0 where the format has none.
struct PlaneBytes {
  int64_t codes, high, scales, supers;
};
PlaneBytes plane_bytes(Format format, int rows, int columns);

// `raw`: the blocks of the file, row by row, aligned to 16.
void pack(Format format, const uint8_t* raw, const Weight& to, cudaStream_t stream);

// GPTQ of 4 or 8 bits with f16 scales, to Gptq4 or Gptq8. All device memory:
struct GptqSource {
  int bits, zero_bias;
  int groups;
  const uint32_t* qweight;  // [columns * bits / 32][rows]
  const uint32_t* qzeros;   // [groups][rows * bits / 32]
  const uint16_t* scales;   // [groups][rows] f16
  const int* order;         // [columns] the input that comes at each place; null: as they are
};
void pack_gptq(const GptqSource& source, const Weight& to, cudaStream_t stream);

}  // namespace tramontane::cuda
