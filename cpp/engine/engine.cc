#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/catch_errors.h"
#include "engine/score.h"
#include "model/transformer.h"

namespace tramontane {
namespace {

// How often the engine looks whether memory runs short.
constexpr std::chrono::seconds kMemoryInterval{1};
constexpr const char* kComputing = "computing";  // For messages.

static_assert(Engine::kMostRunning <= kMaxStepOutputs &&
              Engine::kMostRunning + Scheduler::kPromptRows <= kMaxStepRows);

std::vector<uint32_t> bits_without(const std::vector<int32_t>& tokens, int32_t vocabulary) {
  if (tokens.empty()) return {};
  std::vector<uint32_t> bits((static_cast<size_t>(vocabulary) + 31) / 32, ~uint32_t{0});
  for (const int32_t token : tokens) bits[token / 32] &= ~(uint32_t{1} << (token % 32));
  return bits;
}

}  // namespace

Engine::Engine(Model& model, EngineOptions options, Report report)
    : model_(model),
      options_(std::move(options)),
      drawable_(bits_without(options_.undrawable, model.shape().vocabulary)),
      report_(std::move(report)),
      pool_(model.pages()),
      scheduler_(pool_, model.limits(), options_.max_running, kMaxStepOutputs),
      thread_([this] { run(); }) {}

Engine::~Engine() {
  stop();
  thread_.join();
}

void Engine::submit(uint64_t id, GenerateRequest request) {
  // Keys of the last token drawn are never computed.
  const int64_t most_tokens = int64_t(request.prompt.size()) + request.max_tokens - 1;
  enqueue(std::make_unique<Generation>(id, std::move(request), model_.shape().vocabulary,
                                       model_.limits().context,
                                       drawable_.empty() ? nullptr : drawable_.data()),
          most_tokens);
}

void Engine::submit(uint64_t id, ScoreRequest request) {
  const int64_t tokens = static_cast<int64_t>(request.tokens.size());
  enqueue(std::make_unique<Score>(id, std::move(request), model_.shape().vocabulary), tokens);
}

void Engine::enqueue(std::unique_ptr<Task> task, int64_t most_tokens) {
  const SequenceLimits& limits = model_.limits();
  const int32_t tokens = static_cast<int32_t>(std::min<int64_t>(most_tokens, limits.context));
  const int32_t pages = pages_needed(limits, tokens, 1);
  if (pages > model_.pages()) {
    throw Error("INVALID_PROMPT", "prompt and maxTokens need " +
                                      std::to_string(pages * kPageTokens) +
                                      " tokens of KV cache, but the model was loaded with " +
                                      std::to_string(model_.pages() * kPageTokens) +
                                      ": raise kvCacheTokens, or ask for less");
  }
  {
    const std::lock_guard lock(mutex_);
    if (live_ >= options_.max_running + options_.max_waiting) {
      throw Error("QUEUE_FULL", "the model serves " + std::to_string(live_) +
                                    " requests already, and takes at most maxRunning (" +
                                    std::to_string(options_.max_running) + ") and maxWaiting (" +
                                    std::to_string(options_.max_waiting) +
                                    ") together: try again later");
    }
    commands_.submitted.push_back(std::move(task));
    ++live_;
  }
  wake_.notify_one();
}

void Engine::abort(uint64_t id) {
  {
    const std::lock_guard lock(mutex_);
    commands_.aborted.push_back(id);
  }
  wake_.notify_one();
}

void Engine::acknowledge(uint64_t id, int32_t tokens) {
  {
    const std::lock_guard lock(mutex_);
    commands_.acknowledged.emplace_back(id, tokens);
  }
  wake_.notify_one();
}

void Engine::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
}

Engine::Stats Engine::stats() const {
  const int32_t running = running_;
  return {pool_.size(), pages_in_use_, pages_cached_, running, std::max(0, live_ - running)};
}

void Engine::run() {
  for (bool go_on = true; go_on;) {
    catch_errors(
        kComputing, [&] { go_on = run_once(); },
        [&](const char* code, const std::string& message) { fail_all(code, message); });
  }
}

// False when the engine is to stop, and all has ended.
bool Engine::run_once() {
  {
    std::unique_lock lock(mutex_);
    const auto called = [this] { return stopping_ || !commands_.empty(); };
    // Pages without an owner could be given back meanwhile.
    const bool holds_unused = pool_.touched() > pool_.in_use();
    if (idle_ && scheduler_.blocked()) {
      wake_.wait_for(lock, Generation::kPatience, called);
    } else if (idle_ && holds_unused) {
      wake_.wait_for(lock, kMemoryInterval, called);
    } else if (idle_) {
      wake_.wait(lock, called);
    }
  }
  give_pages_back();
  const bool go_on = take_commands();
  if (!go_on) {
    scheduler_.for_each([this](Task& task) { task.end(Finish::kAborted, &events_); });
  } else {
    const std::vector<Piece> pieces = scheduler_.plan();
    idle_ = pieces.empty();
    if (!idle_) step(pieces);
  }
  report();
  return go_on;
}

// After something was thrown where no single request is to blame. Memory may be what is missing:
// tried until it works, since requests without an end would be waited for for ever.
void Engine::fail_all(const char* code, const std::string& message) {
  for (;;) {
    try {
      for (std::unique_ptr<Task>& task : taken_.submitted) {
        if (task != nullptr) scheduler_.submit(&task);
      }
      taken_ = {};
      scheduler_.for_each([&](Task& task) {
        if (!task.ended()) task.fail(code, message, &events_);
      });
      return report();
    } catch (const std::exception&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
}

// False when the engine is to stop.
bool Engine::take_commands() {
  {
    const std::lock_guard lock(mutex_);
    std::swap(taken_, commands_);
  }
  for (std::unique_ptr<Task>& task : taken_.submitted) scheduler_.submit(&task);
  for (const auto& [id, tokens] : taken_.acknowledged) {
    if (auto* generation = dynamic_cast<Generation*>(scheduler_.find(id))) {
      generation->acknowledge(tokens);
    }
  }
  for (const uint64_t id : taken_.aborted) {
    Task* task = scheduler_.find(id);
    if (task != nullptr && !task->ended()) task->end(Finish::kAborted, &events_);
  }
  taken_ = {};
  live_ -= scheduler_.drop_ended();
  return !stopping_;
}

void Engine::step(const std::vector<Piece>& pieces) {
  const auto start = std::chrono::steady_clock::now();
  bool computed = false;
  catch_errors(
      kComputing, [&] { computed = compute(pieces); },
      [&](const char* code, const std::string& message) { fail(pieces, code, message); });
  const Status status = model_.backend().end_step();
  if (!computed) return;
  if (status != Status::kOk) {
    return fail(pieces, "COMPUTE_FAILED", model_.backend().last_error());
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  scheduler_.commit(pieces, seconds.count());
  for (const Piece& piece : pieces) {
    Task& task = *piece.task;
    const bool all = piece.sequence->committed() == task.count();
    catch_errors(
        kComputing, [&] { task.take(&events_); },
        [&](const char* code, const std::string& message) { task.fail(code, message, &events_); });
    if (all && !task.ended()) task.computed(&events_);
  }
}

void Engine::fail(const std::vector<Piece>& pieces, const char* code, const std::string& message) {
  for (const Piece& piece : pieces) {
    if (!piece.task->ended()) piece.task->fail(code, message, &events_);
  }
}

// Everything up to the logits being read. False when nobody wants the step any more. Rows of one
// adapter stand together: the backend takes them in one piece.
bool Engine::compute(std::vector<Piece> pieces) {
  std::stable_sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) {
    return a.task->adapter.id() < b.task->adapter.id();
  });
  std::vector<int32_t> tokens, output_rows;
  std::vector<SequenceSlice> slices;
  std::vector<Output> outputs;
  for (const auto& [task, sequence, rows] : pieces) {
    const int32_t first_row = static_cast<int32_t>(tokens.size());
    const int32_t position = sequence->committed();
    slices.push_back(sequence->slice(first_row, rows));
    slices.back().adapter = task->adapter.id();
    slices.back().adapter_scale = task->adapter.scale;
    for (int32_t i = 0; i < rows; ++i) {
      tokens.push_back(task->tokens()[position + i]);
      if (!task->wants(position + i)) continue;
      outputs.push_back({task, position + i});
      output_rows.push_back(first_row + i);
    }
  }
  const Step step{tokens.data(),      static_cast<int32_t>(tokens.size()),
                  slices.data(),      static_cast<int32_t>(slices.size()),
                  output_rows.data(), static_cast<int32_t>(output_rows.size())};
  if (!forward(model_.backend(), model_.shape(), step, [&] { return cancelled(pieces); })) {
    return false;
  }
  model_.check_files();
  read(outputs);
  return true;
}

// All rows that are sampled go over in one call.
void Engine::read(const std::vector<Output>& outputs) {
  Backend& backend = model_.backend();
  std::vector<SampleRow> rows;
  std::vector<SampleResult> results;
  std::vector<size_t> sampled(outputs.size(), SIZE_MAX);  // Which of the results is an output's.
  for (size_t i = 0; i < outputs.size(); ++i) {
    SampleRow row{};
    SampleResult result{};
    Task& task = *outputs[i].task;
    bool is_sampled = false;
    catch_errors(  // Of its constraint; others do not suffer for it.
        kComputing, [&] { is_sampled = task.describe(&row, &result); },
        [&](const char* code, const std::string& message) { task.set_problem(code, message); });
    if (!is_sampled) continue;
    row.output = static_cast<int32_t>(i);
    sampled[i] = rows.size();
    rows.push_back(row);
    results.push_back(result);
  }
  if (!rows.empty()) {
    check(backend, backend.sample(rows.data(), static_cast<int32_t>(rows.size()), results.data()));
  }
  const SampleResult none{};
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto& [task, position] = outputs[i];
    if (task->has_problem()) continue;
    task->read(backend, position, static_cast<int32_t>(i),
               sampled[i] == SIZE_MAX ? none : results[sampled[i]]);
  }
}

// Whether nobody wants the step any more.
bool Engine::cancelled(const std::vector<Piece>& pieces) {
  if (stopping_) return true;
  const std::lock_guard lock(mutex_);
  const std::vector<uint64_t>& aborted = commands_.aborted;
  return std::all_of(pieces.begin(), pieces.end(), [&](const Piece& piece) {
    return std::find(aborted.begin(), aborted.end(), piece.task->id) != aborted.end();
  });
}

// When memory runs short, the weights are what the system drops first, to read them again from the
// disk for every token: rather the pages go that nobody uses.
void Engine::give_pages_back() {
  const auto now = std::chrono::steady_clock::now();
  if (now - memory_looked_at_ < kMemoryInterval) return;
  memory_looked_at_ = now;
  const std::vector<int32_t> pages = pool_.empty(model_.pages_short(pool_.touched()));
  const int32_t count = static_cast<int32_t>(pages.size());
  if (count > 0) check(model_.backend(), model_.backend().discard_pages(pages.data(), count));
}

// Drops what has ended, and tells what has happened.
void Engine::report() {
  live_ -= scheduler_.drop_ended();
  running_ = scheduler_.running();
  pages_in_use_ = pool_.in_use();
  pages_cached_ = pool_.cached();
  if (events_.empty()) return;
  report_(&events_);
  events_.clear();
}

}  // namespace tramontane
