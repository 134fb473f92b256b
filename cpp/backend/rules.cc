#include "backend/rules.h"

#include <cmath>
#include <iterator>
#include <limits>
#include <set>
#include <utility>

#include "base/portable_math.h"

namespace tramontane {
namespace {

struct RoleInfo {
  std::string_view key;  // In lib/files/checkpoint.ts.
  const char* name;
  bool once;  // Not per layer.
};

// In the order of enum Role.
constexpr RoleInfo kRoles[] = {
    {"token_embedding", "the token embedding", true},
    {"output_norm", "the output norm", true},
    {"output", "the output", true},
    {"attention_norm", "an attention norm", false},
    {"query", "a query", false},
    {"key", "a key", false},
    {"value", "a value", false},
    {"attention_output", "an attention output", false},
    {"ffn_norm", "an FFN norm", false},
    {"ffn_gate", "an FFN gate", false},
    {"ffn_up", "an FFN up", false},
    {"ffn_down", "an FFN down", false},
};
static_assert(std::size(kRoles) == kRoleCount);

constexpr int32_t kMost = std::numeric_limits<int32_t>::max();
constexpr float kLargest = std::numeric_limits<float>::max();

[[noreturn]] void unsupported(const std::string& message) {
  throw StatusError(Status::kUnsupported, message);
}

void check_gptq(const WeightData& weight, const std::string& name) {
  const GptqParts& parts = weight.gptq;
  if (weight.data == nullptr || parts.qzeros == nullptr || parts.scales == nullptr ||
      parts.group_size < 1 || !is_float(parts.scale_format)) {
    throw StatusError(Status::kInvalid, name + " lacks parts of its GPTQ form");
  }
  if (parts.bits != 2 && parts.bits != 3 && parts.bits != 4 && parts.bits != 8) {
    unsupported(name + " has " + std::to_string(parts.bits) +
                " bits; GPTQ with 2, 3, 4 and 8 is supported");
  }
  if (weight.columns % 32 != 0 || weight.rows % 32 != 0) {
    unsupported(name + " has a side that is no multiple of 32, which GPTQ needs");
  }
}

void check_slice(const SequenceSlice& slice, const Step& step, const BackendOptions& options) {
  require(slice.rows > 0 && slice.rows <= step.rows - slice.first_row,
          "the sequences do not cover the rows in order");
  require(slice.position >= 0 && slice.position <= kMost - slice.rows,
          "a position is out of range");
  require(slice.adapter >= 0 && std::isfinite(slice.adapter_scale),
          "an adapter or its scale is out of range");
  const int32_t first = first_visible(slice.position, options.window) / kPageTokens;
  const int32_t last = (slice.position + slice.rows - 1) / kPageTokens;
  require(slice.pages != nullptr && slice.page_count > last - first,
          "the page table is shorter than what the rows see");
  for (int32_t page = first; page <= last; ++page) {
    const int32_t id = slice.pages[page % slice.page_count];
    require(id >= 0 && id < options.pages, "a page is out of range");
  }
}

}  // namespace

bool find_role(std::string_view key, Role* role) {
  for (int32_t i = 0; i < kRoleCount; ++i) {
    if (kRoles[i].key != key) continue;
    *role = static_cast<Role>(i);
    return true;
  }
  return false;
}

bool is_norm(Role role) {
  return role == Role::kAttentionNorm || role == Role::kFfnNorm || role == Role::kOutputNorm;
}

int32_t layers_with(Role role, const ModelShape& shape) {
  const int32_t index = static_cast<int32_t>(role);
  if (index < 0 || index >= kRoleCount) return 0;
  return kRoles[index].once ? 1 : shape.layers;
}

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
  throw StatusError(Status::kInvalid, "a role is out of range");
}

std::string describe(Role role, int32_t layer) {
  const RoleInfo& info = kRoles[static_cast<int32_t>(role)];
  std::string text = std::string(info.name) + " weight";
  if (!info.once) text += " (layer " + std::to_string(layer) + ")";
  return text;
}

int32_t width_of(Buffer buffer, const ModelShape& shape) {
  switch (buffer) {
    case Buffer::kResidual:
    case Buffer::kNormed:
      return shape.hidden;
    case Buffer::kQuery:
    case Buffer::kAttended:
      return shape.heads * shape.head_size;
    case Buffer::kKey:
    case Buffer::kValue:
      return shape.kv_heads * shape.head_size;
    case Buffer::kGate:
    case Buffer::kUp:
      return shape.ffn;
    case Buffer::kLogits:
      return shape.vocabulary;
  }
  throw StatusError(Status::kInvalid, "a buffer is out of range");
}

uint64_t page_bytes(const ModelShape& shape, KvType type) {
  const uint64_t values = static_cast<uint64_t>(shape.layers) *
                          static_cast<uint64_t>(shape.kv_heads) *
                          static_cast<uint64_t>(shape.head_size) * kPageTokens;
  return 2 * values * (type == KvType::kF16 ? 2 : 4);
}

std::vector<double> rope_frequencies(const ModelShape& shape) {
  std::vector<double> frequencies;
  frequencies.reserve(static_cast<size_t>(shape.head_size) / 2);
  for (int32_t i = 0; i < shape.head_size / 2; ++i) {
    frequencies.push_back(portable::pow(static_cast<double>(shape.rope_base),
                                        -2.0 * i / static_cast<double>(shape.head_size)));
  }
  return frequencies;
}

void CallOrder::require_loading() const {
  require(state_ == State::kLoading, "weights come before finish_loading(), which comes once");
}

void CallOrder::require_between_steps() const {
  require(state_ == State::kBetweenSteps, "the call comes after finish_loading() or end_step()");
}

void CallOrder::begun(int32_t outputs) {
  state_ = State::kInStep;
  outputs_ = outputs;
  has_logits_ = false;
}

void CallOrder::require_step() const {
  require(state_ == State::kInStep, "the call belongs between begin_step() and end_step()");
}

void CallOrder::require_logits(int32_t output) const {
  require_step();
  require(has_logits_, "the call comes after output_logits()");
  require(output >= 0 && output < outputs_, "an output is out of range");
}

void CallOrder::cancel() {
  require_step();
  state_ = State::kCancelled;
}

void CallOrder::end() {
  if (state_ != State::kCancelled) require_step();
  state_ = State::kBetweenSteps;
}

void check_options(const BackendOptions& options) {
  const ModelShape& shape = options.shape;
  for (const int32_t size :
       {shape.layers, shape.hidden, shape.ffn, shape.heads, shape.kv_heads, shape.head_size,
        shape.vocabulary, options.pages, options.max_rows, options.max_outputs}) {
    require(size >= 1, "a size in the options is below 1");
  }
  // So that no product of sizes overflows.
  require(shape.layers <= 4096, "there are too many layers");
  require(static_cast<int64_t>(shape.heads) * shape.head_size <= kMost &&
              static_cast<int64_t>(shape.kv_heads) * shape.head_size <= kMost,
          "heads times head size is out of range");
  require(shape.rms_epsilon >= 0 && std::isfinite(shape.rms_epsilon) && shape.rope_base >= 1 &&
              std::isfinite(shape.rope_base),
          "the RMS epsilon or the rope base is out of range");
  require(options.window >= 0, "the window is below 0");
  require(options.threads >= 1 && options.threads <= 4096, "threads are out of range");
  require(options.kv_type == KvType::kF16 || options.kv_type == KvType::kF32, "unknown KV type");
  require(options.compute == Compute::kInt8 || options.compute == Compute::kF32,
          "unknown compute type");
  require(
      shape.rope_pairing == RopePairing::kNeighbours || shape.rope_pairing == RopePairing::kHalves,
      "unknown rope pairing");
  if (shape.head_size % 8 != 0) {
    unsupported("the head size is " + std::to_string(shape.head_size) +
                ", which is no multiple of 8");
  }
  if (shape.heads % shape.kv_heads != 0) {
    unsupported(std::to_string(shape.heads) + " query heads cannot share " +
                std::to_string(shape.kv_heads) + " KV heads");
  }
}

void check_weight(Role role, int32_t layer, const WeightData& weight, const ModelShape& shape) {
  require(layer >= 0 && layer < layers_with(role, shape),
          "a weight's role or layer is out of range");
  const std::string name = describe(role, layer);
  const MatrixShape wanted = shape_of(role, shape);
  if (weight.rows != wanted.rows || weight.columns != wanted.columns) {
    throw StatusError(Status::kInvalid, name + " is " + std::to_string(weight.rows) + " by " +
                                            std::to_string(weight.columns) + ", not " +
                                            std::to_string(wanted.rows) + " by " +
                                            std::to_string(wanted.columns));
  }
  const int32_t format = static_cast<int32_t>(weight.format);
  if (format < 0 || format >= kFormatCount) unsupported(name + " has an unknown format");
  if (weight.format == Format::kGptq) {
    if (role == Role::kTokenEmbedding || is_norm(role)) {
      unsupported(name + " cannot be in GPTQ form");
    }
    check_gptq(weight, name);
  } else if (weight.data == nullptr ||
             weight.columns % format_info(weight.format).block_values != 0) {
    throw StatusError(Status::kInvalid, name + " has no data, or rows of broken blocks");
  }
}

void check_adapter(int32_t adapter, const AdapterPair* pairs, int32_t count,
                   const ModelShape& shape) {
  require(adapter > 0, "the number of an adapter is below 1");
  require(pairs != nullptr && count >= 1, "an adapter has no pairs");
  std::set<std::pair<Role, int32_t>> seen;
  for (int32_t i = 0; i < count; ++i) {
    const auto& [role, layer, down, up, scale, magnitude] = pairs[i];
    require(layers_with(role, shape) == shape.layers && !is_norm(role) && layer >= 0 &&
                layer < shape.layers,
            "a pair of an adapter belongs to no linear layer");
    require(seen.emplace(role, layer).second, "two pairs of an adapter are of one weight");
    const MatrixShape weight = shape_of(role, shape);
    require(down.rows >= 1 && down.rows <= kMaxAdapterRank && down.rows == up.columns &&
                down.columns == weight.columns && up.rows == weight.rows,
            "a pair of an adapter does not fit its weight");
    require(
        down.data != nullptr && up.data != nullptr && is_float(down.format) && is_float(up.format),
        "a pair of an adapter has no floats");
    require(std::isfinite(scale), "the scale of a pair of an adapter is not finite");
  }
}

void check_step(const Step& step, const BackendOptions& options) {
  require(step.rows >= 1 && step.rows <= options.max_rows && step.tokens != nullptr,
          "a step's rows are out of range");
  require(step.outputs >= 0 && step.outputs <= options.max_outputs &&
              (step.outputs == 0 || step.output_rows != nullptr),
          "a step's outputs are out of range");
  require(step.sequence_count >= 1 && step.sequences != nullptr, "a step has no sequences");
  for (int32_t i = 0; i < step.rows; ++i) {
    require(step.tokens[i] >= 0 && step.tokens[i] < options.shape.vocabulary,
            "a token is out of range");
  }
  for (int32_t i = 0; i < step.outputs; ++i) {
    const int32_t previous = i == 0 ? -1 : step.output_rows[i - 1];
    require(step.output_rows[i] > previous && step.output_rows[i] < step.rows,
            "the output rows do not ascend within the step");
  }
  int32_t rows = 0;
  for (int32_t i = 0; i < step.sequence_count; ++i) {
    require(step.sequences[i].first_row == rows, "the sequences do not cover the rows in order");
    check_slice(step.sequences[i], step, options);
    rows += step.sequences[i].rows;
  }
  require(rows == step.rows, "the sequences do not cover all rows");
}

void check_norm(Role role, int32_t layer, const ModelShape& shape) {
  require(is_norm(role) && layer >= 0 && layer < layers_with(role, shape), "there is no such norm");
}

void check_layer(int32_t layer, const ModelShape& shape) {
  require(layer >= 0 && layer < shape.layers, "a layer is out of range");
}

void check_projection(Role role, int32_t layer, Buffer in, Buffer out, const ModelShape& shape) {
  require(!is_norm(role) && layer >= 0 && layer < layers_with(role, shape),
          "there is no such weight");
  const MatrixShape weight = shape_of(role, shape);
  require(in != Buffer::kLogits && out != Buffer::kLogits && in != out &&
              weight.columns == width_of(in, shape) && weight.rows == width_of(out, shape),
          "a buffer does not fit its weight");
}

void check_projections(const Projection* projections, int32_t count, int32_t layer, Buffer in,
                       const ModelShape& shape) {
  require(projections != nullptr && count >= 1 && count <= kMaxProjections,
          "linear() takes one to three projections");
  for (int32_t i = 0; i < count; ++i) {
    check_projection(projections[i].role, layer, in, projections[i].out, shape);
    for (int32_t j = 0; j < i; ++j) {
      require(projections[j].out != projections[i].out, "two projections have one output");
    }
  }
}

void check_sample(const SampleRow& row, const SampleResult& result, int32_t vocabulary) {
  require(row.temperature >= 0 && row.temperature <= kLargest, "the temperature is out of range");
  require(row.repetition_penalty > 0 && row.repetition_penalty <= kLargest,
          "the repetition penalty is out of range");
  require(std::isfinite(row.presence_penalty) && std::isfinite(row.frequency_penalty),
          "a penalty is not finite");
  require(row.top_k >= 0, "top-k is out of range");
  require(row.top_p > 0 && row.top_p <= 1, "top-p is out of range");
  require(row.min_p >= 0 && row.min_p <= 1, "min-p is out of range");
  require(row.top <= 0 || result.top != nullptr, "an array of a sample's results is missing");
  require(row.bias_count == 0 ||
              (row.bias_count > 0 && row.bias_tokens != nullptr && row.bias_values != nullptr),
          "an array of a sample's biases is missing");
  require(row.seen_count == 0 ||
              (row.seen_count > 0 && row.seen_tokens != nullptr && row.seen_counts != nullptr),
          "an array of a sample's seen tokens is missing");
  for (int32_t i = 0; i < row.bias_count; ++i) {
    require(row.bias_tokens[i] >= 0 && row.bias_tokens[i] < vocabulary &&
                !std::isnan(row.bias_values[i]),
            "a bias is out of range");
  }
  for (int32_t i = 0; i < row.seen_count; ++i) {
    require(row.seen_tokens[i] >= 0 && row.seen_tokens[i] < vocabulary && row.seen_counts[i] >= 0,
            "a seen token is out of range");
  }
}

void check_samples(const SampleRow* rows, const SampleResult* results, int32_t count,
                   const CallOrder& order, const BackendOptions& options) {
  order.require_step();
  require(count >= 0 && count <= options.max_outputs &&
              (count == 0 || (rows != nullptr && results != nullptr)),
          "sampled rows are missing, or too many");
  for (int32_t i = 0; i < count; ++i) {
    order.require_logits(rows[i].output);
    check_sample(rows[i], results[i], options.shape.vocabulary);
  }
}

}  // namespace tramontane
