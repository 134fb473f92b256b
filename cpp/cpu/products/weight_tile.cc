#include "cpu/products/weight_tile.h"

#include "quant/gptq.h"

namespace tramontane::cpu {
namespace {

// Words hold inputs of one output, and neighbouring words neighbouring outputs: input by input the
// words of all outputs lie side by side. Same values as decode_gptq(), to the bit.
void decode_gptq_tile(const WeightData& weight, const WeightTile& tile, float* out) {
  const GptqParts& parts = weight.gptq;
  int32_t group = -1;
  int32_t zeros[kWeightTile];
  float scales[kWeightTile];
  for (int32_t i = 0; i < tile.inputs; ++i) {
    const int32_t input = tile.first_input + i;
    if (const int32_t own = gptq_group(parts, input); own != group) {
      group = own;
      for (int32_t o = 0; o < tile.outputs; ++o) {
        zeros[o] = gptq_zero(parts, weight.rows, group, tile.first_output + o);
        scales[o] = gptq_scale(parts, weight.rows, group, tile.first_output + o);
      }
    }
    for (int32_t o = 0; o < tile.outputs; ++o) {
      const uint8_t* column = weight.data + int64_t{4} * (tile.first_output + o);
      const uint32_t q = quant::gptq_field(column, weight.rows, parts.bits, input);
      out[int64_t{o} * kWeightTile + i] =
          static_cast<float>(static_cast<int32_t>(q) - zeros[o]) * scales[o];
    }
  }
}

}  // namespace

void decode_weight_tile(const WeightData& weight, const WeightTile& tile, float* out) {
  if (weight.format == Format::kGptq) return decode_gptq_tile(weight, tile, out);
  const FormatInfo& format = format_info(weight.format);
  const int64_t row_bytes = weight.columns / format.block_values * int64_t{format.block_bytes};
  const int64_t offset = tile.first_input / format.block_values * int64_t{format.block_bytes};
  for (int32_t o = 0; o < tile.outputs; ++o) {
    decode_blocks(weight.format, weight.data + (tile.first_output + o) * row_bytes + offset,
                  tile.inputs / format.block_values, out + int64_t{o} * kWeightTile);
  }
}

}  // namespace tramontane::cpu
