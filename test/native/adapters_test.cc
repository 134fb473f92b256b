// Adapters on the CPU, of every implementation this processor runs, against double precision.
#include <cstring>
#include <memory>

#include "adapter_formula.h"
#include "cpu/backend/cpu_backend_adapters.h"
#include "cpu/backend/implementation.h"
#include "cuda_weights.h"
#include "status_of.h"
#include "test.h"

using namespace tramontane;
using namespace tramontane::cpu;
using tramontane::test::AdaptedLayers;
using tramontane::test::AdaptedStep;
using tramontane::test::Outputs;
using tramontane::test::random_values;
using tramontane::test::status_of;
using tramontane::test::TestAdapter;
using tramontane::test::TestFormat;
using tramontane::test::TestWeight;

namespace {

constexpr ModelShape kShape = {2, 352, 768, 5, 2, 64, 96, 1e-5f, 1e4f, RopePairing::kHalves};
constexpr int kRows = 70;
constexpr double kTolerance = 1e-6;

template <typename Test>
void for_each_implementation(Test test) {
  for (const Implementation& implementation : implementations()) {
    if (implementation.supported()) test(*implementation.linear);
  }
}

// Weights of one layer in one format, and decoded.
class TestWeights {
 public:
  TestWeights(const TestFormat& format, const std::vector<Role>& roles)
      : weights(kShape, Compute::kInt8) {
    for (const Role role : roles) {
      const auto [rows, columns] = shape_of(role, kShape);
      Entry& entry = entries_[role];
      entry.weight =
          std::make_unique<TestWeight>(format, rows, columns, static_cast<unsigned>(role) + 1);
      entry.decoded = entry.weight->decoded();
      weights.set(role, TestAdapter::kLayer, entry.weight->data());
    }
  }
  const std::vector<float>& decoded(Role role) const { return entries_.at(role).decoded; }

  Weights weights;

 private:
  struct Entry {
    std::unique_ptr<TestWeight> weight;
    std::vector<float> decoded;
  };
  std::map<Role, Entry> entries_;
};

void load(Adapters& adapters, int32_t id, const TestAdapter& adapter, const Weights& weights) {
  const std::vector<AdapterPair> pairs = adapter.pairs();
  adapters.load(id, pairs.data(), static_cast<int32_t>(pairs.size()), weights);
}

// What the adapters of the step make of these.
Outputs apply(Adapters& adapters, const AdaptedStep& step, const AdaptedLayers& layers,
              const std::vector<float>& in, const Outputs& before, const Outputs& product) {
  adapters.begin_step(step.step);
  Outputs outs = before;
  std::vector<AdaptedOutput> outputs;
  for (size_t p = 0; p < outs.size(); ++p) outputs.push_back({layers.roles[p], outs[p].data()});
  if (layers.add) adapters.set_aside(outputs[0], TestAdapter::kLayer);
  for (size_t p = 0; p < outs.size(); ++p) {
    for (size_t i = 0; i < outs[p].size(); ++i) outs[p][i] += product[p][i];
  }
  adapters.apply(outputs.data(), static_cast<int32_t>(outputs.size()), TestAdapter::kLayer,
                 in.data());
  adapters.end_step();
  return outs;
}

void check_outputs(Adapters& adapters, const std::map<int32_t, const TestAdapter*>& known,
                   const TestWeights& weights, const AdaptedStep& step,
                   const AdaptedLayers& layers) {
  test::check_adapted(
      kShape, known, [&](Role role) -> const std::vector<float>& { return weights.decoded(role); },
      step, layers, kRows, kTolerance,
      [&](const std::vector<float>& in, const Outputs& before, const Outputs& product) {
        return apply(adapters, step, layers, in, before, product);
      });
}

const std::vector<Role> kAll = {Role::kQuery,   Role::kKey,   Role::kValue,  Role::kAttentionOutput,
                                Role::kFfnGate, Role::kFfnUp, Role::kFfnDown};

}  // namespace

TEST("adapters of every rank up to 65 are the formula's, in f32, f16 and bf16") {
  constexpr Format kFormats[] = {Format::kF32, Format::kF16, Format::kBF16};
  const TestWeights weights({Format::kQ4_0}, {Role::kKey});
  const Workers workers(2);
  for_each_implementation([&](const LinearKernels& kernels) {
    for (int rank = 1; rank <= 65; ++rank) {
      TestAdapter lora(kShape), dora(kShape);
      // rsLoRA is another number in the same place.
      const float scale = 8 / std::sqrt(static_cast<float>(rank));
      lora.add(Role::kKey, rank, kFormats[rank % 3], kFormats[rank / 3 % 3], false, scale);
      dora.add(Role::kKey, rank, kFormats[rank / 3 % 3], kFormats[rank % 3], true, scale);
      Adapters adapters(kernels, kShape, workers);
      load(adapters, 1, lora, weights.weights);
      load(adapters, 2, dora, weights.weights);
      const AdaptedStep step({{1, 0, 1}, {1, 1, 1}, {2, 2, 0.5f}, {1, 0, 1}, {3, 1, -2}});
      check_outputs(adapters, {{1, &lora}, {2, &dora}}, weights, step,
                    {{Role::kKey}, rank % 2 == 0});
    }
  });
}

TEST("rows of adapters, of scales and of none share a step, in every linear layer") {
  const TestWeights weights({Format::kQ8_0}, kAll);
  for_each_implementation([&](const LinearKernels& kernels) {
    for (const int threads : {1, 3}) {
      const Workers workers(threads);
      TestAdapter all(kShape), some(kShape), dora(kShape);
      for (const Role role : kAll) {
        all.add(role, role == Role::kKey ? 5 : 16, Format::kF16, Format::kF16, false, 0.25f);
        dora.add(role, 3, Format::kF32, Format::kF32, true, 2);
      }
      some.add(Role::kValue, 33, Format::kF32, Format::kF16, false, 1.5f);
      some.add(Role::kFfnDown, 2, Format::kF16, Format::kF32, true, -0.5f);
      Adapters adapters(kernels, kShape, workers);
      const std::map<int32_t, const TestAdapter*> known = {{7, &all}, {8, &some}, {9, &dora}};
      for (const auto& [id, adapter] : known) load(adapters, id, *adapter, weights.weights);
      for (const AdaptedStep& step : {
               AdaptedStep({{1, 7, 1}}),
               AdaptedStep({{1, 9, 1}, {1, 9, 0.5f}, {1, 0, 1}, {1, 8, 1}, {1, 7, 0}, {1, 9, 0}}),
               AdaptedStep(
                   {{2, 0, 1}, {35, 7, 1}, {3, 9, 0.75f}, {5, 0, 1}, {21, 8, 1}, {3, 7, 2}}),
           }) {
        check_outputs(adapters, known, weights, step,
                      {{Role::kQuery, Role::kKey, Role::kValue}, false});
        check_outputs(adapters, known, weights, step, {{Role::kFfnGate, Role::kFfnUp}, false});
        check_outputs(adapters, known, weights, step, {{Role::kAttentionOutput}, true});
        check_outputs(adapters, known, weights, step, {{Role::kFfnDown}, true});
      }
    }
  });
}

TEST("DoRA measures weights of every format") {
  const Workers workers(2);
  for (const std::vector<TestFormat>& formats :
       {test::quantized_formats(), test::float_formats()}) {
    for (const TestFormat& format : formats) {
      const TestWeights weights(format, {Role::kFfnDown});
      TestAdapter dora(kShape);
      dora.add(Role::kFfnDown, 4, Format::kF32, Format::kF32, true, 0.5f);
      Adapters adapters(kScalarLinear, kShape, workers);
      load(adapters, 1, dora, weights.weights);
      check_outputs(adapters, {{1, &dora}}, weights, AdaptedStep({{1, 1, 1}, {1, 1, 0.25f}}),
                    {{Role::kFfnDown}, false});
    }
  }
}

TEST("a row has the same bits alone and beside others, on any number of threads") {
  const TestWeights weights({Format::kQ4_0}, {Role::kQuery});
  TestAdapter dora(kShape);
  dora.add(Role::kQuery, 16, Format::kF16, Format::kF16, true, 0.5f);
  const AdaptedLayers layers{{Role::kQuery}, false};
  const size_t inputs = kShape.hidden, outputs = kShape.heads * kShape.head_size;
  const std::vector<float> in = random_values(int64_t{kRows} * kShape.hidden, 3),
                           product = random_values(int64_t{kRows} * int64_t(outputs), 4),
                           zeros(product.size());
  for_each_implementation([&](const LinearKernels& kernels) {
    std::vector<float> together;
    for (const int threads : {1, 2, 3}) {
      const Workers workers(threads);
      Adapters adapters(kernels, kShape, workers);
      for (const int32_t id : {1, 2}) load(adapters, id, dora, weights.weights);
      const AdaptedStep step({{3, 1, 1}, {2, 0, 1}, {40, 2, 3}, {24, 1, 1}, {1, 2, 1}});
      const Outputs found = apply(adapters, step, layers, in, {zeros}, {product});
      if (threads == 1) together = found[0];
      CHECK(found[0] == together);
      for (const size_t row : {0, 2, 45, 60, 69}) {
        const auto part = [&](const std::vector<float>& all, size_t width) {
          const auto from = all.begin() + static_cast<int64_t>(row * width);
          return std::vector<float>(from, from + static_cast<int64_t>(width));
        };
        const Outputs alone = apply(adapters, AdaptedStep({{1, 1, 1}}), layers, part(in, inputs),
                                    {part(zeros, outputs)}, {part(product, outputs)});
        CHECK(alone[0] == part(together, outputs));
      }
    }
  });
}

TEST("an adapter that is unloaded goes on in the step that has it, and is refused then") {
  const TestWeights weights({Format::kQ4_0}, {});
  TestAdapter lora(kShape);
  lora.add(Role::kKey, 2, Format::kF32, Format::kF32, false, 1);
  const Workers workers(1);
  Adapters adapters(kScalarLinear, kShape, workers);
  load(adapters, 1, lora, weights.weights);
  const AdaptedStep step({{1, 1, 1}});
  CHECK(status_of([&] { load(adapters, 1, lora, weights.weights); }) == Status::kInvalid);
  adapters.begin_step(step.step);
  adapters.unload(1);
  std::vector<float> out(128);
  const std::vector<float> in = random_values(kShape.hidden, 1);
  const AdaptedOutput output{Role::kKey, out.data()};
  adapters.apply(&output, 1, TestAdapter::kLayer, in.data());
  CHECK(out != std::vector<float>(128));
  adapters.end_step();
  CHECK(status_of([&] { adapters.begin_step(step.step); }) == Status::kInvalid);
}
