// What changes from step to step: built in pinned memory, copied to the device in one piece.
#pragma once

#include <vector>

#include "host/device_memory.h"
#include "kernels/attend.h"

namespace tramontane::cuda {

// How the rows of a step are computed. Steps of a bucket with the same plan are one graph.
struct StepPlan {
  int rows = 0;     // Rows computed: of a decode step, a bucket of 1, 2, 4 or 8.
  int outputs = 0;  // The same for rows of logits.
  int listed = 0;   // Rows that attend one by one,
  int splits = 1;   // in so many parts along the sequence;
  int tiles = 0;    // tiles of neighbouring queries.
  bool operator==(const StepPlan&) const = default;
};

class StepBuffers {
 public:
  StepBuffers(const BackendOptions& options, int processors);

  // Lays a step that was checked out, and starts its copy. True: device addresses changed.
  bool begin(const Step& step, const Stream& stream);

  const StepPlan& plan() const { return plan_; }
  StepState state() const;
  const int* row_list() const { return reinterpret_cast<int*>(device_.data() + list_at_); }
  const QueryTile* tiles() const {
    return reinterpret_cast<QueryTile*>(device_.data() + tiles_at_);
  }
  // Room the parts of all listed rows may need: rows times splits.
  int max_parts() const;

 private:
  int choose_splits(int rows, int keys) const;

  const BackendOptions options_;
  const int wanted_blocks_;  // That keep the device busy.
  const int64_t rows_at_, outputs_at_, list_at_, tiles_at_, pages_at_;
  PinnedArray<uint8_t> pinned_;
  DeviceArray<uint8_t> device_;
  Event copied_;
  bool in_flight_ = false;
  StepPlan plan_;
};

}  // namespace tramontane::cuda
