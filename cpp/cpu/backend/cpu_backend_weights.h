// The weights of a model: matrices where they lie in the file, norms decoded to f32, and what is
// made of GPTQ weights once.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "base/reserved_memory.h"
#include "cpu/backend/workers.h"
#include "cpu/gptq/gptq.h"
#include "cpu/linear/linear.h"

namespace tramontane::cpu {

// A weight as linear layers use it.
struct Matrix {
  WeightData data{};
  bool takes_int8 = false;  // Meets activations quantized to int8.

  // Of a GPTQ weight that takes int8.
  GptqLayout layout{};
  // Of one whose inputs have to be brought into the order of their groups. Weights of a layer with
  // the same order share the object, so that their activations are permuted once.
  std::shared_ptr<const GptqOrder> order;

  // Columns of the activations that it meets.
  int32_t columns() const { return order ? order->columns : data.columns; }
};

class Weights {
 public:
  Weights(const ModelShape& shape, Compute compute);

  // Throws StatusError for a weight whose shape or format does not fit its role.
  void set(Role role, int32_t layer, const WeightData& weight);
  // After the last set(). Throws StatusError naming a weight that was not set.
  void finish(const Workers& workers);

  // Of weights that were set.
  const Matrix& matrix(Role role, int32_t layer) const { return slots_[index(role, layer)].matrix; }
  const float* norm(Role role, int32_t layer) const {
    return slots_[index(role, layer)].norm.data();
  }

 private:
  struct Slot {
    bool set = false;
    Matrix matrix;
    std::vector<int32_t> block_groups;  // What matrix.layout points to,
    ReservedMemory words;               // and this, where the order is another than the file's.
    std::vector<float> norm;
  };
  size_t index(Role role, int32_t layer) const;
  void arrange(Slot& slot, int32_t layer, const Workers& workers);
  std::shared_ptr<const GptqOrder> share(GptqOrder order, int32_t layer) const;

  ModelShape shape_;
  Compute compute_;
  std::vector<Slot> slots_;  // [layers][roles]; what exists once is the first layer's.
};

}  // namespace tramontane::cpu
