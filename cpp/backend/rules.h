// What backend.h means, for every backend: the roles and shapes of weights, the widths of buffers,
// what a step may ask for. The functions named check_...() throw StatusError.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "backend/status_error.h"

namespace tramontane {

constexpr int32_t kRoleCount = static_cast<int32_t>(Role::kFfnDown) + 1;
// Largest rank of a pair.
constexpr int32_t kMaxAdapterRank = 4096;
constexpr int32_t kBufferCount = static_cast<int32_t>(Buffer::kLogits) + 1;

// The role that lib/files/checkpoint.ts calls `key`; false when there is none.
bool find_role(std::string_view key, Role* role);
bool is_norm(Role role);
// How many layers have a weight of this role: 1 for those that exist once, none for what is no
// role.
int32_t layers_with(Role role, const ModelShape& shape);

struct MatrixShape {
  int32_t rows, columns;
};
MatrixShape shape_of(Role role, const ModelShape& shape);
// For messages: 'a query weight (layer 3)'.
std::string describe(Role role, int32_t layer);

// Floats in a row.
int32_t width_of(Buffer buffer, const ModelShape& shape);

// Of one page of kPageTokens tokens, keys and values, in all layers.
uint64_t page_bytes(const ModelShape& shape, KvType type);

// [head_size / 2] radians from one position to the next.
std::vector<double> rope_frequencies(const ModelShape& shape);

// The first position whose key a query at `position` sees. W = 48: the query at 100 sees 53..100,
// the one at 20 sees 0..20.
inline int32_t first_visible(int32_t position, int32_t window) {
  return window > 0 && position >= window ? position - window + 1 : 0;
}

// The order in which the calls of a backend come. All but finished_loading(), begun() and
// has_logits(), which say that something was done, throw StatusError.
class CallOrder {
 public:
  void require_loading() const;
  void finished_loading() { state_ = State::kBetweenSteps; }
  void require_between_steps() const;
  void begun(int32_t outputs);
  void require_step() const;
  void has_logits() { has_logits_ = true; }
  void require_logits(int32_t output) const;
  void cancel();
  void end();

 private:
  enum class State { kLoading, kBetweenSteps, kInStep, kCancelled };

  State state_ = State::kLoading;
  int32_t outputs_ = 0;
  bool has_logits_ = false;
};

void check_options(const BackendOptions& options);
void check_weight(Role role, int32_t layer, const WeightData& weight, const ModelShape& shape);
// That there is such a linear layer in each layer, that ranks and sizes fit, and that no weight has
// two pairs.
void check_adapter(int32_t adapter, const AdapterPair* pairs, int32_t count,
                   const ModelShape& shape);
void check_step(const Step& step, const BackendOptions& options);
// That there is such a norm.
void check_norm(Role role, int32_t layer, const ModelShape& shape);
void check_layer(int32_t layer, const ModelShape& shape);
// That there is such a weight, which takes rows of `in` to rows of `out`.
void check_projection(Role role, int32_t layer, Buffer in, Buffer out, const ModelShape& shape);
// The same of each, and that each has a buffer of its own.
void check_projections(const Projection* projections, int32_t count, int32_t layer, Buffer in,
                       const ModelShape& shape);
void check_sample(const SampleRow& row, const SampleResult& result, int32_t vocabulary);
// That there are as many rows and results, at most as many as a step has outputs.
void check_samples(const SampleRow* rows, const SampleResult* results, int32_t count,
                   const CallOrder& order, const BackendOptions& options);

}  // namespace tramontane
