#include "cpu/gptq/gptq.h"

#include <algorithm>

#include "quant/gptq.h"

namespace tramontane::cpu {
namespace {

constexpr int32_t kBlock = 32;

int32_t group_of(const GptqParts& parts, int32_t input) {
  if (parts.group_index == nullptr) return input / parts.group_size;
  return static_cast<int32_t>(quant::load_word(parts.group_index, input));
}

}  // namespace

GptqOrder::GptqOrder(const GptqParts& parts, int32_t inputs) : columns(inputs) {
  std::vector<int32_t> groups(inputs);
  for (int32_t k = 0; k < inputs; ++k) groups[k] = group_of(parts, k);
  bool mixed = false;  // A block holds inputs of two groups.
  for (int32_t k = 0; k < inputs; ++k) mixed = mixed || groups[k] != groups[k / kBlock * kBlock];
  if (!mixed) {
    for (int32_t k = 0; k < inputs; k += kBlock) block_groups.push_back(groups[k]);
    return;
  }
  std::vector<int32_t> next;  // Per group: its inputs, then where the next one goes.
  for (const int32_t group : groups) {
    next.resize(std::max(next.size(), static_cast<size_t>(group) + 1));
    ++next[group];
  }
  for (size_t group = 0; group < next.size(); ++group) {
    const int32_t blocks = (next[group] + kBlock - 1) / kBlock;
    next[group] = static_cast<int32_t>(block_groups.size()) * kBlock;
    block_groups.insert(block_groups.end(), blocks, static_cast<int32_t>(group));
  }
  columns = static_cast<int32_t>(block_groups.size()) * kBlock;
  order.assign(columns, kNoInput);
  for (int32_t k = 0; k < inputs; ++k) order[next[groups[k]]++] = k;
}

void permute_gptq(const GptqOrder& order, const float* in, float* out) {
  for (int32_t i = 0; i < order.columns; ++i) {
    const int32_t from = order.order[i];
    out[i] = from == GptqOrder::kNoInput ? 0.0f : in[from];
  }
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
      if (group_of(parts, k) != group) {
        group = group_of(parts, k);
        zero = gptq_zero(parts, weight.rows, group, output);
        scale = gptq_scale(parts, weight.rows, group, output);
      }
      const uint32_t q = quant::gptq_field(column, weight.rows, parts.bits, k);
      *out++ = static_cast<float>(static_cast<int32_t>(q) - zero) * scale;
    }
  }
}

}  // namespace tramontane::cpu
