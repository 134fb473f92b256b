// The scheduler: what a request answers does not depend on who else is served.
#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <utility>

#include "base/error.h"
#include "engine_server.h"
#include "test.h"

using namespace tramontane;
using namespace tramontane::test;

TEST("requests that share steps get the tokens they get alone") {
  for (const int32_t window : {0, 48}) {
    TinyModel::Options options;
    options.window = window;
    Server server(options);
    constexpr uint32_t kRequests = 12;
    for (uint32_t i = 0; i < kRequests; ++i) {
      server.engine().submit(i, request_of(i, 1 + 23 * static_cast<int32_t>(i), 20 + i));
    }
    CHECK(server.wait_for(kRequests));
    for (uint32_t i = 0; i < kRequests; ++i) {
      CHECK(server.tokens[i] ==
            alone(options, request_of(i, 1 + 23 * static_cast<int32_t>(i), 20 + i)));
      CHECK(server.ends[i].finish == Finish::kLength);
    }
    CHECK_EQ(server.engine().stats().pages_in_use, 0);
  }
}

TEST("a pool of one and a half sequences serves eight requests with the same tokens") {
  for (const int32_t window : {0, 48}) {
    TinyModel::Options roomy, tight;
    roomy.window = tight.window = window;
    tight.kv_tokens =
        window == 0 ? 192 : 160;  // A sequence takes 128, or 5 pages for a prompt's chunk.
    Server server(tight);
    for (uint32_t i = 0; i < 8; ++i) server.engine().submit(i, request_of(i, 60, 68));
    CHECK(server.wait_for(8));
    for (uint32_t i = 0; i < 8; ++i) {
      CHECK_EQ(server.tokens[i].size(), size_t{68});
      CHECK(server.tokens[i] == alone(roomy, request_of(i, 60, 68)));
    }
    CHECK_EQ(server.engine().stats().pages_in_use, 0);
  }
}

TEST("a request larger than the pool is refused at once, with both numbers") {
  TinyModel::Options options;
  options.window = 0;
  options.kv_tokens = 64;
  Server server(options);
  try {
    server.engine().submit(1, request_of(1, 40, 40));
    CHECK(false);
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK(std::string(error.code()) == "INVALID_PROMPT");
    CHECK(message.find("96") != std::string::npos && message.find("64") != std::string::npos);
  }
}

TEST("a reader who stops reading holds up nobody else, and is at most eight tokens behind") {
  Server server({});
  server.engine().submit(1, request_of(1, 10, 1000));
  CHECK(server.wait_unread(1, Generation::kMaxAhead));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK_EQ(server.tokens[1].size(), size_t{Generation::kMaxAhead});
  server.engine().submit(2, request_of(2, 10, 5));
  CHECK(server.wait_unread(2, 5));
  CHECK_EQ(server.tokens[1].size(), size_t{Generation::kMaxAhead});
}

TEST("an abort ends a request where it stands: waiting, in its prompt or generating") {
  TinyModel::Options options;
  options.window = 0;
  options.kv_tokens = 1024;
  Server server(options);
  server.engine().submit(1, request_of(1, 500, 500));
  server.engine().submit(2, request_of(2, 500, 500));  // Waits for pages.
  CHECK(server.wait_unread(1, 3));
  server.engine().abort(2);
  server.engine().abort(1);
  server.engine().abort(77);  // Unknown: nothing happens.
  CHECK(server.wait_for(2));
  CHECK(server.ends[1].finish == Finish::kAborted);
  CHECK(server.ends[2].finish == Finish::kAborted);
  CHECK_EQ(server.engine().stats().pages_in_use, 0);
}

TEST("stop ends everything as aborted") {
  Server server({});
  for (uint32_t i = 0; i < 5; ++i) server.engine().submit(i, request_of(i, 100, 1000));
  server.engine().stop();
  CHECK(server.wait_for(5));
  for (uint32_t i = 0; i < 5; ++i) CHECK(server.ends[i].finish == Finish::kAborted);
}

TEST("scores are the same alone, in company and after a preemption") {
  TinyModel::Options options;
  options.window = 0;
  options.kv_tokens = 3200;  // The score takes 94 of these 100 pages; its company grows to 24.
  const auto tokens = prompt_of(5, 3000);
  const auto likelihood = [&](int company) {
    Server server(options);
    for (int i = 0; i < company; ++i) server.engine().submit(10 + i, request_of(10 + i, 30, 220));
    ScoreRequest request;
    request.tokens = tokens;
    server.engine().submit(1, std::move(request));
    CHECK(server.wait_for(1 + company));
    CHECK(server.ends[1].finish == Finish::kScored);
    return server.ends[1].negative_log_likelihood;
  };
  const double expected = likelihood(0);
  CHECK(expected > 0);
  CHECK(likelihood(3) == expected);
}

TEST("the likelihood of an ending is what the beginning's lacks of the whole") {
  Server server({});
  const auto tokens = prompt_of(7, 40);
  const auto likelihood = [&](uint64_t id, size_t count, int32_t first) {
    ScoreRequest request;
    request.tokens.assign(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count));
    request.first = first;
    server.engine().submit(id, std::move(request));
    CHECK(server.wait_for(id));
    CHECK(server.ends[id].finish == Finish::kScored);
    return server.ends[id].negative_log_likelihood;
  };
  const double whole = likelihood(1, 40, 1), beginning = likelihood(2, 33, 1);
  // Of what the cache has the end of, too.
  for (const uint64_t id : {3, 4}) {
    const double ending = likelihood(id, 40, 33);
    CHECK(ending > 0);
    CHECK(std::abs(beginning + ending - whole) < 1e-9 * whole);
  }
}

TEST("an allow-list allows what it lists, through a whole generation") {
  Server server({});
  GenerateRequest request = request_of(1, 10, 50);
  request.constraint = std::make_unique<AllowList>(std::vector<int32_t>{5, 64}, 96);
  server.engine().submit(1, std::move(request));
  CHECK(server.wait_for(1));
  CHECK_EQ(server.tokens[1].size(), size_t{50});
  for (const int32_t token : server.tokens[1]) CHECK(token == 5 || token == 64);
}

TEST("an undrawable token is not drawn, whatever is allowed or favoured") {
  EngineOptions options;
  options.undrawable = {5, 95};
  Server server({}, options);
  GenerateRequest request = request_of(1, 10, 50);
  request.constraint = std::make_unique<AllowList>(std::vector<int32_t>{5, 64, 95}, 96);
  server.engine().submit(1, std::move(request));
  GenerateRequest biased = request_of(2, 10, 50);
  biased.sampling.bias_tokens = {95};
  biased.sampling.bias_values = {1000};
  server.engine().submit(2, std::move(biased));
  CHECK(server.wait_for(2));
  for (const int32_t token : server.tokens[1]) CHECK_EQ(token, 64);
  CHECK_EQ(server.tokens[2].size(), size_t{50});
  for (const int32_t token : server.tokens[2]) CHECK(token != 5 && token != 95);
}

namespace {

class Throwing final : public TokenConstraint {
 public:
  enum class Where { kMask, kAccept };
  explicit Throwing(Where where) : where_(where) {}
  const uint32_t* mask() override {
    if (where_ == Where::kMask && ++tokens_ > 3) throw std::runtime_error("no mask");
    return nullptr;
  }
  void accept(int32_t) override {
    if (where_ == Where::kAccept && ++tokens_ > 3) throw std::runtime_error("not accepted");
  }
  void rollback(int32_t) override {}

 private:
  const Where where_;
  int tokens_ = 0;
};

}  // namespace

TEST("what a constraint throws ends its request with an error, and no other") {
  for (const auto where : {Throwing::Where::kMask, Throwing::Where::kAccept}) {
    Server server({});
    GenerateRequest request = request_of(1, 10, 50);
    request.constraint = std::make_unique<Throwing>(where);
    server.engine().submit(1, std::move(request));
    server.engine().submit(2, request_of(2, 10, 50));
    CHECK(server.wait_for(2));
    CHECK(server.ends[1].finish == Finish::kFailed);
    CHECK(std::string(server.ends[1].error_code) == "COMPUTE_FAILED");
    CHECK_EQ(server.tokens[1].size(), size_t{3});
    CHECK(server.ends[2].finish == Finish::kLength);
    CHECK(server.tokens[2] == alone({}, request_of(2, 10, 50)));
  }
}

TEST("an exception on the engine's thread ends requests with an error, and the engine goes on") {
  Server server({});
  server.failing_reports = 3;
  server.engine().submit(1, request_of(1, 10, 50));
  CHECK(server.wait_for(1));
  CHECK(server.ends[1].finish == Finish::kFailed);
  server.engine().submit(2, request_of(2, 10, 50));
  CHECK(server.wait_for(2));
  CHECK(server.tokens[2] == alone({}, request_of(2, 10, 50)));
  CHECK_EQ(server.engine().stats().pages_in_use, 0);
}

TEST("one request more than may run and wait is refused at once, until another has ended") {
  EngineOptions options;
  options.max_running = 2;
  options.max_waiting = 1;
  Server server({}, options);
  for (uint32_t i = 0; i < 3; ++i) server.engine().submit(i, request_of(i, 10, 1000));
  try {
    server.engine().submit(3, request_of(3, 10, 5));
    CHECK(false);
  } catch (const Error& error) {
    CHECK(std::string(error.code()) == "QUEUE_FULL");
  }
  CHECK(server.wait_unread(0, 1));
  server.engine().abort(0);
  CHECK(server.wait_for(1));
  server.engine().submit(4, request_of(4, 10, 5));
  server.engine().stop();
}

TEST("paused generations give their pages to those who read, and go on where they were") {
  TinyModel::Options options;
  options.window = 0;
  options.kv_tokens = 256;  // 8 pages; each paused generation holds 2 of them.
  Server server(options);
  for (uint32_t i = 0; i < 6; ++i) server.engine().submit(i, request_of(i, 40, 60));
  for (uint32_t i = 0; i < 4; ++i) CHECK(server.wait_unread(i, Generation::kMaxAhead));
  server.engine().submit(100, request_of(100, 100, 8));  // Does not need to be read to its end.
  CHECK(server.wait_unread(100, 8));
  CHECK(server.wait_for(7));
  for (uint32_t i = 0; i < 6; ++i) CHECK(server.tokens[i] == alone(options, request_of(i, 40, 60)));
  CHECK(server.tokens[100] == alone(options, request_of(100, 100, 8)));
}

TEST("memory that lacks in a step is OUT_OF_MEMORY for the request that needed it") {
  struct Hungry final : TokenConstraint {
    const uint32_t* mask() override { throw std::bad_alloc(); }
    void accept(int32_t) override {}
    void rollback(int32_t) override {}
  };
  Server server({});
  GenerateRequest request = request_of(1, 10, 50);
  request.constraint = std::make_unique<Hungry>();
  server.engine().submit(1, std::move(request));
  server.engine().submit(2, request_of(2, 10, 50));
  CHECK(server.wait_for(2));
  CHECK(server.ends[1].finish == Finish::kFailed);
  CHECK(std::string(server.ends[1].error_code) == "OUT_OF_MEMORY");
  CHECK_EQ(server.tokens[2].size(), size_t{50});
}

namespace {

// The CPU's backend, but that steps end as badly as `failing_ends` says.
class EndingBadly final : public Backend {
 public:
  static inline std::atomic<int> failing_ends{0};

  static Status create(const BackendOptions* options, Backend** backend, char* error,
                       size_t error_size) {
    Backend* cpu = nullptr;
    const Status status = tramontane_create_cpu_backend(options, &cpu, error, error_size);
    if (status == Status::kOk) *backend = new EndingBadly(cpu);
    return status;
  }

  void destroy() override {
    cpu_->destroy();
    delete this;
  }
  const char* implementation() const override { return cpu_->implementation(); }
  const char* last_error() const override { return "the device is gone"; }
  Status set_weight(Role role, int32_t layer, const WeightData& weight) override {
    return cpu_->set_weight(role, layer, weight);
  }
  Status finish_loading() override { return cpu_->finish_loading(); }
  Status load_adapter(int32_t adapter, const AdapterPair* pairs, int32_t count, char* error,
                      size_t error_size) override {
    return cpu_->load_adapter(adapter, pairs, count, error, error_size);
  }
  void unload_adapter(int32_t adapter) override { cpu_->unload_adapter(adapter); }
  Status discard_pages(const int32_t* pages, int32_t count) override {
    return cpu_->discard_pages(pages, count);
  }
  Status begin_step(const Step& step) override { return cpu_->begin_step(step); }
  Status embed() override { return cpu_->embed(); }
  Status rms_norm(Role norm, int32_t layer) override { return cpu_->rms_norm(norm, layer); }
  Status linear(const Projection* projections, int32_t count, int32_t layer, Buffer in) override {
    return cpu_->linear(projections, count, layer, in);
  }
  Status linear_add(Role role, int32_t layer, Buffer in) override {
    return cpu_->linear_add(role, layer, in);
  }
  Status rope_and_store(int32_t layer) override { return cpu_->rope_and_store(layer); }
  Status attend(int32_t layer) override { return cpu_->attend(layer); }
  Status swiglu() override { return cpu_->swiglu(); }
  Status output_logits() override { return cpu_->output_logits(); }
  Status sample(const SampleRow* rows, int32_t count, SampleResult* results) override {
    return cpu_->sample(rows, count, results);
  }
  Status read_logits(int32_t output, float* out) override { return cpu_->read_logits(output, out); }
  Status cancel_step() override { return cpu_->cancel_step(); }
  Status end_step() override {
    const Status status = cpu_->end_step();
    if (failing_ends == 0) return status;
    --failing_ends;
    return Status::kDeviceFailed;
  }

 private:
  explicit EndingBadly(Backend* cpu) : cpu_(cpu) {}

  Backend* const cpu_;
};

}  // namespace

TEST("a step that ends badly fails every request with a piece in it, and publishes no page") {
  TinyModel::Options options;
  options.create_backend = EndingBadly::create;
  Server server(options);
  server.engine().submit(1, request_of(1, 10, 4000));
  server.engine().acknowledge(1, 4000);
  CHECK(server.wait_unread(1, 3));
  EndingBadly::failing_ends = 1;
  CHECK(server.wait_for(1));
  CHECK(server.ends[1].finish == Finish::kFailed);
  CHECK(std::string(server.ends[1].error_code) == "COMPUTE_FAILED");
  CHECK(server.ends[1].error_message == "the device is gone");
  const int32_t cached = server.engine().stats().pages_cached;

  EndingBadly::failing_ends = 1;
  server.engine().submit(2, request_of(2, 100, 5));
  CHECK(server.wait_for(2));
  CHECK(server.ends[2].finish == Finish::kFailed);
  CHECK(server.tokens[2].empty());
  CHECK(server.engine().stats().pages_cached <= cached);
  CHECK_EQ(server.engine().stats().pages_in_use, 0);

  server.engine().submit(3, request_of(2, 100, 5));
  CHECK(server.wait_for(3));
  CHECK_EQ(server.ends[3].cached_tokens, 0);
  CHECK(server.tokens[3] == alone({}, request_of(2, 100, 5)));

  // Two that generate side by side.
  for (const uint64_t id : {4, 5}) {
    server.engine().submit(id, request_of(static_cast<uint32_t>(id), 10, 4000));
    server.engine().acknowledge(id, 4000);
  }
  CHECK(server.wait_unread(4, 3) && server.wait_unread(5, 3));
  EndingBadly::failing_ends = 1;
  CHECK(server.wait_for(5));
  for (const uint64_t id : {4, 5}) CHECK(server.ends[id].finish == Finish::kFailed);
}
