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
  std::vector<int32_t> block_groups;  // What `layout` points to,
  ReservedMemory words;               // and this, where the order is another than the file's.

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
  const Matrix& matrix(Role role, int32_t layer) const { return matrices_[index(role, layer)]; }
  const float* norm(Role role, int32_t layer) const { return norms_[index(role, layer)].data(); }

 private:
  size_t index(Role role, int32_t layer) const;
  void arrange(Matrix& matrix, int32_t layer, const Workers& workers);
  std::shared_ptr<const GptqOrder> share(GptqOrder order, int32_t layer) const;

  ModelShape shape_;
  Compute compute_;
  // [layers][roles]; what exists once is the first layer's. A norm has `data` here too.
  std::vector<Matrix> matrices_;
  std::vector<std::vector<float>> norms_;
};

}  // namespace tramontane::cpu
