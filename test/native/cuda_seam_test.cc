// A CUDA plug-in, real or emulated, against the CPU backend: the same model, the same steps,
// through the seam, with the plug-in loaded as the package loads it. TRAMONTANE_CUDA_LIBRARY names
// it.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/abi.h"
#include "backend/backend.h"
#include "backend/rules.h"
#include "cuda_weights.h"
#include "model/transformer.h"
#include "test.h"

namespace tramontane {
namespace {

struct Destroy {
  void operator()(Backend* backend) const { backend->destroy(); }
};
using BackendPointer = std::unique_ptr<Backend, Destroy>;

CreateBackend* plugin() {
  const char* path = std::getenv("TRAMONTANE_CUDA_LIBRARY");
  void* library = dlopen(path ? path : "", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    std::cerr << dlerror() << "\n";
    return nullptr;
  }
  return reinterpret_cast<CreateBackend*>(dlsym(library, "tramontane_create_cuda_backend"));
}

constexpr int kWindow = 48, kRing = 6, kPages = 16;

BackendOptions options_of(Compute compute, KvType kv_type, int head_size) {
  BackendOptions o{};
  o.seam_hash = kSeamHash;
  o.shape = {2,   256,   512,  256 / head_size,         64 / std::min(head_size, 64), head_size,
             300, 1e-5f, 1e4f, RopePairing::kNeighbours};
  o.window = kWindow;
  o.pages = kPages;
  o.max_rows = 96;
  o.max_outputs = 96;
  o.threads = 1;
  o.kv_type = kv_type;
  o.compute = compute;
  return o;
}

// Random weights whose formats go through all there are.
class Model {
 public:
  Model(const ModelShape& shape, int first_format) : shape_(shape), next_(first_format) {
    const int heads = shape.heads * shape.head_size, kv = shape.kv_heads * shape.head_size;
    add(Role::kTokenEmbedding, 0, shape.vocabulary, shape.hidden, {Format::kQ8_0});
    add(Role::kOutput, 0, shape.vocabulary, shape.hidden, {Format::kQ6_K});
    add(Role::kOutputNorm, 0, 1, shape.hidden, {Format::kF32});
    for (int layer = 0; layer < shape.layers; ++layer) {
      add(Role::kAttentionNorm, layer, 1, shape.hidden, {Format::kF32});
      add(Role::kFfnNorm, layer, 1, shape.hidden, {Format::kF32});
      add(Role::kQuery, layer, heads, shape.hidden, format());
      add(Role::kKey, layer, kv, shape.hidden, format());
      add(Role::kValue, layer, kv, shape.hidden, format());
      add(Role::kAttentionOutput, layer, shape.hidden, heads, format());
      const test::TestFormat gate = format();
      add(Role::kFfnGate, layer, shape.ffn, shape.hidden, gate);
      add(Role::kFfnUp, layer, shape.ffn, shape.hidden, layer ? gate : format());
      add(Role::kFfnDown, layer, shape.hidden, shape.ffn, format());
    }
  }

  BackendPointer load(CreateBackend* create, const BackendOptions& options) const {
    Backend* made = nullptr;
    char error[512] = "";
    CHECK(create(&options, &made, error, sizeof error) == Status::kOk);
    if (!made) {
      std::cerr << error << "\n";
      return nullptr;
    }
    BackendPointer backend(made);
    for (const Entry& e : weights_) {
      const Status status = backend->set_weight(e.role, e.layer, e.weight->data());
      CHECK(status == Status::kOk);
      if (status != Status::kOk) std::cerr << backend->last_error() << "\n";
    }
    CHECK(backend->finish_loading() == Status::kOk);
    return backend;
  }

 private:
  struct Entry {
    Role role;
    int layer;
    std::unique_ptr<test::TestWeight> weight;
  };

  test::TestFormat format() {
    std::vector<test::TestFormat> all = test::quantized_formats();
    for (const test::TestFormat& f : test::float_formats()) all.push_back(f);
    return all[static_cast<size_t>(next_++) % all.size()];
  }
  // Of a size that keeps activations as they are: in a model that blows them up a rounding
  // difference becomes another result.
  void add(Role role, int layer, int rows, int columns, const test::TestFormat& format) {
    const auto seed = static_cast<unsigned>(weights_.size() + 1);
    const auto make = [&](float size) {
      return std::make_unique<test::TestWeight>(format, rows, columns, seed, size);
    };
    float size = 1;
    if (rows > 1 && format.format != Format::kGptq) {
      double power = 0;
      const FormatInfo& info = format_info(format.format);
      const auto weight = make(1);
      std::vector<float> row(static_cast<size_t>(columns));
      decode_blocks(format.format, weight->data().data, columns / info.block_values, row.data());
      for (const float value : row) power += double{value} * value;
      size = static_cast<float>(1 / std::sqrt(power));
    } else if (rows > 1) {
      size = format.gptq_bits == 8 ? 0.01f : 0.15f;
    }
    weights_.push_back({role, layer, make(size)});
  }

  const ModelShape shape_;
  int next_;
  std::vector<Entry> weights_;
};

// Logits of every row.
std::vector<float> logits_of(Backend& b, const BackendOptions& options, const Step& step) {
  CHECK(forward(b, options.shape, step, [] { return false; }));
  const auto vocabulary = static_cast<size_t>(options.shape.vocabulary);
  std::vector<float> logits(static_cast<size_t>(step.outputs) * vocabulary);
  for (int i = 0; i < step.outputs; ++i) {
    check(b, b.read_logits(i, logits.data() + static_cast<size_t>(i) * vocabulary));
  }
  check(b, b.end_step());
  return logits;
}

// With which adapter a sequence is computed.
struct AdapterUse {
  int32_t adapter = 0;
  float scale = 1;
};

constexpr int32_t kRings[2][kRing] = {{3, 0, 7, 5, 11, 9}, {1, 2, 4, 6, 8, 10}};

// Two sequences: a long prompt in chunks, then both decode together; the windows recycle pages.
// `use(step, sequence)` says with which adapters.
template <class Use, class Visit>
void each_step(Use use, Visit visit) {
  int positions[2] = {};
  constexpr int kSteps[][2] = {{70, 0}, {20, 9}, {1, 1}, {1, 5}, {1, 0}, {0, 8}, {33, 1}, {1, 1}};
  for (int i = 0; i < static_cast<int>(std::size(kSteps)); ++i) {
    const auto& rows = kSteps[i];
    std::vector<int32_t> tokens, outputs;
    std::vector<SequenceSlice> slices;
    for (int s = 0; s < 2; ++s) {
      if (rows[s] == 0) continue;
      const auto first = static_cast<int32_t>(tokens.size());
      const auto [adapter, scale] = use(i, s);
      slices.push_back({first, rows[s], positions[s], kRings[s], kRing, adapter, scale});
      for (int r = 0; r < rows[s]; ++r) {
        outputs.push_back(static_cast<int32_t>(tokens.size()));
        tokens.push_back((positions[s]++ * 37 + s * 11) % 300);
      }
    }
    const Step step{tokens.data(),  static_cast<int32_t>(tokens.size()),
                    slices.data(),  static_cast<int32_t>(slices.size()),
                    outputs.data(), static_cast<int32_t>(outputs.size())};
    visit(step);
  }
}

// What activations in int8 may cost against exact ones. The backends round alike but for GPTQ in
// act-order, where groups of 32 are of another order.
constexpr double kInt8Tolerance = 1e-3;

AdapterUse no_adapter(int, int) { return {}; }

// Every adapter in every kind of step: in one sequence, in both, and in turns.
AdapterUse adapters_in_turns(int step, int sequence) {
  const int adapter = (step + 2 * sequence) % 4;
  return {adapter, adapter == 3 ? 0.5f : 1.0f};
}

// Random pairs: of all linear layers of rank 8 in f16, of some of rank 5 in f32, and of all with
// magnitudes. Of a size that keeps activations as they are.
class TestAdapters {
 public:
  explicit TestAdapters(const ModelShape& shape) {
    for (int layer = 0; layer < shape.layers; ++layer) {
      for (int r = 0; r < kRoleCount; ++r) {
        const auto role = static_cast<Role>(r);
        if (is_norm(role) || role == Role::kTokenEmbedding || role == Role::kOutput) continue;
        add(1, role, layer, 8, Format::kF16, false, shape);
        if (r % 2 == layer) add(2, role, layer, 5, Format::kF32, false, shape);
        add(3, role, layer, 3, Format::kF32, true, shape);
      }
    }
  }

  void load(Backend& backend) const {
    for (int32_t id = 1; id <= kCount; ++id) {
      const std::vector<AdapterPair>& pairs = pairs_[id - 1];
      char error[256] = "";
      const auto count = static_cast<int32_t>(pairs.size());
      CHECK(backend.load_adapter(id, pairs.data(), count, error, sizeof error) == Status::kOk);
      if (*error) std::cerr << error << "\n";
    }
  }

 private:
  static constexpr int kCount = 3;

  const uint8_t* values(int64_t count, Format format, float mean, float size) {
    std::normal_distribution<float> normal(mean, size);
    std::vector<uint8_t>& bytes =
        memory_.emplace_back(static_cast<size_t>(count * format_info(format).block_bytes));
    for (int64_t i = 0; i < count; ++i) {
      const float value = normal(random_);
      const uint16_t half = f32_to_f16(value);
      if (format == Format::kF32) std::memcpy(&bytes[static_cast<size_t>(4 * i)], &value, 4);
      if (format == Format::kF16) std::memcpy(&bytes[static_cast<size_t>(2 * i)], &half, 2);
    }
    return bytes.data();
  }
  void add(int id, Role role, int layer, int rank, Format format, bool magnitudes,
           const ModelShape& shape) {
    const auto [rows, columns] = shape_of(role, shape);
    const auto matrix = [&](int32_t outputs, int32_t inputs) {
      const float size = 1 / std::sqrt(static_cast<float>(inputs));
      return WeightData{format, outputs, inputs,
                        values(int64_t{outputs} * inputs, format, 0, size)};
    };
    AdapterPair pair{role, layer, matrix(rank, columns), matrix(rows, rank), 0.5f, nullptr};
    if (magnitudes) {
      pair.magnitude = reinterpret_cast<const float*>(values(rows, Format::kF32, 1, 0.1f));
    }
    pairs_[id - 1].push_back(pair);
  }

  std::mt19937 random_{11};
  std::deque<std::vector<uint8_t>> memory_;
  std::vector<AdapterPair> pairs_[kCount];
};

void compare(Compute compute, KvType kv_type, const std::vector<int>& head_sizes, double tolerance,
             AdapterUse (*use)(int, int) = no_adapter) {
  CreateBackend* create = plugin();
  CHECK(create != nullptr);
  if (!create) return;
  for (const int head_size : head_sizes) {
    const BackendOptions options = options_of(compute, kv_type, head_size);
    const Model model(options.shape, head_size / 32);
    const BackendPointer cpu = model.load(tramontane_create_cpu_backend, options);
    const BackendPointer cuda = model.load(create, options);
    if (!cpu || !cuda) return;
    const TestAdapters adapters(options.shape);
    adapters.load(*cpu);
    adapters.load(*cuda);
    double worst = 0;
    each_step(use, [&](const Step& step) {
      const std::vector<float> expected = logits_of(*cpu, options, step);
      const std::vector<float> found = logits_of(*cuda, options, step);
      double error = 0, power = 0;
      for (size_t i = 0; i < expected.size(); ++i) {
        error += (double{found[i]} - expected[i]) * (double{found[i]} - expected[i]);
        power += double{expected[i]} * expected[i];
      }
      if (!(error / power <= worst)) worst = error / power;
    });
    std::cerr << cuda->implementation() << ", head size " << head_size
              << ": normalized error against the CPU " << worst << "\n";
    CHECK(worst <= tolerance);
  }
}

TEST("the plug-in gives the CPU backend's logits: exact mode") {
  compare(Compute::kF32, KvType::kF32, {64}, 1e-9);
}

TEST("the plug-in gives the CPU backend's logits: int8 activations, f32 pages") {
  compare(Compute::kInt8, KvType::kF32, {32}, kInt8Tolerance);
}

TEST("the plug-in gives the CPU backend's logits: int8 activations, f16 pages") {
  compare(Compute::kInt8, KvType::kF16, {32, 64, 128}, kInt8Tolerance);
}

TEST("the plug-in gives the CPU backend's logits with adapters: exact mode") {
  compare(Compute::kF32, KvType::kF32, {64}, 1e-9, adapters_in_turns);
}

TEST("the plug-in gives the CPU backend's logits with adapters: int8 activations") {
  compare(Compute::kInt8, KvType::kF16, {32, 64}, kInt8Tolerance, adapters_in_turns);
}

TEST("rows without an adapter have the same bits beside rows with one") {
  CreateBackend* create = plugin();
  CHECK(create != nullptr);
  if (!create) return;
  for (const Compute compute : {Compute::kInt8, Compute::kF32}) {
    const BackendOptions options = options_of(compute, KvType::kF16, 64);
    const Model model(options.shape, 0);
    const TestAdapters adapters(options.shape);
    // Logits of the first sequence, which has the adapter, and of the second.
    using Logits = std::array<std::vector<float>, 2>;
    const auto run = [&](int32_t adapter) {
      Logits logits;
      const BackendPointer cuda = model.load(create, options);
      if (!cuda) return logits;
      adapters.load(*cuda);
      const auto use = [&](int, int sequence) {
        return AdapterUse{sequence == 0 ? adapter : 0, 1};
      };
      each_step(use, [&](const Step& step) {
        const std::vector<float> all = logits_of(*cuda, options, step);
        for (int i = 0; i < step.sequence_count; ++i) {
          const SequenceSlice& slice = step.sequences[i];
          const auto from = all.begin() + int64_t{slice.first_row} * options.shape.vocabulary;
          std::vector<float>& to = logits[slice.pages == kRings[0] ? 0 : 1];
          to.insert(to.end(), from, from + int64_t{slice.rows} * options.shape.vocabulary);
        }
      });
      return logits;
    };
    const Logits plain = run(0);
    for (const int32_t adapter : {1, 2, 3}) {
      const Logits found = run(adapter);
      CHECK(found[0] != plain[0]);
      CHECK(!plain[1].empty() && found[1] == plain[1]);
    }
  }
}

}  // namespace
}  // namespace tramontane
