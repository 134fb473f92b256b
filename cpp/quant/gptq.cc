#include "quant/gptq.h"

namespace tramontane {

int32_t gptq_group(const GptqParts& parts, int32_t input) {
  if (parts.group_index == nullptr) return input / parts.group_size;
  return static_cast<int32_t>(quant::load_word(parts.group_index, input));
}

int32_t gptq_zero(const GptqParts& parts, int32_t rows, int32_t group, int32_t output) {
  const uint8_t* zeros = parts.qzeros + int64_t{group} * rows * parts.bits / 8;
  const uint32_t stored = quant::gptq_field(zeros, 1, parts.bits, output);
  return static_cast<int32_t>((stored + parts.zero_bias) & ((1u << parts.bits) - 1));
}

float gptq_scale(const GptqParts& parts, int32_t rows, int32_t group, int32_t output) {
  const int bytes = format_info(parts.scale_format).block_bytes;
  float scale;
  decode_blocks(parts.scale_format, parts.scales + (int64_t{group} * rows + output) * bytes, 1,
                &scale);
  return scale;
}

void decode_gptq(const WeightData& weight, int32_t first, int32_t last, float* out) {
  const GptqParts& parts = weight.gptq;
  for (int32_t output = first; output < last; ++output) {
    const uint8_t* column = weight.data + int64_t{4} * output;
    int32_t group = -1, zero = 0;
    float scale = 0;
    for (int32_t k = 0; k < weight.columns; ++k) {
      if (gptq_group(parts, k) != group) {
        group = gptq_group(parts, k);
        zero = gptq_zero(parts, weight.rows, group, output);
        scale = gptq_scale(parts, weight.rows, group, output);
      }
      const uint32_t q = quant::gptq_field(column, weight.rows, parts.bits, k);
      *out++ = static_cast<float>(static_cast<int32_t>(q) - zero) * scale;
    }
  }
}

}  // namespace tramontane
