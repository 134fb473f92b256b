// Trains low-rank adapters of a model whose own weights stay as they lie in its file (Hu et al.,
// arXiv:2106.09685; on quantized weights, Dettmers et al., arXiv:2305.14314). On the CPU, beside
// the inference seam: it maps the weights for itself and shares the process's threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/aligned_buffer.h"
#include "cpu/backend/cpu_backend_linear.h"
#include "cpu/backend/cpu_backend_weights.h"
#include "cpu/backend/workers.h"
#include "cpu/products/products.h"
#include "model/model.h"
#include "model/weight_files.h"
#include "train/attention.h"

namespace tramontane::train {

struct LoraOptions {
  int32_t rank;
  float scale;  // alpha / rank, or alpha / sqrt(rank): y = W x + scale B A dropout(x)
  float dropout;
  uint64_t seed;              // Of dropout.
  std::vector<Role> targets;  // Roles of linear layers; each has an adapter in every layer.
};

// Samples packed one after another: what one call of accumulate() computes.
struct PackedSequence {
  std::vector<int32_t> tokens;  // [n]
  std::vector<int32_t> labels;  // [n] the token that should follow; -1: not learned.
  std::vector<Sample> samples;  // Cover all n rows.
};

// Loshchilov and Hutter, arXiv:1711.05101.
struct AdamW {
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  float most_norm;  // A longer gradient is scaled down to it. 0: none is.
  int32_t step;     // From 1 on.
};

// What the optimizer knows, float by float: the adapters, and the moving means of their gradients
// and of these squared. By layer, by role in the order of LoraOptions::targets: A [rank][inputs],
// then B^T [rank][outputs].
enum class State : int32_t { kParameters, kFirstMoments, kSecondMoments };
constexpr int32_t kStateCount = 3;

class Trainer {
 public:
  // `most_rows`: of a sequence. Throws Error, std::bad_alloc, std::system_error.
  Trainer(const ModelDescription& description, LoraOptions options, int32_t most_rows);

  int32_t most_rows() const { return most_rows_; }
  const ModelShape& shape() const { return shape_; }
  std::vector<float>& state(State which) { return states_[static_cast<size_t>(which)]; }

  // The sum of a sequence's losses. Adds the gradient of `scale` times that to what there is;
  // `number`, another for each sequence, chooses what dropout drops. None when it was cancelled:
  // the gradient is then of no use.
  std::optional<double> accumulate(const PackedSequence& sequence, float scale, uint64_t number);
  // The sum of a sequence's losses without dropout.
  std::optional<double> evaluate(const PackedSequence& sequence);
  // One step of the optimizer; the gradient is zero after it. Returns its norm before clipping;
  // where that is no number, nothing but the gradient has changed.
  double update(const AdamW& options);
  void forget_gradient();

  // From any thread: accumulate() and evaluate() at hand return soon, and later ones at once.
  void cancel() { cancelled_ = true; }

 private:
  // An adapter's place in the states and in the gradient.
  struct Adapter {
    int64_t a, b;
    int32_t inputs, outputs;
  };
  // Of the sequence at hand, what linear layers need.
  struct Pass {
    int32_t rows;
    bool dropout;
    uint64_t number;
  };

  const WeightData& weight(Role role, int32_t layer) const {
    return weights_.matrix(role, layer).data;
  }
  const Adapter* adapter(Role role, int32_t layer) const;
  void add_adapters();
  void reserve();

  std::optional<double> run(const PackedSequence& sequence, const Pass& pass, float scale,
                            bool learn);
  void embed(const std::vector<int32_t>& tokens, float* out);
  void fill_rotations(const std::vector<Sample>& samples);
  void rotate(float* query, float* key, int32_t rows, float sign);
  void layer_forward(int32_t layer, const PackedSequence& sequence, const Pass& pass,
                     const float* in, float* out);
  void layer_backward(int32_t layer, const PackedSequence& sequence, const Pass& pass,
                      const float* in, float* d_residual);
  double loss(const PackedSequence& sequence, const float* residual, float scale,
              float* d_residual);

  void linear(Role role, int32_t layer, const Pass& pass, const float* in, float* out, bool add);
  void linear_backward(Role role, int32_t layer, const Pass& pass, const float* in,
                       const float* d_out, float* d_in, bool add);
  const float* reduce(Role role, int32_t layer, const Pass& pass, const float* in);
  float* low_rank(Role role, const Pass& pass);
  const float* dropped(Role role, int32_t layer, const Pass& pass, const float* in, int32_t width);
  void drop(Role role, int32_t layer, const Pass& pass, int32_t width, float* values);
  template <typename Function>
  void for_each_row(int32_t rows, double work, Function&& fn);

  const WeightFiles files_;
  const ModelShape shape_;
  const LoraOptions options_;
  const int32_t most_rows_;
  const cpu::Workers workers_;
  cpu::Weights weights_;
  cpu::LinearLayers int8_;
  cpu::Products products_;
  Attention attention_;
  const std::vector<double> frequencies_;  // [head_size / 2]
  std::atomic<bool> cancelled_{false};

  std::vector<Adapter> adapters_;  // [layers][targets]
  std::vector<float> states_[kStateCount];
  std::vector<float> gradient_;

  // Activations, [rows][...]. Kept for backward: what each layer began with.
  AlignedBuffer<float> residuals_;        // [layers + 1][rows][hidden]
  AlignedBuffer<float> cosines_, sines_;  // [rows][head_size / 2]
  AlignedBuffer<float> normed_, middle_,
      normed_middle_;  // [hidden]; the residual between the halves
  AlignedBuffer<float> query_, key_, value_, attended_, log_sums_;
  AlignedBuffer<float> gate_, up_, product_;  // [ffn]
  AlignedBuffer<float> d_residual_, d_normed_, d_query_, d_key_, d_value_, d_attended_, d_product_;
  AlignedBuffer<float> low_rank_;    // [roles][rank][rows] scale A x of the layer at hand
  AlignedBuffer<float> d_low_rank_;  // [rank][rows]
  AlignedBuffer<float> dropped_;     // [rows][widest input] where there is dropout
  AlignedBuffer<float> logits_;      // [kLossRows][vocabulary]
};

}  // namespace tramontane::train
