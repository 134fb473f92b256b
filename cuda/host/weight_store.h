// Uploads weights once: through a ring of pinned memory to the device, where a kernel brings them
// into planes.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "host/device_memory.h"
#include "kernels/pack.h"

namespace tramontane::cuda {

struct StoredWeight {
  Format format;  // As stored: kGptq only where a kernel reads it.
  int gptq_bits;
  Weight weight;     // Of float formats the values are in `codes`.
  const int* order;  // The input that comes at each place, for act-order. Null: as they are.
  std::vector<DeviceArray<uint8_t>> memory;
  DeviceArray<int> order_memory;
};

class WeightStore {
 public:
  // With Compute::kF32 everything is decoded to f32.
  WeightStore(const Stream& stream, Compute compute) : stream_(stream), compute_(compute) {}

  // `source` may be any bytes of the right length; it is read until finish(). The same source twice
  // is stored once.
  const StoredWeight* add(const WeightData& source);
  // Decoded to f32, for norms.
  DeviceArray<float> vector(const WeightData& source);
  // Waits for the uploads and frees what they needed.
  void finish();

 private:
  static constexpr int64_t kSlotBytes = int64_t{4} << 20;
  struct Slot {
    PinnedArray<uint8_t> memory{kSlotBytes};
    Event copied;
    bool in_flight = false;
  };

  void upload(uint8_t* to, const uint8_t* from, int64_t bytes);
  DeviceArray<uint8_t>& staged(int64_t bytes);
  uint8_t* plane(StoredWeight& stored, int64_t bytes);
  void add_blocks(const WeightData& source, StoredWeight& stored);
  bool add_gptq(const WeightData& source, StoredWeight& stored);
  void add_decoded(const WeightData& source, Format format, StoredWeight& stored);

  const Stream& stream_;
  const Compute compute_;
  std::deque<std::pair<const uint8_t*, StoredWeight>> weights_;  // By where the source lies.
  std::vector<std::unique_ptr<Slot>> ring_;
  size_t next_slot_ = 0;
  DeviceArray<uint8_t> staging_;
};

}  // namespace tramontane::cuda
