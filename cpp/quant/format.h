// The storage formats of weights.
#pragma once

#include <cstdint>

namespace tramontane {

// Names as in GGUF. The values are ours and cross the backend seam; GPTQ is the last.
enum class Format : int32_t {
  kF32,
  kF16,
  kBF16,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS,
  kQ8_1,
  kGptq,
};

constexpr int kFormatCount = static_cast<int>(Format::kGptq) + 1;

// Values as they are, one a block.
constexpr bool is_float(Format format) {
  return format == Format::kF32 || format == Format::kF16 || format == Format::kBF16;
}

struct FormatInfo {
  const char* name;
  int block_values;  // Weights in a block; a row is a whole number of blocks. 0 for GPTQ.
  int block_bytes;
};

// The table of all formats; defined in format.cc.
const FormatInfo& format_info(Format format);

// Of rows that lie one after another, each of whole blocks.
inline uint64_t matrix_bytes(const FormatInfo& info, int32_t rows, int32_t columns) {
  return uint64_t(rows) * uint64_t(columns / info.block_values) * uint64_t(info.block_bytes);
}

// Looks a format up by name; false when there is none.
bool find_format(const char* name, Format* format);

// Decodes `blocks * block_values` weights to f32: the definition of each format, and the oracle
// of every kernel. Not for GPTQ. `source` needs no alignment.
void decode_blocks(Format format, const uint8_t* source, int64_t blocks, float* out);

}  // namespace tramontane
