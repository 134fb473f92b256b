#include "cpu/backend/cpu_backend_weights.h"

#include <string>
#include <utility>

#include "backend/rules.h"

namespace tramontane::cpu {
Weights::Weights(const ModelShape& shape, Compute compute)
    : shape_(shape),
      compute_(compute),
      matrices_(static_cast<size_t>(shape.layers) * static_cast<size_t>(kRoleCount)),
      norms_(matrices_.size()) {}

size_t Weights::index(Role role, int32_t layer) const {
  return static_cast<size_t>(layer) * static_cast<size_t>(kRoleCount) + static_cast<size_t>(role);
}

void Weights::set(Role role, int32_t layer, const WeightData& weight) {
  check_weight(role, layer, weight, shape_);
  Matrix made;
  made.data = weight;
  made.takes_int8 = compute_ == Compute::kInt8 && !is_float(weight.format);
  if (is_norm(role)) {
    std::vector<float>& norm = norms_[index(role, layer)];
    norm.resize(static_cast<size_t>(weight.columns));
    decode_blocks(weight.format, weight.data,
                  weight.columns / format_info(weight.format).block_values, norm.data());
  }
  matrices_[index(role, layer)] = std::move(made);
}

void Weights::finish(const Workers& workers) {
  for (int32_t i = 0; i < kRoleCount; ++i) {
    const Role role = static_cast<Role>(i);
    for (int32_t layer = 0; layer < layers_with(role, shape_); ++layer) {
      Matrix& matrix = matrices_[index(role, layer)];
      if (matrix.data.data == nullptr) {
        throw StatusError(Status::kInvalid, describe(role, layer) + " was not set");
      }
      if (matrix.data.format == Format::kGptq && matrix.takes_int8) {
        arrange(matrix, layer, workers);
      }
    }
  }
}

void Weights::arrange(Matrix& matrix, int32_t layer, const Workers& workers) {
  const WeightData& data = matrix.data;
  GptqOrder order(data.gptq, data.columns);
  matrix.block_groups = order.block_groups;
  matrix.layout = {order.columns, data.data, matrix.block_groups.data()};
  if (order.in_place()) return;
  const uint64_t bytes = ordered_gptq_bytes(data, order);
  if (data.gptq.ordered != nullptr) {
    require(data.gptq.ordered_bytes == bytes, "a GPTQ weight in a cache file has a wrong length");
    matrix.layout.qweight = data.gptq.ordered;
  } else {
    matrix.words = ReservedMemory(bytes);
    matrix.words.commit(0, bytes);
    matrix.words.prefer_huge_pages();
    reorder_gptq(data, order, workers, reinterpret_cast<uint32_t*>(matrix.words.data()));
    matrix.layout.qweight = matrix.words.data();
  }
  matrix.order = share(std::move(order), layer);
}

// The same order of another weight of the layer, or a new object.
std::shared_ptr<const GptqOrder> Weights::share(GptqOrder order, int32_t layer) const {
  for (int32_t i = 0; i < kRoleCount; ++i) {
    const auto& other = matrices_[index(static_cast<Role>(i), layer)].order;
    if (other && other->order == order.order) return other;
  }
  return std::make_shared<const GptqOrder>(std::move(order));
}

}  // namespace tramontane::cpu
