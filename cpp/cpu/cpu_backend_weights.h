// The weights of a model: matrices where they lie in the file, norms decoded to f32.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"

namespace tramontane::cpu {

class Weights {
 public:
  Weights(const ModelShape& shape, Compute compute);

  // Throws StatusError for a weight whose shape or format does not fit its role.
  void set(Role role, int32_t layer, const WeightData& weight);
  // Throws StatusError naming a weight that was not set.
  void check_complete() const;

  bool has(Role role, int32_t layer) const;
  // Of weights that were set.
  const WeightData& matrix(Role role, int32_t layer) const { return slot(role, layer).data; }
  const float* norm(Role role, int32_t layer) const { return slot(role, layer).norm.data(); }

  // Whether linear() of this weight takes activations quantized to int8.
  bool takes_int8(const WeightData& weight) const;

 private:
  struct Slot {
    bool set = false;
    WeightData data{};
    GptqParts gptq{};
    std::vector<float> norm;
  };
  const Slot& slot(Role role, int32_t layer) const { return slots_[index(role, layer)]; }
  size_t index(Role role, int32_t layer) const;
  bool exists(Role role, int32_t layer) const;
  int32_t layers_with(Role role) const;

  ModelShape shape_;
  Compute compute_;
  std::vector<Slot>
      slots_;  // [layers + 1][roles]; the last layer's are the weights that exist once.
};

bool is_norm(Role role);

}  // namespace tramontane::cpu
