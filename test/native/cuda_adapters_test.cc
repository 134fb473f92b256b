// Adapters on the emulator, from their upload to what they add, against double precision.
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "adapter_formula.h"
#include "cuda_test.h"
#include "cuda_weights.h"
#include "host/adapters.h"
#include "status_of.h"
#include "test.h"

namespace tramontane::cuda {
namespace {

using test::AdaptedLayers;
using test::AdaptedStep;
using test::DeviceArray;
using test::Outputs;
using test::random_values;
using test::status_of;
using test::TestAdapter;
using test::TestFormat;
using test::TestWeight;

// Widths of which some are no multiple of what a block of the kernels takes.
constexpr ModelShape kShape = {2, 352, 768, 5, 2, 64, 96, 1e-5f, 1e4f, RopePairing::kHalves};
constexpr int kRows = 24;

BackendOptions options_of() {
  BackendOptions o{};
  o.shape = kShape;
  o.pages = 4;
  o.max_rows = kRows;
  o.max_outputs = kRows;
  return o;
}

// Weights of one format on the device, and decoded.
class TestWeights {
 public:
  explicit TestWeights(const TestFormat& format)
      : format_(format), store_(stream_, Compute::kInt8) {}
  const StoredWeight& stored(Role role) {
    Entry& entry = find(role);
    return *entry.stored;
  }
  const std::vector<float>& decoded(Role role) { return find(role).decoded; }

 private:
  struct Entry {
    std::unique_ptr<TestWeight> weight;
    const StoredWeight* stored;
    std::vector<float> decoded;
  };
  Entry& find(Role role) {
    Entry& entry = entries_[role];
    if (entry.weight) return entry;
    const MatrixShape shape = shape_of(role, kShape);
    entry.weight = std::make_unique<TestWeight>(format_, shape.rows, shape.columns,
                                                static_cast<unsigned>(role) + 1);
    entry.stored = store_.add(entry.weight->data());
    entry.decoded = entry.weight->decoded();
    store_.finish();
    return entry;
  }
  const TestFormat format_;
  Stream stream_;
  WeightStore store_;
  std::map<Role, Entry> entries_;
};

// Applies the adapters of the step that was begun, and compares.
void check_outputs(const Adapters& adapters, const std::map<int32_t, const TestAdapter*>& known,
                   TestWeights& weights, const AdaptedStep& step, const AdaptedLayers& layers) {
  const auto run = [&](const std::vector<float>& in, const Outputs& before,
                       const Outputs& product) {
    const Stream stream;
    DeviceArray<float> device_in(in);
    std::vector<std::unique_ptr<DeviceArray<float>>> outs;
    std::vector<Adapters::Output> outputs;
    for (size_t p = 0; p < before.size(); ++p) {
      outs.push_back(std::make_unique<DeviceArray<float>>(before[p]));
      outputs.push_back({layers.roles[p], outs[p]->data()});
    }
    if (layers.add) adapters.set_aside(outputs[0], TestAdapter::kLayer, stream);
    for (size_t p = 0; p < outs.size(); ++p) {
      for (size_t i = 0; i < product[p].size(); ++i) (*outs[p])[i] += product[p][i];
    }
    adapters.apply(outputs.data(), static_cast<int32_t>(outputs.size()), TestAdapter::kLayer,
                   device_in.data(), layers.add, stream);
    Outputs found;
    for (const auto& out : outs) found.emplace_back(out->data(), out->data() + out->size());
    return found;
  };
  const auto weight = [&](Role role) -> const std::vector<float>& { return weights.decoded(role); };
  test::check_adapted(kShape, known, weight, step, layers, kRows, 2e-6, run);
}

TEST("adapters of any rank and format, in rows of their own, are the formula's") {
  constexpr Format kFormats[] = {Format::kF32, Format::kF16, Format::kBF16};
  TestWeights weights({Format::kQ4_0});
  const Adapters::FindWeight find = [&](Role role, int32_t) -> const StoredWeight& {
    return weights.stored(role);
  };
  int number = 0;
  for (const int rank : {1, 3, 8, 9, 16, 65}) {
    const Format down = kFormats[number % 3], up = kFormats[(number + 1) % 3];
    TestAdapter all(kShape), some(kShape);
    for (const Role role : {Role::kQuery, Role::kKey, Role::kValue, Role::kAttentionOutput,
                            Role::kFfnGate, Role::kFfnUp, Role::kFfnDown}) {
      all.add(role, role == Role::kKey ? 5 : rank, down, up, number % 2 == 1, 0.25f);
    }
    some.add(Role::kValue, 2, up, down, number % 2 == 0, 1.5f);
    some.add(Role::kFfnDown, rank, down, down, true, -0.5f);
    Adapters adapters(options_of());
    for (const auto& [id, adapter] : {std::pair{7, &all}, {9, &some}}) {
      const std::vector<AdapterPair> pairs = adapter->pairs();
      adapters.load(id, pairs.data(), static_cast<int32_t>(pairs.size()), find);
    }
    const std::map<int32_t, const TestAdapter*> known = {{7, &all}, {9, &some}};
    const AdaptedStep steps[] = {
        AdaptedStep({{1, 7, 1}}),
        AdaptedStep({{1, 0, 1}, {1, 7, 1}, {2, 9, 0.5f}, {1, 0, 1}, {3, 7, -2}}),
        AdaptedStep({{2, 0, 1}, {11, 7, 1}, {1, 9, 0}, {5, 0, 1}, {3, 7, 0.75f}}),
    };
    for (const AdaptedStep& step : steps) {
      test::use_schedule(number++);
      const Stream stream;
      adapters.begin_step(step.step, stream);
      CHECK(adapters.plan().groups > 0);
      check_outputs(adapters, known, weights, step,
                    {{Role::kQuery, Role::kKey, Role::kValue}, false});
      check_outputs(adapters, known, weights, step, {{Role::kFfnGate, Role::kFfnUp}, false});
      check_outputs(adapters, known, weights, step, {{Role::kAttentionOutput}, true});
      check_outputs(adapters, known, weights, step, {{Role::kFfnDown}, true});
      adapters.end_step();
    }
  }
}

TEST("adapters are the formula's under every schedule") {
  TestWeights weights({Format::kQ4_0});
  TestAdapter lora(kShape), dora(kShape);
  lora.add(Role::kKey, 9, Format::kF16, Format::kF16, false, 0.5f);
  dora.add(Role::kKey, 3, Format::kF32, Format::kF32, true, 0.5f);
  Adapters adapters(options_of());
  const std::map<int32_t, const TestAdapter*> known = {{1, &lora}, {2, &dora}};
  for (const auto& [id, adapter] : known) {
    const std::vector<AdapterPair> pairs = adapter->pairs();
    adapters.load(id, pairs.data(), 1,
                  [&](Role role, int32_t) -> const StoredWeight& { return weights.stored(role); });
  }
  const AdaptedStep step({{1, 1, 1}, {1, 0, 1}, {9, 2, 0.5f}, {2, 1, 1}});
  for (int schedule = 0; schedule < test::schedules(); ++schedule) {
    test::use_schedule(schedule);
    const Stream stream;
    adapters.begin_step(step.step, stream);
    check_outputs(adapters, known, weights, step, {{Role::kKey}, schedule % 2 == 1});
  }
}

TEST("DoRA measures weights of every format") {
  for (std::vector<TestFormat> formats : {test::quantized_formats(), test::float_formats()}) {
    for (const TestFormat& format : formats) {
      TestWeights weights(format);
      TestAdapter adapter(kShape);
      adapter.add(Role::kFfnDown, 4, Format::kF32, Format::kF32, true, 0.5f);
      Adapters adapters(options_of());
      const std::vector<AdapterPair> pairs = adapter.pairs();
      adapters.load(1, pairs.data(), 1, [&](Role role, int32_t) -> const StoredWeight& {
        return weights.stored(role);
      });
      const AdaptedStep step({{1, 1, 1}, {1, 1, 0.25f}});
      const Stream stream;
      adapters.begin_step(step.step, stream);
      check_outputs(adapters, {{1, &adapter}}, weights, step, {{Role::kFfnDown}, false});
    }
  }
}

TEST("rows that do not fill a block are measured, and nothing behind them") {
  constexpr int kColumns = 64, kMeasured = 5;
  DeviceArray<float> down(random_values(8 * kColumns, 1)), up(random_values(8 * 8, 2)),
      weight(random_values(8 * kColumns, 3));
  DeviceArray<RowSquares> squares(8);
  DevicePair pair{};
  pair.down = reinterpret_cast<const uint8_t*>(down.data());
  pair.up = reinterpret_cast<const uint8_t*>(up.data());
  pair.down_format = pair.up_format = Format::kF32;
  pair.rank = 8;
  measure(pair, weight.data(), nullptr, 0, kMeasured, kColumns, squares.data(), nullptr);
  for (size_t row = 0; row < 8; ++row) {
    double sum = 0;
    for (size_t k = 0; k < kColumns; ++k) {
      const double w = weight[row * kColumns + k];
      sum += w * w;
    }
    if (row < kMeasured) CHECK_NEAR(squares[row].weight, sum, 1e-9 * sum);
    if (row >= kMeasured) CHECK(std::isnan(squares[row].weight));
  }
}

TEST("a row has the same bits alone and beside others of its adapter and of another") {
  TestAdapter adapter(kShape);
  adapter.add(Role::kQuery, 16, Format::kF16, Format::kF16, false, 0.5f);
  Adapters adapters(options_of());
  const std::vector<AdapterPair> pairs = adapter.pairs();
  for (const int32_t id : {1, 2, 3}) adapters.load(id, pairs.data(), 1, {});
  const int inputs = kShape.hidden, outputs = kShape.heads * kShape.head_size;
  DeviceArray<float> in(random_values(int64_t{kRows} * inputs, 3));
  const auto run = [&](const AdaptedStep& step, const float* rows) {
    const Stream stream;
    DeviceArray<float> out(std::vector<float>(static_cast<size_t>(kRows * outputs), 1.0f));
    adapters.begin_step(step.step, stream);
    const Adapters::Output output{Role::kQuery, out.data()};
    adapters.apply(&output, 1, TestAdapter::kLayer, rows, false, stream);
    return std::vector<float>(out.data(), out.data() + kRows * outputs);
  };
  const std::vector<float> together =
      run(AdaptedStep({{3, 1, 1}, {2, 0, 1}, {7, 2, 3}, {11, 1, 1}, {1, 2, 1}}), in.data());
  // Three groups fill up a bucket of four.
  const std::vector<float> few = run(AdaptedStep({{1, 1, 1}, {1, 2, 1}, {1, 3, 1}}), in.data());
  CHECK_EQ(std::memcmp(few.data(), together.data(), static_cast<size_t>(3 * outputs) * 4), 0);
  for (const int row : {0, 2, 12, 15, 22, 23}) {
    const std::vector<float> alone = run(AdaptedStep({{1, 1, 1}}), in.data() + row * inputs);
    CHECK_EQ(std::memcmp(alone.data(), together.data() + row * outputs,
                         static_cast<size_t>(outputs) * sizeof(float)),
             0);
  }
}

TEST("an adapter goes when it is unloaded, or after the step that has it") {
  TestAdapter adapter(kShape);
  adapter.add(Role::kQuery, 16, Format::kF32, Format::kF32, false, 1);
  const std::vector<AdapterPair> pairs = adapter.pairs();
  const AdaptedStep step({{1, 1, 1}});
  const Stream stream;
  Adapters adapters(options_of());
  adapters.load(1, pairs.data(), 1, {});
  CHECK(adapters.begin_step(step.step, stream));  // Scratch is made.
  CHECK(!adapters.begin_step(step.step, stream));
  adapters.end_step();
  const size_t with_adapter = emulation::allocated_bytes();
  adapters.unload(1);
  const size_t without = emulation::allocated_bytes();
  CHECK(without + pairs[0].down.rows * kShape.hidden * 4 < with_adapter);
  adapters.load(1, pairs.data(), 1, {});
  CHECK_EQ(emulation::allocated_bytes(), with_adapter);
  adapters.begin_step(step.step, stream);
  adapters.unload(1);
  CHECK_EQ(emulation::allocated_bytes(), with_adapter);
  adapters.end_step();
  CHECK_EQ(emulation::allocated_bytes(), without);
  CHECK(status_of([&] { adapters.begin_step(step.step, stream); }) == Status::kInvalid);
  adapters.load(1, pairs.data(), 1, {});
  CHECK(status_of([&] { adapters.load(1, pairs.data(), 1, {}); }) == Status::kInvalid);
  CHECK(status_of([&] { adapters.load(0, pairs.data(), 1, {}); }) == Status::kInvalid);
}

}  // namespace
}  // namespace tramontane::cuda
