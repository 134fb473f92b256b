#include "host/adapters.h"

#include <algorithm>
#include <cstring>

#include "kernels/linear.h"
#include "kernels/rows.h"

namespace tramontane::cuda {
namespace {

// Rows of a weight that are decoded and measured at a time.
constexpr int kMeasuredRows = 256;

int64_t aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }
int padded_rank(const AdapterPair& pair) {
  return divide_up(pair.down.rows, kAdapterRanks) * kAdapterRanks;
}
int64_t value_bytes(Format format) { return format == Format::kF32 ? 4 : 2; }
size_t place(Role role, int32_t layer) {
  return static_cast<size_t>(layer * kRoleCount) + static_cast<size_t>(role);
}

// Bytes on the device, laid out first and filled then.
class Image {
 public:
  // Where a part of so many bytes begins.
  int64_t add(int64_t bytes) {
    const int64_t at = size_;
    size_ += aligned(bytes);
    return at;
  }
  void allocate() {
    host_.assign(static_cast<size_t>(size_), 0);
    device_ = DeviceArray<uint8_t>(size_);
  }
  uint8_t* host(int64_t at) { return host_.data() + at; }
  uint8_t* device(int64_t at) const { return device_.data() + at; }
  DeviceArray<uint8_t> upload(const Stream& stream) {
    stream.copy_to_device(device_.data(), host_.data(), size_);
    stream.synchronize();
    return std::move(device_);
  }

 private:
  int64_t size_ = 0;
  std::vector<uint8_t> host_;
  DeviceArray<uint8_t> device_;
};

struct PairPlaces {
  int64_t down, up, magnitude, squares;
};

PairPlaces lay_out(const AdapterPair& pair, Image& image) {
  const int rank = padded_rank(pair);
  const int64_t outputs = pair.up.rows;
  PairPlaces at{};
  at.down = image.add(int64_t{rank} * pair.down.columns * value_bytes(pair.down.format));
  at.up = image.add(outputs * rank * value_bytes(pair.up.format));
  if (pair.magnitude == nullptr) return at;
  at.magnitude = image.add(outputs * int64_t{sizeof(float)});
  at.squares = image.add(outputs * int64_t{sizeof(RowSquares)});
  return at;
}

DevicePair fill(const AdapterPair& pair, const PairPlaces& at, Image& image) {
  const int rank = padded_rank(pair);
  const auto down_bytes = static_cast<size_t>(int64_t{pair.down.rows} * pair.down.columns *
                                              value_bytes(pair.down.format));
  std::memcpy(image.host(at.down), pair.down.data, down_bytes);
  const int64_t value = value_bytes(pair.up.format);
  for (int64_t row = 0; row < pair.up.rows; ++row) {
    std::memcpy(image.host(at.up + row * rank * value),
                pair.up.data + row * pair.up.columns * value,
                static_cast<size_t>(pair.up.columns * value));
  }
  DevicePair made{};
  made.down = image.device(at.down);
  made.up = image.device(at.up);
  made.down_format = pair.down.format;
  made.up_format = pair.up.format;
  made.rank = rank;
  made.outputs = pair.up.rows;
  made.scale = pair.scale;
  if (pair.magnitude == nullptr) return made;
  std::memcpy(image.host(at.magnitude), pair.magnitude,
              static_cast<size_t>(pair.up.rows) * sizeof(float));
  made.magnitude = reinterpret_cast<const float*>(image.device(at.magnitude));
  made.squares = reinterpret_cast<const RowSquares*>(image.device(at.squares));
  return made;
}

// Measures pairs with magnitudes: rows of their weights are decoded as those of embeddings are.
class Measuring {
 public:
  void run(const DevicePair& pair, const StoredWeight& stored, RowSquares* squares,
           const Stream& stream) {
    const Weight& weight = stored.weight;
    for (int first = 0; first < weight.rows; first += kMeasuredRows) {
      const int rows = std::min(kMeasuredRows, weight.rows - first);
      const int64_t values = int64_t{kMeasuredRows} * weight.columns;
      if (values_.size() < values) values_ = DeviceArray<float>(values);
      if (rows_.size() == 0) rows_ = DeviceArray<StepRow>(kMeasuredRows);
      std::vector<StepRow> chosen;
      for (int row = first; row < first + rows; ++row) chosen.push_back({row, 0, 0, 0});
      stream.copy_to_device(rows_.data(), chosen.data(), rows);
      embed(stored.format, stored.gptq_bits, weight, rows_.data(), rows, values_.data(),
            stream.get());
      measure(pair, values_.data(), stored.order, first, rows, weight.columns, squares,
              stream.get());
      check(cudaGetLastError(), "measuring the weights of an adapter");
      stream.synchronize();
    }
  }

 private:
  DeviceArray<float> values_;  // [kMeasuredRows][columns]
  DeviceArray<StepRow> rows_;
};

}  // namespace

void Adapters::load(int32_t adapter, const AdapterPair* pairs, int32_t count,
                    const FindWeight& weight) {
  check_adapter(adapter, pairs, count, options_.shape);
  auto made = std::make_shared<Adapter>();
  Image image;
  const size_t table = static_cast<size_t>(options_.shape.layers * kRoleCount);
  image.add(static_cast<int64_t>(table * sizeof(DevicePair)));
  std::vector<PairPlaces> places;
  for (int32_t i = 0; i < count; ++i) places.push_back(lay_out(pairs[i], image));
  image.allocate();
  std::vector<DevicePair> filled(table);
  for (int32_t i = 0; i < count; ++i) {
    DevicePair& pair = filled[place(pairs[i].role, pairs[i].layer)];
    pair = fill(pairs[i], places[static_cast<size_t>(i)], image);
    made->ranks = std::max(made->ranks, pair.rank);
    made->has_magnitudes = made->has_magnitudes || pair.magnitude != nullptr;
  }
  std::memcpy(image.host(0), filled.data(), table * sizeof(DevicePair));
  const Stream stream;  // Of its own: steps go on meanwhile.
  made->memory = image.upload(stream);
  Measuring measuring;
  for (int32_t i = 0; i < count; ++i) {
    if (pairs[i].magnitude == nullptr) continue;
    const DevicePair& pair = filled[place(pairs[i].role, pairs[i].layer)];
    auto* squares =
        reinterpret_cast<RowSquares*>(made->memory.data() + places[static_cast<size_t>(i)].squares);
    measuring.run(pair, weight(pairs[i].role, pairs[i].layer), squares, stream);
  }
  const std::lock_guard lock(mutex_);
  require(loaded_.emplace(adapter, std::move(made)).second, "the adapter is loaded already");
}

void Adapters::unload(int32_t adapter) {
  const std::lock_guard lock(mutex_);
  loaded_.erase(adapter);
}

bool Adapters::begin_step(const Step& step, const Stream& stream) {
  plan_ = {};
  used_.clear();
  std::vector<AdapterRows> groups;
  std::map<int32_t, size_t> open;  // The last group of each adapter.
  for (int32_t i = 0; i < step.sequence_count; ++i) {
    const SequenceSlice& slice = step.sequences[i];
    if (slice.adapter == 0) continue;
    auto known = open.find(slice.adapter);
    if (known == open.end()) {
      const std::lock_guard lock(mutex_);
      const auto found = loaded_.find(slice.adapter);
      require(found != loaded_.end(), "an adapter is not loaded");
      used_.push_back(found->second);
      known = open.emplace(slice.adapter, groups.size()).first;
      groups.push_back({found->second->pairs(), 0, {}, {}});
      plan_.ranks = std::max(plan_.ranks, found->second->ranks);
      plan_.sets_aside = plan_.sets_aside || found->second->has_magnitudes;
    }
    for (int32_t row = slice.first_row; row < slice.first_row + slice.rows; ++row) {
      if (groups[known->second].count == kAdapterRows) {
        groups.push_back({groups[known->second].pairs, 0, {}, {}});
        known->second = groups.size() - 1;
      }
      AdapterRows& group = groups[known->second];
      group.rows[group.count] = row;
      group.scales[group.count++] = slice.adapter_scale;
    }
  }
  if (groups.empty()) return false;
  // Steps that are graphs have 1, 2, 4 or 8 groups.
  size_t size = groups.size();
  for (size = 1; step.rows <= kMaxDotRows && size < groups.size();) size *= 2;
  groups.resize(std::max(size, groups.size()), AdapterRows{});
  plan_.groups = static_cast<int>(groups.size());

  const int64_t reduced = int64_t{kMaxProjections} * options_.max_rows * plan_.ranks;
  const int64_t aside = plan_.sets_aside ? int64_t{options_.max_rows} * options_.shape.hidden : 0;
  const int64_t most_groups = std::max(options_.max_rows, kMaxDotRows);
  bool moved = false;
  const auto reserve = [&](auto& array, int64_t count) {
    if (array.size() >= count) return;
    array = std::decay_t<decltype(array)>(count);
    moved = true;
  };
  reserve(pinned_, most_groups);
  reserve(groups_, most_groups);
  reserve(reduced_, reduced);
  reserve(aside_, aside);
  std::copy(groups.begin(), groups.end(), pinned_.data());
  stream.copy_to_device(groups_.data(), pinned_.data(), plan_.groups);
  return moved;
}

AdapterTask Adapters::task(const Output* outputs, int32_t count, int32_t layer) const {
  AdapterTask task{};
  task.groups = groups_.data();
  task.group_count = plan_.groups;
  task.ranks = plan_.ranks;
  task.count = count;
  task.rows = options_.max_rows;
  task.columns = shape_of(outputs[0].role, options_.shape).columns;
  task.reduced = reduced_.data();
  for (int32_t i = 0; i < count; ++i) {
    task.pairs[i] = static_cast<int>(place(outputs[i].role, layer));
    task.outs[i] = outputs[i].out;
    task.widths[i] = shape_of(outputs[i].role, options_.shape).rows;
  }
  return task;
}

void Adapters::set_aside(const Output& output, int32_t layer, const Stream& stream) const {
  if (!plan_.sets_aside) return;
  AdapterTask aside = task(&output, 1, layer);
  aside.aside = aside_.data();
  cuda::set_aside(aside, stream.get());
}

void Adapters::apply(const Output* outputs, int32_t count, int32_t layer, const float* in,
                     bool is_set_aside, const Stream& stream) const {
  AdapterTask task = this->task(outputs, count, layer);
  task.in = in;
  if (is_set_aside) task.aside = aside_.data();
  apply_adapters(task, stream.get());
}

}  // namespace tramontane::cuda
