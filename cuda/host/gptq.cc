#include "host/gptq.h"

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "quant/gptq.h"

namespace tramontane::cuda {
namespace {

int group_count(const WeightData& weight) {
  return (weight.columns + weight.gptq.group_size - 1) / weight.gptq.group_size;
}

// Calls visit(scale) for the scales of all groups and outputs, in the file's order.
template <class Visit>
bool all_scales(const WeightData& weight, Visit visit) {
  for (int group = 0; group < group_count(weight); ++group) {
    for (int output = 0; output < weight.rows; ++output) {
      if (!visit(gptq_scale(weight.gptq, weight.rows, group, output))) return false;
    }
  }
  return true;
}

}  // namespace

GptqOrder gptq_order(const WeightData& weight) {
  const GptqParts& parts = weight.gptq;
  GptqOrder order{group_count(weight), false, {}};
  std::vector<int32_t> inputs(static_cast<size_t>(weight.columns));
  for (int k = 0; k < weight.columns; ++k) inputs[static_cast<size_t>(k)] = k;
  std::stable_sort(inputs.begin(), inputs.end(),
                   [&](int a, int b) { return gptq_group(parts, a) < gptq_group(parts, b); });
  const bool whole = parts.group_size >= weight.columns || parts.group_size % 32 == 0;
  order.regular = whole && weight.columns % 32 == 0;
  bool sorted = true;
  for (int place = 0; place < weight.columns; ++place) {
    const int32_t input = inputs[static_cast<size_t>(place)];
    sorted = sorted && input == place;
    order.regular = order.regular && gptq_group(parts, input) == place / parts.group_size;
  }
  if (!sorted) order.inputs = std::move(inputs);
  return order;
}

bool gptq_half_scales(const WeightData& weight, std::vector<uint16_t>* scales) {
  scales->clear();
  return all_scales(weight, [&](float scale) {
    scales->push_back(f32_to_f16(scale));
    return std::fabs(f16_to_f32(scales->back()) - scale) <= 0x1p-10f * std::fabs(scale);
  });
}

bool gptq_fits_half(const WeightData& weight) {
  return all_scales(weight, [](float scale) { return std::fabs(scale) < 64.0f; });  // Codes < 256.
}

}  // namespace tramontane::cuda
