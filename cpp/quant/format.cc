#include "quant/format.h"

#include <cstring>

#include "quant/blocks.h"

namespace tramontane {
namespace {

struct Row {
  FormatInfo info;
  quant::UnpackBlock unpack;
};

template <class Block>
constexpr Row quantized(const char* name, int values) {
  return {{name, values, sizeof(Block)}, quant::unpack_block<Block>};
}

// In the order of Format.
constexpr Row kTable[kFormatCount] = {
    {{"F32", 1, 4}, nullptr},
    {{"F16", 1, 2}, nullptr},
    {{"BF16", 1, 2}, nullptr},
    quantized<quant::Q4_0>("Q4_0", 32),
    quantized<quant::Q4_1>("Q4_1", 32),
    quantized<quant::Q5_0>("Q5_0", 32),
    quantized<quant::Q5_1>("Q5_1", 32),
    quantized<quant::Q8_0>("Q8_0", 32),
    quantized<quant::Q2_K>("Q2_K", 256),
    quantized<quant::Q3_K>("Q3_K", 256),
    quantized<quant::Q4_K>("Q4_K", 256),
    quantized<quant::Q5_K>("Q5_K", 256),
    quantized<quant::Q6_K>("Q6_K", 256),
    quantized<quant::IQ4_NL>("IQ4_NL", 32),
    quantized<quant::IQ4_XS>("IQ4_XS", 256),
    quantized<quant::Q8_1>("Q8_1", 32),
    {{"GPTQ", 0, 0}, nullptr},
};

uint16_t load_u16(const uint8_t* source) {
  uint16_t value;
  std::memcpy(&value, source, sizeof value);
  return value;
}

}  // namespace

const FormatInfo& format_info(Format format) { return kTable[static_cast<int>(format)].info; }

bool find_format(const char* name, Format* format) {
  for (int i = 0; i < kFormatCount; ++i) {
    if (std::strcmp(kTable[i].info.name, name) != 0) continue;
    *format = static_cast<Format>(i);
    return true;
  }
  return false;
}

quant::UnpackBlock quant::unpack_function(Format format) {
  return kTable[static_cast<int>(format)].unpack;
}

void decode_blocks(Format format, const uint8_t* source, int64_t blocks, float* out) {
  switch (format) {
    case Format::kF32:
      std::memcpy(out, source, static_cast<size_t>(blocks) * sizeof(float));
      return;
    case Format::kF16:
      for (int64_t i = 0; i < blocks; ++i) out[i] = f16_to_f32(load_u16(source + 2 * i));
      return;
    case Format::kBF16:
      for (int64_t i = 0; i < blocks; ++i) out[i] = bf16_to_f32(load_u16(source + 2 * i));
      return;
    default:
      break;
  }
  const Row& row = kTable[static_cast<int>(format)];
  if (row.unpack == nullptr) return;
  const int count = row.info.block_values / quant::kGroupValues;
  quant::Group groups[quant::kMaxBlockGroups];
  for (int64_t block = 0; block < blocks; ++block, source += row.info.block_bytes) {
    row.unpack(source, groups);
    for (int g = 0; g < count; ++g) {
      for (int i = 0; i < quant::kGroupValues; ++i) {
        const float scaled = groups[g].scale[i / 16] * static_cast<float>(groups[g].q[i]);
        *out++ = scaled + groups[g].offset[i / 16];
      }
    }
  }
}

}  // namespace tramontane
