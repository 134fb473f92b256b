// Adapters on the device: each in one piece of memory, uploaded when it is loaded and freed after
// the last step that has it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "host/device_memory.h"
#include "host/weight_store.h"
#include "kernels/adapters.h"

namespace tramontane::cuda {

// How the adapters of a step are launched: a part of what a graph is found by.
struct AdapterPlan {
  int groups = 0;  // 0: no row has an adapter.
  int ranks = 0;   // The largest of a pair, padded.
  bool sets_aside = false;
  bool operator==(const AdapterPlan&) const = default;
};

class Adapters {
 public:
  using FindWeight = std::function<const StoredWeight&(Role role, int32_t layer)>;

  explicit Adapters(const BackendOptions& options) : options_(options) {}

  // What load_adapter() and unload_adapter() do, on any thread. Throws StatusError, std::bad_alloc.
  void load(int32_t adapter, const AdapterPair* pairs, int32_t count, const FindWeight& weight);
  void unload(int32_t adapter);

  // Groups the rows of a step that was checked, and starts the copy of what the kernels read. True:
  // device addresses changed. Throws StatusError for an adapter that is not loaded.
  bool begin_step(const Step& step, const Stream& stream);
  // When the device has done the step.
  void end_step() { used_.clear(); }

  const AdapterPlan& plan() const { return plan_; }
  // Some outputs of a layer of `inputs` columns; `in` is [rows][inputs].
  struct Output {
    Role role;
    float* out;
  };
  void set_aside(const Output& output, int32_t layer, const Stream& stream) const;
  // `is_set_aside`: after set_aside() and a layer that added.
  void apply(const Output* outputs, int32_t count, int32_t layer, const float* in,
             bool is_set_aside, const Stream& stream) const;

 private:
  struct Adapter {
    DeviceArray<uint8_t> memory;  // The table of pairs first, [layer][role].
    int ranks = 0;
    bool has_magnitudes = false;
    const DevicePair* pairs() const { return reinterpret_cast<DevicePair*>(memory.data()); }
  };

  AdapterTask task(const Output* outputs, int32_t count, int32_t layer) const;

  const BackendOptions options_;
  std::mutex mutex_;
  std::map<int32_t, std::shared_ptr<const Adapter>> loaded_;

  // Of the step at hand.
  AdapterPlan plan_;
  std::vector<std::shared_ptr<const Adapter>> used_;
  PinnedArray<AdapterRows> pinned_;
  DeviceArray<AdapterRows> groups_;
  DeviceArray<float> reduced_;  // [kMaxProjections][rows][ranks]
  DeviceArray<float> aside_;    // [rows][hidden], where there are magnitudes
};

}  // namespace tramontane::cuda
