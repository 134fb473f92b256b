// Chooses what computes a model, hands it the weights, and says why it is this one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda_plugin.h"

namespace tramontane {

enum class BackendName { kAuto, kCpu, kCuda };

// What shall compute. `kAuto`: a GPU where the model fits on one, else the CPU.
struct BackendRequest {
  BackendName name = BackendName::kCpu;
  bool falls_back = true;             // Of kAuto: otherwise what keeps a GPU off is an error.
  std::string cpu_reason = "option";  // Of kCpu: why it is the CPU.
  std::string plugin;                 // Path of the CUDA plug-in. Empty: there is none,
  std::string plugin_problem;         // and this says where it was looked for.
  int32_t device = 0;                 // The GPU, as CUDA_VISIBLE_DEVICES leaves them, from 0.
  double memory_fraction = 1;         // Of the GPU's free memory, (0, 1].
  CreateBackend* create_cpu = tramontane_create_cpu_backend;  // Tests have one that fails.
};

// How many pages the KV pool gets, which depends on what computes.
struct PoolPages {
  std::function<int32_t()> cpu;
  int32_t gpu_least;                         // With room for fewer the model does not fit.
  std::function<int32_t(int32_t room)> gpu;  // Of `room` pages that fit.
};

// A weight of the model where it lies in its file.
struct ModelWeight {
  std::string name;  // For messages.
  Role role;
  int32_t layer;  // 0 for weights that exist once.
  WeightData data;
};

struct OpenedBackend {
  struct Destroy {
    void operator()(Backend* backend) const { backend->destroy(); }
  };
  std::unique_ptr<CudaPlugin> plugin;  // Outlives the backend it made.
  std::unique_ptr<Backend, Destroy> backend;
  std::string device;  // Name of the GPU that computes. Empty: the CPU does.
  std::string reason;  // 'option', what kept `kAuto` from a GPU, or that nothing did.
};

// Told how much of the weights a GPU has, 0 to 1. What it throws (no Error) gives the loading up.
using LoadProgress = std::function<void(double fraction)>;

// `options` has all but what the choice decides: `pages` and `device`. Throws Error; where
// kAuto falls back, what keeps a GPU from computing is the reason that the CPU does, not an error.
OpenedBackend open_backend(const BackendRequest& request, const BackendOptions& options,
                           const PoolPages& pages, const std::vector<ModelWeight>& weights,
                           const LoadProgress& progress);

}  // namespace tramontane
