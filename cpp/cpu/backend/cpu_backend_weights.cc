#include "cpu/backend/cpu_backend_weights.h"

#include <string>
#include <utility>

#include "cpu/backend/status_error.h"

namespace tramontane::cpu {
namespace {

struct RoleInfo {
  const char* name;
  bool once;  // Not per layer.
};

constexpr RoleInfo kRoles[] = {
    {"the token embedding", true},
    {"the output norm", true},
    {"the output", true},
    {"an attention norm", false},
    {"a query", false},
    {"a key", false},
    {"a value", false},
    {"an attention output", false},
    {"an FFN norm", false},
    {"an FFN gate", false},
    {"an FFN up", false},
    {"an FFN down", false},
};
constexpr int32_t kRoleCount = sizeof kRoles / sizeof *kRoles;
static_assert(static_cast<int32_t>(Role::kFfnDown) + 1 == kRoleCount);

struct MatrixShape {
  int32_t rows, columns;
};

MatrixShape shape_of(Role role, const ModelShape& shape) {
  const int32_t query = shape.heads * shape.head_size, key = shape.kv_heads * shape.head_size;
  switch (role) {
    case Role::kTokenEmbedding:
    case Role::kOutput:
      return {shape.vocabulary, shape.hidden};
    case Role::kOutputNorm:
    case Role::kAttentionNorm:
    case Role::kFfnNorm:
      return {1, shape.hidden};
    case Role::kQuery:
      return {query, shape.hidden};
    case Role::kKey:
    case Role::kValue:
      return {key, shape.hidden};
    case Role::kAttentionOutput:
      return {shape.hidden, query};
    case Role::kFfnGate:
    case Role::kFfnUp:
      return {shape.ffn, shape.hidden};
    case Role::kFfnDown:
      return {shape.hidden, shape.ffn};
  }
  return {0, 0};
}

std::string describe(Role role, int32_t layer) {
  const RoleInfo& info = kRoles[static_cast<int32_t>(role)];
  std::string text = std::string(info.name) + " weight";
  if (!info.once) text += " (layer " + std::to_string(layer) + ")";
  return text;
}

bool is_float(Format format) {
  return format == Format::kF32 || format == Format::kF16 || format == Format::kBF16;
}

void check_gptq(const WeightData& weight, const std::string& name) {
  const GptqParts& parts = weight.gptq;
  if (weight.data == nullptr || parts.qzeros == nullptr || parts.scales == nullptr ||
      parts.group_size < 1 || !is_float(parts.scale_format)) {
    throw StatusError(Status::kInvalid, name + " lacks parts of its GPTQ form");
  }
  if (parts.bits != 2 && parts.bits != 3 && parts.bits != 4 && parts.bits != 8) {
    throw StatusError(Status::kUnsupported, name + " has " + std::to_string(parts.bits) +
                                                " bits; GPTQ with 2, 3, 4 and 8 is supported");
  }
  if (weight.columns % 32 != 0 || weight.rows % 32 != 0) {
    throw StatusError(Status::kUnsupported,
                      name + " has a side that is no multiple of 32, which GPTQ needs");
  }
}

}  // namespace

bool is_norm(Role role) {
  return role == Role::kAttentionNorm || role == Role::kFfnNorm || role == Role::kOutputNorm;
}

Weights::Weights(const ModelShape& shape, Compute compute)
    : shape_(shape),
      compute_(compute),
      slots_((static_cast<size_t>(shape.layers) + 1) * static_cast<size_t>(kRoleCount)) {}

bool Weights::has(Role role, int32_t layer) const {
  return exists(role, layer) && slots_[index(role, layer)].set;
}

bool Weights::exists(Role role, int32_t layer) const {
  const int32_t index = static_cast<int32_t>(role);
  return index >= 0 && index < kRoleCount && layer >= 0 && layer < layers_with(role);
}

int32_t Weights::layers_with(Role role) const {
  return kRoles[static_cast<int32_t>(role)].once ? 1 : shape_.layers;
}

size_t Weights::index(Role role, int32_t layer) const {
  const int32_t group = kRoles[static_cast<int32_t>(role)].once ? shape_.layers : layer;
  return static_cast<size_t>(group) * static_cast<size_t>(kRoleCount) + static_cast<size_t>(role);
}

void Weights::set(Role role, int32_t layer, const WeightData& weight) {
  require(exists(role, layer), "a weight's role or layer is out of range");
  const std::string name = describe(role, layer);
  const MatrixShape wanted = shape_of(role, shape_);
  if (weight.rows != wanted.rows || weight.columns != wanted.columns) {
    throw StatusError(Status::kInvalid, name + " is " + std::to_string(weight.rows) + " by " +
                                            std::to_string(weight.columns) + ", not " +
                                            std::to_string(wanted.rows) + " by " +
                                            std::to_string(wanted.columns));
  }
  const int32_t format = static_cast<int32_t>(weight.format);
  if (format < 0 || format >= kFormatCount) {
    throw StatusError(Status::kUnsupported, name + " has an unknown format");
  }

  Slot made;
  made.matrix.data = weight;
  made.matrix.takes_int8 = compute_ == Compute::kInt8 && !is_float(weight.format);
  if (weight.format == Format::kGptq) {
    if (role == Role::kTokenEmbedding || is_norm(role)) {
      throw StatusError(Status::kUnsupported, name + " cannot be in GPTQ form");
    }
    check_gptq(weight, name);
  } else {
    const int32_t block_values = format_info(weight.format).block_values;
    if (weight.data == nullptr || weight.columns % block_values != 0) {
      throw StatusError(Status::kInvalid, name + " has no data, or rows of broken blocks");
    }
    if (is_norm(role)) {
      made.norm.resize(static_cast<size_t>(weight.columns));
      decode_blocks(weight.format, weight.data, weight.columns / block_values, made.norm.data());
    }
  }
  made.set = true;
  slots_[index(role, layer)] = std::move(made);
}

void Weights::finish(const Workers& workers) {
  for (int32_t i = 0; i < kRoleCount; ++i) {
    const Role role = static_cast<Role>(i);
    for (int32_t layer = 0; layer < layers_with(role); ++layer) {
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
    if (kRoles[i].once) continue;
    const auto& other = slots_[index(static_cast<Role>(i), layer)].matrix.order;
    if (other && other->order == order.order) return other;
  }
  return std::make_shared<const GptqOrder>(std::move(order));
}

}  // namespace tramontane::cpu
