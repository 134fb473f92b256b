// A weight as it lies in a file.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace tramontane {

// What a GPTQ weight has beside its words; see lib/files/checkpoint.ts. No alignment is promised.
struct GptqParts {
  int32_t bits;                // 2, 3, 4, 8
  int32_t group_size;          // Inputs per group.
  int32_t zero_bias;           // Added to a stored zero point modulo 2^bits.
  Format scale_format;         // F16, BF16 or F32
  const uint8_t* qzeros;       // int32 [groups][rows * bits / 32]
  const uint8_t* scales;       // [groups][rows]
  const uint8_t* group_index;  // int32 [columns], checked: 0 <= g < groups. Null: k / group_size.
  // What tramontane_cpu_order_gptq() made of the words, mapped from a file. Null: there is none.
  const uint8_t* ordered = nullptr;
  uint64_t ordered_bytes = 0;
};

// A weight where it lies in the mapped file: `rows` outputs by `columns` inputs, row by row.
// A norm's vector has one row. Lengths were checked against the file by the caller.
struct WeightData {
  Format format;
  int32_t rows, columns;
  const uint8_t* data;  // Of GPTQ the words of qweight: int32 [columns * bits / 32][rows]
  GptqParts gptq{};     // Of GPTQ only.
  // The bytes lie in a MappedFile: a backend with a copy of its own may release() them.
  bool mapped = false;
};

}  // namespace tramontane
