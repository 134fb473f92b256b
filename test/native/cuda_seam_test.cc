// A CUDA plug-in, real or emulated, against the CPU backend: the same model, the same steps,
// through the seam, with the plug-in loaded as the package loads it. TRAMONTANE_CUDA_LIBRARY names
// it.
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/abi.h"
#include "backend/backend.h"
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

// Two sequences: a long prompt in chunks, then both decode together; the windows recycle pages.
template <class Visit>
void each_step(Visit visit) {
  static constexpr int32_t kRings[2][kRing] = {{3, 0, 7, 5, 11, 9}, {1, 2, 4, 6, 8, 10}};
  int positions[2] = {};
  constexpr int kSteps[][2] = {{70, 0}, {20, 9}, {1, 1}, {1, 5}, {1, 0}, {0, 8}, {33, 1}, {1, 1}};
  for (const auto& rows : kSteps) {
    std::vector<int32_t> tokens, outputs;
    std::vector<SequenceSlice> slices;
    for (int s = 0; s < 2; ++s) {
      if (rows[s] == 0) continue;
      const auto first = static_cast<int32_t>(tokens.size());
      slices.push_back({first, rows[s], positions[s], kRings[s], kRing, 0});
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

void compare(Compute compute, KvType kv_type, const std::vector<int>& head_sizes,
             double tolerance) {
  CreateBackend* create = plugin();
  CHECK(create != nullptr);
  if (!create) return;
  for (const int head_size : head_sizes) {
    const BackendOptions options = options_of(compute, kv_type, head_size);
    const Model model(options.shape, head_size / 32);
    const BackendPointer cpu = model.load(tramontane_create_cpu_backend, options);
    const BackendPointer cuda = model.load(create, options);
    if (!cpu || !cuda) return;
    double worst = 0;
    each_step([&](const Step& step) {
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

}  // namespace
}  // namespace tramontane
