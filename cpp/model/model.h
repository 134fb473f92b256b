// A loaded model: its mapped files and the backend that holds its weights.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda_plugin.h"
#include "model/sequence.h"
#include "model/weight_files.h"

namespace tramontane {

// That the model shall run on a GPU.
struct CudaRequest {
  std::string plugin;                       // Path of the shared library.
  int32_t device;                           // As CUDA_VISIBLE_DEVICES leaves them, from 0.
  double memory_fraction;                   // Of the device's free memory, (0, 1].
  int32_t least_kv_tokens, most_kv_tokens;  // The pool holds what fits, between these.
  bool required;                            // Otherwise the CPU computes where CUDA cannot.
};

// What the TypeScript side says about a checkpoint. Believed only as far as it is checked again.
struct ModelDescription {
  std::vector<std::string> files;
  std::vector<WeightPlace> weights;
  ModelShape shape;
  int32_t window;     // 0: none
  int32_t context;    // Most tokens of a sequence.
  int32_t kv_tokens;  // Tokens the KV pool holds on the CPU.
  int32_t threads;
  KvType kv_type;
  Compute compute;
  std::optional<CudaRequest> cuda;
};

// Most tokens one step computes, over all sequences.
constexpr int32_t kMaxStepRows = 512;
// Most rows one step gives logits of.
constexpr int32_t kMaxStepOutputs = 256;

class Model {
 public:
  // Maps the files, chooses the backend and hands it every weight. Throws Error.
  explicit Model(const ModelDescription& description);

  Backend& backend() { return *backend_; }
  const ModelShape& shape() const { return shape_; }
  const SequenceLimits& limits() const { return limits_; }
  int32_t pages() const { return pages_; }
  // Name of the GPU that computes; empty: the CPU does.
  const std::string& device() const { return device_; }
  // Why CUDA was asked for and is not used; empty otherwise.
  const std::string& cuda_problem() const { return cuda_problem_; }

 private:
  struct Destroy {
    void operator()(Backend* backend) const { backend->destroy(); }
  };

  static std::vector<cuda::WeightShape> stored_once(const std::vector<FoundWeight>& weights);
  void use_cuda(const CudaRequest& request, BackendOptions options,
                const std::vector<FoundWeight>& weights);
  void use_backend(CreateBackend* create, const BackendOptions& options,
                   const std::vector<FoundWeight>& weights);

  WeightFiles files_;                   // Outlive the backend, which points into them.
  std::unique_ptr<CudaPlugin> plugin_;  // Outlives the backend it made.
  std::unique_ptr<Backend, Destroy> backend_;
  ModelShape shape_;
  SequenceLimits limits_;
  int32_t pages_ = 0;
  std::string device_, cuda_problem_;
};

}  // namespace tramontane
