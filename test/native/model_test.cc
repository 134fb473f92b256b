// The forward pass over pages: the same bits however a sequence came to its length.
#include "model/model.h"

#include <algorithm>

#include "base/error.h"
#include "model/transformer.h"
#include "test.h"
#include "tiny_model.h"

using namespace tramontane;
using tramontane::test::TinyModel;

namespace {

std::vector<int32_t> random_tokens(int32_t count, uint32_t seed = 3) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int32_t> token(0, 95);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& t : tokens) t = token(random);
  return tokens;
}

// Computes the next `rows` tokens and returns the logits after the last.
std::vector<float> run(Model& model, Sequence& sequence, const int32_t* tokens, int32_t rows,
                       bool commit = true) {
  CHECK(sequence.reserve(rows));
  const SequenceSlice slice = sequence.slice(0, rows);
  const int32_t last = rows - 1;
  const int32_t start = sequence.written();
  const Step step{tokens + start, rows, &slice, 1, &last, 1};
  CHECK(forward(model.backend(), model.shape(), step, [] { return false; }));
  std::vector<float> logits(static_cast<size_t>(model.shape().vocabulary));
  check(model.backend(), model.backend().read_logits(0, logits.data()));
  model.backend().end_step();
  sequence.add_written(rows);
  if (commit) sequence.commit(tokens, sequence.written());
  return logits;
}

std::vector<float> run_in_chunks(Model& model, PagePool& pool, const std::vector<int32_t>& tokens,
                                 int32_t chunk) {
  Sequence sequence(pool, model.limits());
  std::vector<float> logits;
  const int32_t count = static_cast<int32_t>(tokens.size());
  while (sequence.committed() < count) {
    logits = run(model, sequence, tokens.data(), std::min(chunk, count - sequence.committed()));
  }
  return logits;
}

std::vector<TinyModel::Options> variants() {
  std::vector<TinyModel::Options> all(3);
  all[1].window = 0;
  all[2].format = Format::kF32;
  all[2].compute = Compute::kF32;
  all[2].kv_type = KvType::kF32;
  return all;
}

}  // namespace

TEST("logits have the same bits whatever the chunks and the threads") {
  for (TinyModel::Options options : variants()) {
    const auto tokens = random_tokens(241);
    std::vector<float> expected;
    for (const int32_t threads : {1, 2, 3}) {
      options.threads = threads;
      TinyModel tiny(options);
      Model model(tiny.description);
      for (const int32_t chunk : {1, 5, 48, 49, 64, 241}) {
        PagePool pool(model.pages());
        const auto logits = run_in_chunks(model, pool, tokens, chunk);
        if (expected.empty()) expected = logits;
        CHECK(logits == expected);
      }
    }
  }
}

TEST("a prefix-cache hit gives the same bits as a miss") {
  for (const TinyModel::Options& options : variants()) {
    TinyModel tiny(options);
    Model model(tiny.description);
    const auto tokens = random_tokens(241);
    PagePool pool(model.pages());
    const auto expected = run_in_chunks(model, pool, tokens, 64);
    Sequence sequence(pool, model.limits());
    const int32_t cached = sequence.resume(sequence.find_cached(tokens.data(), 241, 241));
    CHECK_EQ(cached, 224);
    CHECK(run(model, sequence, tokens.data(), 241 - cached) == expected);
  }
}

TEST("tokens taken back at every page border leave the logits as if they had never been") {
  for (const TinyModel::Options& options : variants()) {
    TinyModel tiny(options);
    Model model(tiny.description);
    const auto tokens = random_tokens(200), wrong = random_tokens(300, 99);
    PagePool pool(model.pages());
    const auto expected = run_in_chunks(model, pool, tokens, 200);
    for (int32_t length = 31; length <= 193; ++length) {
      if (length % 32 > 1 && length % 32 < 31) continue;
      Sequence sequence(pool, model.limits());
      run(model, sequence, tokens.data(), length);
      for (const int32_t drafts : {1, 2, 33, 64}) {
        run(model, sequence, wrong.data(), drafts, false);
        sequence.truncate(length);
      }
      CHECK(run(model, sequence, tokens.data(), 200 - length) == expected);
    }
  }
}

TEST("a window changes the logits, and only beyond it") {
  TinyModel::Options options;
  const auto tokens = random_tokens(120);
  const auto logits = [&](int32_t window, int32_t count) {
    options.window = window;
    TinyModel tiny(options);
    Model model(tiny.description);
    PagePool pool(model.pages());
    return run_in_chunks(model, pool, {tokens.begin(), tokens.begin() + count}, 16);
  };
  CHECK(logits(48, 48) == logits(0, 48));
  CHECK(logits(48, 120) != logits(0, 120));
  CHECK(logits(48, 120) != logits(49, 120));
  CHECK(logits(47, 120) != logits(48, 120));
}

TEST("a cancelled step leaves the sequence as it was") {
  TinyModel tiny({});
  Model model(tiny.description);
  const auto tokens = random_tokens(100);
  PagePool pool(model.pages());
  const auto expected = run_in_chunks(model, pool, tokens, 100);
  Sequence sequence(pool, model.limits());
  run(model, sequence, tokens.data(), 60);
  CHECK(sequence.reserve(40));
  const SequenceSlice slice = sequence.slice(0, 40);
  const Step step{tokens.data() + 60, 40, &slice, 1, nullptr, 0};
  int layers = 0;
  CHECK(!forward(model.backend(), model.shape(), step, [&] { return ++layers == 2; }));
  model.backend().end_step();
  CHECK(run(model, sequence, tokens.data(), 40) == expected);
}

TEST("a step that is cancelled or fails between layers is given up at the seam") {
  TinyModel tiny({});
  Model model(tiny.description);
  const int32_t token = 5, page = 0;
  const SequenceSlice slice = {0, 1, 0, &page, 1, 0};
  const Step step{&token, 1, &slice, 1, nullptr, 0};
  Backend& backend = model.backend();
  const auto given_up = [&] {
    return backend.rms_norm(Role::kFfnNorm, 0) == Status::kInvalid &&
           backend.end_step() == Status::kOk;
  };
  CHECK(!forward(backend, model.shape(), step, [] { return true; }));
  CHECK(given_up());

  ModelShape deeper = model.shape();
  ++deeper.layers;
  std::string message;
  try {
    forward(backend, deeper, step, [] { return false; });
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK(message == "there is no such norm");
  CHECK(given_up());
}

TEST("weights beyond the end of a file, of impossible shape or unknown kind are refused") {
  const auto code_of = [](const ModelDescription& description) {
    try {
      Model model(description);
      return std::string();
    } catch (const Error& error) {
      return std::string(error.code());
    }
  };
  TinyModel tiny({});
  CHECK(code_of(tiny.description).empty());
  ModelDescription broken = tiny.description;
  broken.weights.back().place.offset = uint64_t{1} << 62;
  CHECK(code_of(broken) == "INVALID_FILE");
  broken = tiny.description;
  broken.weights.back().place.offset += 1;  // One byte too long.
  CHECK(code_of(broken) == "INVALID_FILE");
  broken = tiny.description;
  broken.weights[2].rows = 1 << 30;
  CHECK(code_of(broken) == "INVALID_FILE");
  broken = tiny.description;
  broken.weights[2].place.file = 1;
  CHECK(code_of(broken) == "INVALID_FILE");
  broken = tiny.description;
  broken.weights.pop_back();
  CHECK(!code_of(broken).empty());
  broken = tiny.description;
  broken.files[0] += "-missing";
  CHECK(code_of(broken) == "FILE_NOT_READABLE");
}
