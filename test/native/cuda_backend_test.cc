// The CUDA backend on the emulator: what it reads at the shape of a 7B model, graphs, errors.
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "backend/abi.h"
#include "backend/backend.h"
#include "base/half.h"
#include "cuda_test.h"
#include "host/plugin.h"
#include "test.h"

namespace tramontane::cuda {
namespace {

struct Destroy {
  void operator()(Backend* backend) const { backend->destroy(); }
};
using BackendPointer = std::unique_ptr<Backend, Destroy>;

BackendOptions options_of(const ModelShape& shape) {
  BackendOptions o{};
  o.seam_hash = kSeamHash;
  o.shape = shape;
  o.pages = 8;
  o.max_rows = 8;
  o.max_outputs = 8;
  o.threads = 1;
  o.kv_type = KvType::kF16;
  o.compute = Compute::kInt8;
  return o;
}

constexpr ModelShape kTiny = {2, 64, 96, 4, 2, 16, 100, 1e-5f, 1e4f, RopePairing::kHalves};

BackendPointer create(const BackendOptions& options, Status* status = nullptr,
                      std::string* message = nullptr) {
  Backend* backend = nullptr;
  char error[512];
  const Status s = tramontane_create_cuda_backend(&options, &backend, error, sizeof error);
  if (status) *status = s;
  if (message) *message = error;
  return BackendPointer(backend);
}

// Every weight Q4_0 of the same random bytes, as long as the longest needs.
class Weights {
 public:
  explicit Weights(const ModelShape& shape) : shape_(shape) {
    const int64_t values = int64_t{std::max(shape.vocabulary, shape.ffn)} * shape.hidden;
    bytes_.resize(static_cast<size_t>(values / 32 * 18));
    std::mt19937 random(3);
    for (size_t i = 0; i + 4 <= bytes_.size(); i += 4) {
      const auto word = static_cast<uint32_t>(random());
      std::memcpy(bytes_.data() + i, &word, 4);
    }
    const uint16_t scale = f32_to_f16(0.003f);
    for (size_t i = 0; i < bytes_.size(); i += 18) std::memcpy(bytes_.data() + i, &scale, 2);
    norm_.assign(static_cast<size_t>(shape.hidden), 1.0f);
  }

  Status set(Backend& backend, Role role, int layer, int rows, int columns) {
    const bool norm = rows == 1;
    const auto* floats = reinterpret_cast<const uint8_t*>(norm_.data());
    // Another place of the same bytes for each, so that none is taken for another.
    const uint8_t* data = bytes_.data();
    if (role == Role::kKey) data += 18;
    if (role == Role::kValue) data += 36;
    if (role == Role::kFfnUp && shape_.vocabulary > shape_.ffn) data += 54;
    const WeightData weight{norm ? Format::kF32 : Format::kQ4_0, rows, columns,
                            norm ? floats : data};
    if (!norm) bytes_set_ += int64_t{rows} * columns / 32 * 18;
    return backend.set_weight(role, layer, weight);
  }

  Status set_all(Backend& backend) {
    const ModelShape& s = shape_;
    const int heads = s.heads * s.head_size, kv = s.kv_heads * s.head_size;
    const auto worst = [&](Status a, Status b) { return a == Status::kOk ? b : a; };
    Status status = set(backend, Role::kTokenEmbedding, 0, s.vocabulary, s.hidden);
    bytes_set_ = 0;
    status = worst(status, set(backend, Role::kOutput, 0, s.vocabulary, s.hidden));
    status = worst(status, set(backend, Role::kOutputNorm, 0, 1, s.hidden));
    for (int layer = 0; layer < s.layers; ++layer) {
      status = worst(status, set(backend, Role::kAttentionNorm, layer, 1, s.hidden));
      status = worst(status, set(backend, Role::kFfnNorm, layer, 1, s.hidden));
      status = worst(status, set(backend, Role::kQuery, layer, heads, s.hidden));
      status = worst(status, set(backend, Role::kKey, layer, kv, s.hidden));
      status = worst(status, set(backend, Role::kValue, layer, kv, s.hidden));
      status = worst(status, set(backend, Role::kAttentionOutput, layer, s.hidden, heads));
      status = worst(status, set(backend, Role::kFfnGate, layer, s.ffn, s.hidden));
      status = worst(status, set(backend, Role::kFfnUp, layer, s.ffn, s.hidden));
      status = worst(status, set(backend, Role::kFfnDown, layer, s.hidden, s.ffn));
    }
    return status == Status::kOk ? backend.finish_loading() : status;
  }

  // Of all weights a step reads whole.
  int64_t bytes_set() const { return bytes_set_; }

 private:
  const ModelShape shape_;
  std::vector<uint8_t> bytes_;
  std::vector<float> norm_;
  int64_t bytes_set_ = 0;
};

Status forward(Backend& b, const ModelShape& shape, const Step& step) {
  const Projection qkv[] = {
      {Role::kQuery, Buffer::kQuery}, {Role::kKey, Buffer::kKey}, {Role::kValue, Buffer::kValue}};
  const Projection gate_up[] = {{Role::kFfnGate, Buffer::kGate}, {Role::kFfnUp, Buffer::kUp}};
  Status worst = b.begin_step(step);
  const auto run = [&](Status status) { worst = worst == Status::kOk ? status : worst; };
  run(b.embed());
  for (int layer = 0; layer < shape.layers; ++layer) {
    run(b.rms_norm(Role::kAttentionNorm, layer));
    run(b.linear(qkv, 3, layer, Buffer::kNormed));
    run(b.rope_and_store(layer));
    run(b.attend(layer));
    run(b.linear_add(Role::kAttentionOutput, layer, Buffer::kAttended));
    run(b.rms_norm(Role::kFfnNorm, layer));
    run(b.linear(gate_up, 2, layer, Buffer::kNormed));
    run(b.swiglu());
    run(b.linear_add(Role::kFfnDown, layer, Buffer::kGate));
  }
  run(b.output_logits());
  return worst;
}

// One token of one sequence.
struct OneToken {
  OneToken(int token, int position, std::vector<int32_t> ring) : token(token), ring(ring) {
    slice = {0, 1, position, this->ring.data(), static_cast<int32_t>(this->ring.size()), 0};
    step = {&this->token, 1, &slice, 1, &output, 1};
  }
  int32_t token, output = 0;
  std::vector<int32_t> ring;
  SequenceSlice slice;
  Step step;
};

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST("a decode step at the shape of a 7B model reads its weights and keys once") {
  constexpr ModelShape kShape = {1,   4096,  14336, 32,   8,
                                 128, 32000, 1e-5f, 1e4f, RopePairing::kNeighbours};
  constexpr int kWindow = 4096, kPages = kWindow / kPageTokens + 1;
  emulation::set_schedule(1, emulation::Order::kFirst);
  BackendOptions options = options_of(kShape);
  options.window = kWindow;
  options.pages = kPages;
  const BackendPointer backend = create(options);
  Weights weights(kShape);
  CHECK(weights.set_all(*backend) == Status::kOk);
  std::vector<int32_t> ring;
  for (int i = 0; i < kPages; ++i) ring.push_back(i);
  OneToken token(7, 2 * kWindow - 1, ring);
  emulation::start_counting();
  CHECK(forward(*backend, kShape, token.step) == Status::kOk);
  const emulation::Traffic traffic = emulation::stop_counting();
  CHECK(backend->end_step() == Status::kOk);
  const int64_t keys = 2ll * kWindow * kShape.kv_heads * kShape.head_size * 2;
  const auto needed = static_cast<double>(weights.bytes_set() + keys);
  std::cerr << "weights " << weights.bytes_set() << ", keys and values " << keys << "; read "
            << traffic.per_launch << " (" << static_cast<double>(traffic.per_launch) / needed
            << "), by blocks " << traffic.per_block << "\n";
  CHECK(static_cast<double>(traffic.per_launch) >= needed);
  CHECK(static_cast<double>(traffic.per_launch) <= 1.05 * needed);
}
#endif

TEST("a decode step is captured once and launched again, with another token, page and position") {
  const BackendPointer backend = create(options_of(kTiny));
  Weights weights(kTiny);
  CHECK(weights.set_all(*backend) == Status::kOk);
  const auto logits = [&](Backend& b, const std::vector<int>& tokens,
                          const std::vector<int>& ring) {
    std::vector<float> out(100);
    for (size_t i = 0; i < tokens.size(); ++i) {
      OneToken one(tokens[i], static_cast<int>(i), ring);
      CHECK(forward(b, kTiny, one.step) == Status::kOk);
      CHECK(b.read_logits(0, out.data()) == Status::kOk);
      CHECK(b.end_step() == Status::kOk);
    }
    return out;
  };
  const std::vector<float> first = logits(*backend, {5, 17, 40}, {2});
  const std::vector<float> again = logits(*backend, {5, 17, 40}, {6});
  CHECK_EQ(std::memcmp(first.data(), again.data(), 400), 0);
  const BackendPointer other = create(options_of(kTiny));
  CHECK(weights.set_all(*other) == Status::kOk);
  const std::vector<float> changed = logits(*backend, {5, 17, 41}, {1});
  const std::vector<float> fresh = logits(*other, {5, 17, 41}, {1});
  CHECK_EQ(std::memcmp(changed.data(), fresh.data(), 400), 0);
  CHECK(std::memcmp(first.data(), fresh.data(), 400) != 0);
}

TEST("a cancelled step runs nothing of what was noted, and the next one is as if it had not been") {
  const BackendPointer backend = create(options_of(kTiny));
  Weights weights(kTiny);
  CHECK(weights.set_all(*backend) == Status::kOk);
  OneToken token(5, 0, {2});
  emulation::start_counting();
  CHECK(backend->begin_step(token.step) == Status::kOk);
  CHECK(backend->embed() == Status::kOk);
  CHECK(backend->rms_norm(Role::kAttentionNorm, 0) == Status::kOk);
  CHECK(backend->cancel_step() == Status::kOk);
  CHECK(backend->cancel_step() == Status::kInvalid);
  CHECK(backend->rms_norm(Role::kFfnNorm, 0) == Status::kInvalid);
  CHECK(backend->output_logits() == Status::kInvalid);
  CHECK(backend->end_step() == Status::kOk);
  CHECK_EQ(emulation::stop_counting().requested, 0u);
  CHECK(backend->end_step() == Status::kInvalid);

  const BackendPointer fresh = create(options_of(kTiny));
  CHECK(weights.set_all(*fresh) == Status::kOk);
  std::vector<float> found(100), expected(100);
  for (Backend* b : {backend.get(), fresh.get()}) {
    CHECK(forward(*b, kTiny, token.step) == Status::kOk);
    CHECK(b->read_logits(0, b == fresh.get() ? expected.data() : found.data()) == Status::kOk);
    CHECK(b->end_step() == Status::kOk);
  }
  CHECK(found == expected);
}

TEST("no driver, an old driver, no device: each says so; the probe too") {
  struct Restore {
    ~Restore() { emulation::set_device({}); }
  } restore;
  const auto expect = [](const char* words) {
    Status status;
    std::string message;
    CHECK(!create(options_of(kTiny), &status, &message));
    CHECK(status == Status::kUnsupported);
    CHECK(message.find(words) != std::string::npos);
    ProbeResult probe;
    tramontane_probe_cuda(&probe);
    CHECK(std::string(probe.problem).find(words) != std::string::npos);
    CHECK_EQ(probe.device_count, 0);
  };
  emulation::set_device({0, 1, 1});
  expect("no NVIDIA driver");
  emulation::set_device({12040, 1, 1});
  expect("580");
  emulation::set_device({13000, 0, 1});
  expect("no device");
  emulation::set_device({});
  ProbeResult probe;
  tramontane_probe_cuda(&probe);
  CHECK(std::string(probe.problem).empty());
  CHECK_EQ(probe.device_count, 1);
  CHECK_EQ(probe.devices[0].supported, 1);
}

TEST("another version, another device, impossible shapes are refused") {
  Status status;
  std::string message;
  BackendOptions options = options_of(kTiny);
  options.seam_hash++;
  CHECK(!create(options, &status, &message));
  CHECK(status == Status::kInvalid);
  CHECK(message.find("version") != std::string::npos);
  options = options_of(kTiny);
  options.device = 3;
  CHECK(!create(options, &status, &message));
  CHECK(status == Status::kInvalid);
  options = options_of(kTiny);
  options.shape.hidden = 48;
  CHECK(!create(options, &status, &message));
  CHECK(status == Status::kUnsupported);
}

TEST("out of memory at any allocation is an error, and nothing is lost") {
  struct Restore {
    ~Restore() { emulation::set_device({}); }
  } restore;
  const size_t before = emulation::allocated_bytes();
  Weights weights(kTiny);
  int refused = 0, loaded = 0;
  for (size_t bytes = 4096; bytes < (size_t{1} << 20); bytes += 20000) {
    emulation::set_device({13000, 1, before + bytes});
    Status status;
    const BackendPointer backend = create(options_of(kTiny), &status);
    if (backend) status = weights.set_all(*backend);
    (status == Status::kOk ? loaded : refused)++;
    CHECK(status == Status::kOk || status == Status::kOutOfMemory);
  }
  CHECK(refused > 3);
  CHECK(loaded > 3);
  CHECK_EQ(emulation::allocated_bytes(), before);
}

TEST("the memory plan counts at least what is allocated, and says the sum when it does not fit") {
  struct Restore {
    ~Restore() { emulation::set_device({}); }
  } restore;
  const auto shapes = [](const ModelShape& s) {
    const int heads = s.heads * s.head_size, kv = s.kv_heads * s.head_size;
    // Each of other data: what is there twice is stored once.
    static constexpr uint8_t kPlaces[32] = {};
    std::vector<WeightData> all = {{Format::kQ4_0, s.vocabulary, s.hidden, kPlaces}};
    for (int layer = 0; layer < s.layers; ++layer) {
      for (const auto& [rows, columns] : {std::pair{heads, s.hidden},
                                          {kv, s.hidden},
                                          {kv, s.hidden},
                                          {s.hidden, heads},
                                          {s.ffn, s.hidden},
                                          {s.ffn, s.hidden},
                                          {s.hidden, s.ffn}}) {
        all.push_back({Format::kQ4_0, rows, columns, kPlaces + all.size()});
      }
    }
    return all;
  };
  const std::vector<WeightData> weight_shapes = shapes(kTiny);
  const auto count = static_cast<int32_t>(weight_shapes.size());
  const BackendOptions options = options_of(kTiny);
  MemoryPlan plan;
  char error[512];
  CHECK(tramontane_plan_cuda_memory(&options, weight_shapes.data(), count, 0.9, &plan, error,
                                    sizeof error) == Status::kOk);
  CHECK(plan.max_pages > 8);
  const size_t before = emulation::allocated_bytes();
  const BackendPointer backend = create(options);
  Weights weights(kTiny);
  CHECK(weights.set_all(*backend) == Status::kOk);
  const size_t used = emulation::allocated_bytes() - before;
  CHECK(used <= plan.weight_bytes + plan.scratch_bytes + 8 * plan.page_bytes);
  emulation::set_device({13000, 1, emulation::allocated_bytes() + 1000});
  CHECK(tramontane_plan_cuda_memory(&options, weight_shapes.data(), count, 0.9, &plan, error,
                                    sizeof error) == Status::kOutOfMemory);
  for (const char* part : {"weights", "KV cache", "tokens of", "scratch", "may be used"}) {
    CHECK(std::string(error).find(part) != std::string::npos);
  }
}

// One pair, and a step that has it.
struct OnePair {
  explicit OnePair(bool magnitudes) : down(64 * 3, 0.1f), up(64 * 3, 0.2f), lengths(64, 1.5f) {
    const auto bytes = [](const std::vector<float>& values) {
      return reinterpret_cast<const uint8_t*>(values.data());
    };
    pair = {Role::kAttentionOutput,           1,    {Format::kF32, 3, 64, bytes(down)},
            {Format::kF32, 64, 3, bytes(up)}, 0.5f, magnitudes ? lengths.data() : nullptr};
  }
  Status load(Backend& backend, int32_t id, std::string* message = nullptr) const {
    char error[256];
    const Status status = backend.load_adapter(id, &pair, 1, error, sizeof error);
    if (message) *message = error;
    return status;
  }
  std::vector<float> down, up, lengths;
  AdapterPair pair;
};

std::vector<float> logits_with(Backend& backend, int32_t adapter) {
  std::vector<float> logits(100);
  OneToken token(5, 0, {2});
  token.slice.adapter = adapter;
  CHECK(forward(backend, kTiny, token.step) == Status::kOk);
  CHECK(backend.read_logits(0, logits.data()) == Status::kOk);
  CHECK(backend.end_step() == Status::kOk);
  return logits;
}

TEST("adapters: out of memory at any allocation is an error, and nothing is lost") {
  struct Restore {
    ~Restore() { emulation::set_device({}); }
  } restore;
  const BackendPointer backend = create(options_of(kTiny));
  Weights weights(kTiny);
  CHECK(weights.set_all(*backend) == Status::kOk);
  const OnePair one(true);
  const std::vector<float> plain = logits_with(*backend, 0);
  const size_t before = emulation::allocated_bytes();
  int refused = 0, loaded = 0;
  for (size_t bytes = 0; bytes < 120000; bytes += 1000) {
    emulation::set_device({13000, 1, before + bytes});
    std::string message;
    const Status status = one.load(*backend, 1, &message);
    CHECK(status == Status::kOk || status == Status::kOutOfMemory);
    CHECK(message.empty() == (status == Status::kOk));
    (status == Status::kOk ? loaded : refused)++;
    backend->unload_adapter(1);
    CHECK_EQ(emulation::allocated_bytes(), before);
  }
  CHECK(refused > 3);
  CHECK(loaded > 3);
  // A step that finds no room is refused, and the next one runs.
  emulation::set_device({});
  CHECK(one.load(*backend, 1) == Status::kOk);
  emulation::set_device({13000, 1, emulation::allocated_bytes()});
  OneToken token(5, 0, {2});
  token.slice.adapter = 1;
  CHECK(backend->begin_step(token.step) == Status::kOutOfMemory);
  CHECK(logits_with(*backend, 0) == plain);
  emulation::set_device({});
  CHECK(logits_with(*backend, 1) != plain);
}

TEST("adapters come and go on another thread, beside steps, whose bits stay") {
  const BackendPointer backend = create(options_of(kTiny));
  Weights weights(kTiny);
  CHECK(weights.set_all(*backend) == Status::kOk);
  const OnePair lora(false), dora(true);
  CHECK(lora.load(*backend, 1) == Status::kOk);
  CHECK(dora.load(*backend, 2) == Status::kOk);
  const std::vector<float> expected[] = {logits_with(*backend, 0), logits_with(*backend, 1),
                                         logits_with(*backend, 2)};
  CHECK(expected[0] != expected[1] && expected[0] != expected[2] && expected[1] != expected[2]);
  bool all_loaded = true;
  std::thread other([&] {
    for (int32_t id = 3; id < 23; ++id) {
      all_loaded = (id % 2 ? lora : dora).load(*backend, id) == Status::kOk && all_loaded;
      if (id % 3) backend->unload_adapter(id);
    }
  });
  for (int i = 0; i < 20; ++i) CHECK(logits_with(*backend, i % 3) == expected[i % 3]);
  other.join();
  CHECK(all_loaded);
  CHECK(logits_with(*backend, 3) == expected[1]);  // Launched by the graphs of others.
  CHECK(logits_with(*backend, 6) == expected[2]);
}

TEST("steps that break a rule are refused, and the next one runs") {
  const BackendPointer backend = create(options_of(kTiny));
  Weights weights(kTiny);
  OneToken token(5, 0, {2});
  CHECK(backend->begin_step(token.step) == Status::kInvalid);  // Before the weights.
  CHECK(weights.set_all(*backend) == Status::kOk);
  CHECK(backend->embed() == Status::kInvalid);  // Outside a step.
  const auto refused = [&](auto change) {
    OneToken bad(5, 0, {2});
    change(bad);
    CHECK(backend->begin_step(bad.step) == Status::kInvalid);
    CHECK(std::strlen(backend->last_error()) > 0);
  };
  refused([](OneToken& t) { t.token = 100; });
  refused([](OneToken& t) { t.token = -1; });
  refused([](OneToken& t) { t.output = 1; });
  refused([](OneToken& t) { t.ring[0] = 8; });
  refused([](OneToken& t) { t.slice.rows = 2; });
  refused([](OneToken& t) { t.step.rows = 9; });
  refused([](OneToken& t) { t.slice.position = -1; });
  refused([](OneToken& t) { t.slice.adapter = 1; });
  const Projection wrong[] = {{Role::kQuery, Buffer::kGate}};
  CHECK(backend->begin_step(token.step) == Status::kOk);
  CHECK(backend->linear(wrong, 1, 0, Buffer::kNormed) == Status::kInvalid);
  CHECK(backend->rms_norm(Role::kQuery, 0) == Status::kInvalid);
  std::vector<float> logits(100);
  CHECK(backend->read_logits(0, logits.data()) == Status::kInvalid);  // Before output_logits().
  CHECK(backend->linear_add(Role::kFfnDown, 2, Buffer::kGate) == Status::kInvalid);
  CHECK(backend->begin_step(token.step) == Status::kInvalid);  // Within a step.
  CHECK(backend->end_step() == Status::kOk);
  CHECK(forward(*backend, kTiny, token.step) == Status::kOk);
  CHECK(backend->read_logits(1, logits.data()) == Status::kInvalid);
  CHECK(backend->read_logits(0, logits.data()) == Status::kOk);
  CHECK(backend->end_step() == Status::kOk);
}

}  // namespace
}  // namespace tramontane::cuda
