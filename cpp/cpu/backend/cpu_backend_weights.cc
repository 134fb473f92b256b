#include "cpu/backend/cpu_backend_weights.h"

#include <string>
#include <utility>

#include "backend/rules.h"

namespace tramontane::cpu {
Weights::Weights(const ModelShape& shape, Compute compute)
    : shape_(shape),
      compute_(compute),
      slots_(static_cast<size_t>(shape.layers) * static_cast<size_t>(kRoleCount)) {}

size_t Weights::index(Role role, int32_t layer) const {
  return static_cast<size_t>(layer) * static_cast<size_t>(kRoleCount) + static_cast<size_t>(role);
}

void Weights::set(Role role, int32_t layer, const WeightData& weight) {
  check_weight(role, layer, weight, shape_);
  Slot made;
  made.matrix.data = weight;
  made.matrix.takes_int8 = compute_ == Compute::kInt8 && !is_float(weight.format);
  if (is_norm(role)) {
    made.norm.resize(static_cast<size_t>(weight.columns));
    decode_blocks(weight.format, weight.data,
                  weight.columns / format_info(weight.format).block_values, made.norm.data());
  }
  made.set = true;
  slots_[index(role, layer)] = std::move(made);
}

void Weights::finish(const Workers& workers) {
  for (int32_t i = 0; i < kRoleCount; ++i) {
    const Role role = static_cast<Role>(i);
    for (int32_t layer = 0; layer < layers_with(role, shape_); ++layer) {
      Slot& slot = slots_[index(role, layer)];
      if (!slot.set) {
        throw StatusError(Status::kInvalid, describe(role, layer) + " was not set");
      }
      if (slot.matrix.data.format == Format::kGptq && slot.matrix.takes_int8) {
        arrange(slot, layer, workers);
      }
    }
  }
}

void Weights::arrange(Slot& slot, int32_t layer, const Workers& workers) {
  const WeightData& data = slot.matrix.data;
  GptqOrder order(data.gptq, data.columns);
  slot.block_groups = order.block_groups;
  slot.matrix.layout = {order.columns, data.data, slot.block_groups.data()};
  if (order.in_place()) return;
  const uint64_t bytes = ordered_gptq_bytes(data, order);
  if (data.gptq.ordered != nullptr) {
    require(data.gptq.ordered_bytes == bytes, "a GPTQ weight in a cache file has a wrong length");
    slot.matrix.layout.qweight = data.gptq.ordered;
  } else {
    slot.words = ReservedMemory(bytes);
    slot.words.commit(0, bytes);
    slot.words.prefer_huge_pages();
    reorder_gptq(data, order, workers, reinterpret_cast<uint32_t*>(slot.words.data()));
    slot.matrix.layout.qweight = slot.words.data();
  }
  slot.matrix.order = share(std::move(order), layer);
}

// The same order of another weight of the layer, or a new object.
std::shared_ptr<const GptqOrder> Weights::share(GptqOrder order, int32_t layer) const {
  for (int32_t i = 0; i < kRoleCount; ++i) {
    const auto& other = slots_[index(static_cast<Role>(i), layer)].matrix.order;
    if (other && other->order == order.order) return other;
  }
  return std::make_shared<const GptqOrder>(std::move(order));
}

}  // namespace tramontane::cpu
