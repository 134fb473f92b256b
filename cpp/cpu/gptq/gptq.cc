#include "cpu/gptq/gptq.h"

#include <algorithm>

namespace tramontane::cpu {
namespace {

constexpr int32_t kBlock = 32;

}  // namespace

GptqOrder::GptqOrder(const GptqParts& parts, int32_t inputs) : columns(inputs) {
  std::vector<int32_t> groups(inputs);
  for (int32_t k = 0; k < inputs; ++k) groups[k] = gptq_group(parts, k);
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

}  // namespace tramontane::cpu
