#include "host/weight_store.h"

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "host/gptq.h"
#include "kernels/formats.h"
#include "quant/gptq.h"

namespace tramontane::cuda {
namespace {

constexpr size_t kSlots = 3;

int64_t row_bytes(Format format, int columns) {
  const FormatInfo& info = format_info(format);
  return int64_t{columns} / info.block_values * info.block_bytes;
}

int64_t aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

// The pages of the file are read while the slots before are on their way.
void WeightStore::upload(uint8_t* to, const uint8_t* from, int64_t bytes) {
  while (bytes > 0) {
    if (ring_.size() < kSlots) ring_.push_back(std::make_unique<Slot>());
    Slot& slot = *ring_[next_slot_ = (next_slot_ + 1) % ring_.size()];
    if (slot.in_flight) slot.copied.wait();
    const int64_t part = std::min(bytes, kSlotBytes);
    std::memcpy(slot.memory.data(), from, static_cast<size_t>(part));
    stream_.copy_to_device(to, slot.memory.data(), part);
    slot.copied.record(stream_);
    slot.in_flight = true;
    to += part;
    from += part;
    bytes -= part;
  }
}

// Device memory for raw bytes. The stream's order keeps users of it apart, but not its end.
DeviceArray<uint8_t>& WeightStore::staged(int64_t bytes) {
  if (staging_.size() < bytes) {
    stream_.synchronize();
    staging_ = DeviceArray<uint8_t>();
    staging_ = DeviceArray<uint8_t>(bytes);
  }
  return staging_;
}

uint8_t* WeightStore::plane(StoredWeight& stored, int64_t bytes) {
  if (bytes == 0) return nullptr;
  stored.memory.emplace_back(bytes);
  return stored.memory.back().data();
}

const StoredWeight* WeightStore::add(const WeightData& source) {
  for (const auto& [known, stored] : weights_) {
    if (known == source.data && stored.weight.rows == source.rows &&
        stored.weight.columns == source.columns) {
      return &stored;
    }
  }
  StoredWeight stored{};
  stored.format = source.format;
  stored.weight.rows = source.rows;
  stored.weight.columns = source.columns;
  if (compute_ == Compute::kF32) {
    add_decoded(source, Format::kF32, stored);
  } else if (source.format != Format::kGptq) {
    add_blocks(source, stored);
  } else if (!add_gptq(source, stored)) {
    add_decoded(source, gptq_fits_half(source) ? Format::kF16 : Format::kF32, stored);
  }
  weights_.emplace_back(source.data, std::move(stored));
  return &weights_.back().second;
}

void WeightStore::add_blocks(const WeightData& source, StoredWeight& stored) {
  Weight& w = stored.weight;
  const int64_t bytes = row_bytes(source.format, source.columns) * source.rows;
  if (is_float(source.format)) {
    w.codes = plane(stored, bytes);
    upload(w.codes, source.data, bytes);
    return;
  }
  const PlaneBytes planes = plane_bytes(source.format, source.rows, source.columns);
  w.codes = plane(stored, planes.codes);
  w.high = plane(stored, planes.high);
  w.scales = plane(stored, planes.scales);
  w.supers = plane(stored, planes.supers);
  uint8_t* raw = staged(bytes).data();
  upload(raw, source.data, bytes);
  pack(source.format, raw, w, stream_.get());
}

// False where no kernel reads the layout as it is.
bool WeightStore::add_gptq(const WeightData& source, StoredWeight& stored) {
  const GptqParts& parts = source.gptq;
  if (parts.bits != 4 && parts.bits != 8) return false;
  const GptqOrder order = gptq_order(source);
  std::vector<uint16_t> scales;
  if (!order.regular || !gptq_half_scales(source, &scales)) return false;

  const int64_t words = int64_t{source.columns} * parts.bits / 32 * source.rows;
  const int64_t zero_words = int64_t{source.rows} * parts.bits / 32 * order.groups;
  const int64_t scale_bytes = int64_t{2} * order.groups * source.rows;
  uint8_t* raw = staged(aligned(4 * words) + aligned(4 * zero_words) + scale_bytes).data();
  uint8_t* raw_zeros = raw + aligned(4 * words);
  uint8_t* raw_scales = raw_zeros + aligned(4 * zero_words);
  upload(raw, source.data, 4 * words);
  upload(raw_zeros, parts.qzeros, 4 * zero_words);
  upload(raw_scales, reinterpret_cast<const uint8_t*>(scales.data()), scale_bytes);
  if (!order.inputs.empty()) {
    stored.order_memory = DeviceArray<int>(source.columns);
    upload(reinterpret_cast<uint8_t*>(stored.order_memory.data()),
           reinterpret_cast<const uint8_t*>(order.inputs.data()), int64_t{4} * source.columns);
    stored.order = stored.order_memory.data();
  }
  Weight& w = stored.weight;
  w.scale_groups = parts.group_size / kGroup;
  if (parts.group_size >= source.columns) w.scale_groups = source.columns / kGroup;
  w.codes = plane(stored, int64_t{source.rows} * source.columns * parts.bits / 8);
  w.scales = plane(stored, scale_bytes);
  w.supers = plane(stored, int64_t{order.groups} * source.rows);
  stored.gptq_bits = parts.bits;
  pack_gptq({parts.bits, parts.zero_bias, order.groups, reinterpret_cast<uint32_t*>(raw),
             reinterpret_cast<uint32_t*>(raw_zeros), reinterpret_cast<uint16_t*>(raw_scales),
             stored.order},
            w, stream_.get());
  return true;
}

void WeightStore::add_decoded(const WeightData& source, Format format, StoredWeight& stored) {
  stored.format = format;
  const int64_t size = format == Format::kF16 ? 2 : 4;
  stored.weight.codes = plane(stored, size * source.rows * source.columns);
  constexpr int kRowsAtOnce = 64;
  std::vector<float> values;
  std::vector<uint16_t> halves;
  for (int first = 0; first < source.rows; first += kRowsAtOnce) {
    const int rows = std::min(kRowsAtOnce, source.rows - first);
    const int64_t count = int64_t{rows} * source.columns;
    values.resize(static_cast<size_t>(count));
    if (source.format == Format::kGptq) {
      decode_gptq(source, first, first + rows, values.data());
    } else {
      const int64_t bytes = row_bytes(source.format, source.columns);
      decode_blocks(source.format, source.data + first * bytes,
                    count / format_info(source.format).block_values, values.data());
    }
    uint8_t* to = stored.weight.codes + int64_t{first} * source.columns * size;
    if (format == Format::kF32) {
      upload(to, reinterpret_cast<const uint8_t*>(values.data()), count * size);
      continue;
    }
    halves.resize(values.size());
    std::transform(values.begin(), values.end(), halves.begin(), f32_to_f16);
    upload(to, reinterpret_cast<const uint8_t*>(halves.data()), count * size);
  }
}

DeviceArray<float> WeightStore::vector(const WeightData& source) {
  std::vector<float> values(static_cast<size_t>(source.columns));
  decode_blocks(source.format, source.data,
                source.columns / format_info(source.format).block_values, values.data());
  DeviceArray<float> stored(source.columns);
  upload(reinterpret_cast<uint8_t*>(stored.data()), reinterpret_cast<const uint8_t*>(values.data()),
         int64_t{4} * source.columns);
  return stored;
}

void WeightStore::finish() {
  stream_.synchronize();
  ring_.clear();
  staging_ = DeviceArray<uint8_t>();
}

}  // namespace tramontane::cuda
