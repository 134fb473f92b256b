// The CUDA backend. The calls of a step are noted on a tape; it runs when a result is asked for or
// the step ends, so that neighbouring calls can be fused and the tape of a decode step be launched
// as one graph.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "host/adapters.h"
#include "host/sampling.h"
#include "host/step_buffers.h"
#include "host/weight_store.h"
#include "kernels/linear.h"

namespace tramontane::cuda {

class CudaBackend final : public Backend {
 public:
  // Throws StatusError.
  explicit CudaBackend(const BackendOptions& options);

  void destroy() override { delete this; }
  const char* implementation() const override { return implementation_.c_str(); }
  const char* last_error() const override { return last_error_.c_str(); }
  Status set_weight(Role role, int32_t layer, const WeightData& weight) override;
  Status finish_loading() override;
  Status load_adapter(int32_t adapter, const AdapterPair* pairs, int32_t count, char* error,
                      size_t error_size) override;
  void unload_adapter(int32_t adapter) override;
  // The pool was allocated whole, at the start.
  Status discard_pages(const int32_t*, int32_t) override { return Status::kOk; }
  Status begin_step(const Step& step) override;
  Status embed() override;
  Status rms_norm(Role norm, int32_t layer) override;
  Status linear(const Projection* projections, int32_t count, int32_t layer, Buffer in) override;
  Status linear_add(Role role, int32_t layer, Buffer in) override;
  Status rope_and_store(int32_t layer) override;
  Status attend(int32_t layer) override;
  Status swiglu() override;
  Status output_logits() override;
  Status sample(const SampleRow* rows, int32_t count, SampleResult* results) override;
  Status read_logits(int32_t output, float* out) override;
  Status cancel_step() override;
  Status end_step() override;

 private:
  enum class Call { kEmbed, kNorm, kLinear, kLinearAdd, kRope, kAttend, kSwiglu, kOutput };
  struct Operation {
    Call call;
    int32_t layer = 0;
    Role roles[kMaxProjections] = {};
    Buffer outs[kMaxProjections] = {};
    int count = 0;
    Buffer in = Buffer::kResidual;
    bool operator==(const Operation&) const = default;
  };
  struct Graph {
    StepPlan plan;
    AdapterPlan adapters;
    std::vector<Operation> tape;
    cudaGraphExec_t executable;
  };
  // One input of linear layers in the forms its readers want.
  struct Input {
    float* values;
    QuantizedRows quantized;
    bool is_quantized;  // `quantized` holds the same as `values`.
  };
  // Of a layer, by Role; what exists once is the first layer's.
  struct Weights {
    std::array<const StoredWeight*, kRoleCount> matrices{};
    std::array<DeviceArray<float>, kRoleCount> norms;
  };

  template <class Work>
  Status guard(Work work);
  Status note(const Operation& operation);

  ~CudaBackend();
  void allocate();
  void drop_graphs();
  void flush();
  void run_tape();
  void run_norm(const Operation& operation, const Operation* next);
  void run_linear(const StoredWeight* const* weights, float* const* outs, int count, bool add,
                  int rows, Input& in);
  void run_projections(const Operation& operation, bool swiglu);
  void run_swiglu(const Operation* next);
  void run_rope(int layer);
  void run_attend(int layer);
  void run_output();

  const StoredWeight* weight(Role role, int32_t layer) const;
  const float* norm(Role role, int32_t layer) const;
  bool fuses_swiglu(const Operation& operation, const Operation* next) const;
  void wants(const Operation* next, bool* values, bool* quantized) const;
  float* buffer(Buffer name) const;
  Input& input(Buffer name);
  LayerPages pages(int layer) const;

  const BackendOptions options_;
  std::string implementation_, last_error_;
  Stream stream_;
  std::unique_ptr<WeightStore> store_;
  std::vector<Weights> layers_;
  std::unique_ptr<StepBuffers> step_;
  Adapters adapters_;
  std::vector<DeviceArray<float>> buffers_;  // By Buffer.
  Input normed_{}, attended_{}, gated_{};
  std::vector<DeviceArray<int8_t>> quantized_;
  std::vector<DeviceArray<ActivationScale>> scales_;
  QuantizedRows permuted_{};
  DeviceArray<double> frequencies_;
  DeviceArray<float> partial_;
  DeviceArray<uint8_t> keys_, values_;
  std::unique_ptr<Sampling> sampling_;
  std::vector<Operation> tape_;
  std::vector<Graph> graphs_;
  CallOrder order_;
};

}  // namespace tramontane::cuda
