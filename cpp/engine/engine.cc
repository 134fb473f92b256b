#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "model/transformer.h"

namespace tramontane {
namespace {

// Prompt tokens of a step that others wait for: enough to use the kernels well, few enough that
// nobody's stream stutters.
constexpr int32_t kPromptRowsBeside = 64;
constexpr size_t kMaxRunning = 128;
// How often the engine looks whether memory runs short.
constexpr std::chrono::seconds kMemoryInterval{1};
static_assert(kMaxRunning <= kMaxStepOutputs && kMaxRunning + kPromptRowsBeside <= kMaxStepRows);

constexpr const char* kNotFinite =
    "the model's logits are not finite numbers: the file is damaged, or not what it says";

double milliseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace

Engine::Active::Active(uint64_t id, PagePool& pool, const SequenceLimits& limits)
    : id(id), sequence(pool, limits) {}

bool Engine::Active::wants(int32_t position) const {
  const int32_t last = static_cast<int32_t>(tokens.size()) - 1;
  if (generates()) return position == last;
  if (out == nullptr) return position < last;
  return std::binary_search(positions.begin(), positions.end(), position);
}

int32_t Engine::Active::outputs(int32_t rows) const {
  int32_t count = 0;
  for (int32_t row = 0; row < rows; ++row) count += wants(sequence.committed() + row);
  return count;
}

Engine::Engine(Model& model, Report report)
    : model_(model), pool_(model.pages()), report_(std::move(report)), thread_([this] { run(); }) {}

Engine::~Engine() {
  stop();
  thread_.join();
}

void Engine::submit(uint64_t id, GenerateRequest request) {
  auto active = std::make_unique<Active>(id, pool_, model_.limits());
  // Keys of the last token drawn are never computed.
  const int64_t most_tokens = int64_t(request.prompt.size()) + request.max_tokens - 1;
  active->sampler = std::make_unique<Sampler>(std::move(request.sampling), request.prompt,
                                              model_.shape().vocabulary);
  active->tokens = std::move(request.prompt);
  active->constraint = std::move(request.constraint);
  active->stop_tokens = std::move(request.stop_tokens);
  active->max_tokens = request.max_tokens;
  active->logprobs = request.logprobs;
  enqueue(std::move(active), most_tokens);
}

void Engine::submit(uint64_t id, ScoreRequest request) {
  auto active = std::make_unique<Active>(id, pool_, model_.limits());
  active->tokens = std::move(request.tokens);
  active->positions = std::move(request.positions);
  active->out = request.out;
  const int64_t tokens = static_cast<int64_t>(active->tokens.size());
  enqueue(std::move(active), tokens);
}

void Engine::enqueue(ActivePtr active, int64_t most_tokens) {
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
  active->prompt_length = static_cast<int32_t>(active->tokens.size());
  {
    const std::lock_guard lock(mutex_);
    commands_.submitted.push_back(std::move(active));
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

void Engine::acknowledge(const std::vector<uint64_t>& ids) {
  {
    const std::lock_guard lock(mutex_);
    commands_.acknowledged.insert(commands_.acknowledged.end(), ids.begin(), ids.end());
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

Engine::Stats Engine::stats() const { return {pool_.size(), pages_in_use_, pages_cached_}; }

void Engine::run() {
  bool idle = false;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      // Nothing can go on until somebody asks, aborts or acknowledges.
      const auto called = [this] { return stopping_ || !commands_.empty(); };
      // Pages without an owner could be given back meanwhile.
      if (idle && pool_.touched() > pool_.in_use()) wake_.wait_for(lock, kMemoryInterval, called);
      if (idle && pool_.touched() == pool_.in_use()) wake_.wait(lock, called);
    }
    give_pages_back();
    const bool go_on = take_commands();
    if (!go_on) break;
    const std::vector<Piece> pieces = plan();
    idle = pieces.empty();
    if (!idle) step(pieces);
    drop_ended();
    report();
  }
  for (const auto* queue : {&running_, &waiting_}) {
    for (const ActivePtr& active : *queue) end(*active, Finish::kAborted);
  }
  drop_ended();
  report();
}

// False when the engine is to stop.
bool Engine::take_commands() {
  Commands commands;
  {
    const std::lock_guard lock(mutex_);
    std::swap(commands, commands_);
  }
  for (ActivePtr& active : commands.submitted) waiting_.push_back(std::move(active));
  const auto find = [this](uint64_t id) -> Active* {
    for (const auto* queue : {&running_, &waiting_}) {
      for (const ActivePtr& active : *queue) {
        if (active->id == id) return active.get();
      }
    }
    return nullptr;  // It has ended already.
  };
  for (const uint64_t id : commands.acknowledged) {
    if (Active* active = find(id)) --active->unacknowledged;
  }
  for (const uint64_t id : commands.aborted) {
    Active* active = find(id);
    if (active != nullptr && !active->ended) end(*active, Finish::kAborted);
  }
  drop_ended();
  return !stopping_;
}

std::vector<Engine::Piece> Engine::plan() {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < running_.size(); ++i) {  // Preemption shortens running_ from its end.
    Active& active = *running_[i];
    if (active.pending() != 1 || active.unacknowledged >= kMaxAhead) continue;
    while (!add_piece(active, 1, &pieces) && make_room(active, &pieces)) {
    }
  }
  int32_t rows = pieces.empty() ? kMaxStepRows : kPromptRowsBeside;
  for (size_t i = 0; i < running_.size() && rows > 0; ++i) {
    Active& active = *running_[i];
    if (active.pending() == 1) continue;
    while (!add_piece(active, rows, &pieces) && make_room(active, &pieces)) {
    }
    if (!pieces.empty() && pieces.back().active == &active) rows -= pieces.back().rows;
  }
  while (rows > 0) {
    Active* active = admit();
    if (active == nullptr || !add_piece(*active, rows, &pieces)) break;
    rows -= pieces.back().rows;
  }
  return pieces;
}

// As many of the sequence's next tokens as fit into `rows`, the step's outputs and the pool. False
// when none does.
bool Engine::add_piece(Active& active, int32_t rows, std::vector<Piece>* pieces) {
  int32_t outputs = kMaxStepOutputs;
  for (const Piece& piece : *pieces) outputs -= piece.active->outputs(piece.rows);
  rows = active.sequence.room(std::min(rows, active.pending()));
  while (rows > 0 && active.outputs(rows) > outputs) --rows;
  if (rows <= 0 || !active.sequence.reserve(rows)) return false;
  pieces->push_back({&active, rows});
  return true;
}

// When the pool has no page for `active`: takes those of the youngest running sequence behind it.
// False when there is none, or when pages are not what is missing.
bool Engine::make_room(const Active& active, std::vector<Piece>* pieces) {
  if (active.sequence.room(1) > 0 || running_.back().get() == &active) return false;
  ActivePtr youngest = std::move(running_.back());
  running_.pop_back();
  std::erase_if(*pieces, [&](const Piece& piece) { return piece.active == youngest.get(); });
  youngest->sequence.release();
  youngest->negative_log_likelihood = 0;  // A score is summed again from its start.
  waiting_.push_front(std::move(youngest));
  return true;
}

// Moves the oldest waiting request to the running ones, if there are pages for it beside a page for
// everybody who runs already (else it would be preempted at once).
Engine::Active* Engine::admit() {
  if (waiting_.empty() || running_.size() >= kMaxRunning) return nullptr;
  Active& active = *waiting_.front();
  const int32_t count = static_cast<int32_t>(active.tokens.size());
  const int32_t pages = pages_needed(model_.limits(), count, kMaxStepRows);
  if (!running_.empty() && pages + static_cast<int32_t>(running_.size()) > pool_.available()) {
    return nullptr;
  }
  int32_t first_wanted = count;
  if (!active.generates()) first_wanted = active.out == nullptr ? 0 : active.positions.front();
  const int32_t cached = active.sequence.resume(active.tokens.data(), count, first_wanted);
  if (!active.started) {
    active.started = true;
    active.cached_tokens = cached;
    active.first_step = Clock::now();
  }
  running_.push_back(std::move(waiting_.front()));
  waiting_.pop_front();
  return &active;
}

void Engine::step(const std::vector<Piece>& pieces) {
  try {
    compute(pieces);
  } catch (const Error& error) {
    for (const Piece& piece : pieces) {
      if (!piece.active->ended) fail(*piece.active, error.code(), error.what());
    }
  } catch (const std::bad_alloc&) {
    for (const Piece& piece : pieces) {
      if (!piece.active->ended) fail(*piece.active, "OUT_OF_MEMORY", "out of memory");
    }
  }
  model_.backend().end_step();
}

void Engine::compute(const std::vector<Piece>& pieces) {
  std::vector<int32_t> tokens, output_rows;
  std::vector<SequenceSlice> slices;
  std::vector<Output> outputs;
  for (const auto& [active, rows] : pieces) {
    const int32_t first_row = static_cast<int32_t>(tokens.size());
    const int32_t position = active->sequence.committed();
    slices.push_back(active->sequence.slice(first_row, rows));
    for (int32_t i = 0; i < rows; ++i) {
      tokens.push_back(active->tokens[position + i]);
      if (!active->wants(position + i)) continue;
      outputs.push_back({active, position + i, static_cast<int32_t>(output_rows.size())});
      output_rows.push_back(first_row + i);
    }
  }
  const Step step{tokens.data(),      static_cast<int32_t>(tokens.size()),
                  slices.data(),      static_cast<int32_t>(slices.size()),
                  output_rows.data(), static_cast<int32_t>(output_rows.size())};

  if (!forward(model_.backend(), model_.shape(), step, [&] { return cancelled(pieces); })) return;
  model_.check_files();

  std::vector<Output> draws;
  for (const Output& output : outputs) {
    if (output.active->generates()) {
      draws.push_back(output);
    } else if (!output.active->ended) {
      score(output);
    }
  }
  for (const auto& [active, rows] : pieces) {
    active->sequence.add_written(rows);
    active->sequence.commit(active->tokens.data(), active->sequence.written());
    if (!active->generates() && !active->ended && active->pending() == 0) {
      end(*active, Finish::kScored);
    }
  }
  draw(draws);
}

// Whether nobody wants the step any more.
bool Engine::cancelled(const std::vector<Piece>& pieces) {
  if (stopping_) return true;
  const std::lock_guard lock(mutex_);
  const std::vector<uint64_t>& aborted = commands_.aborted;
  return std::all_of(pieces.begin(), pieces.end(), [&](const Piece& piece) {
    return std::find(aborted.begin(), aborted.end(), piece.active->id) != aborted.end();
  });
}

void Engine::draw(const std::vector<Output>& outputs) {
  if (outputs.empty()) return;
  const size_t count = outputs.size();
  const int32_t vocabulary = model_.shape().vocabulary;
  std::vector<SampleRow> rows(count);
  std::vector<SampleResult> results(count);
  std::vector<std::vector<TokenLogit>> candidates(count), top(count);
  std::vector<std::vector<float>> raw(count);

  const auto size_candidates = [&](size_t i, int32_t wanted) {
    rows[i].candidates = wanted;
    candidates[i].resize(wanted);
    raw[i].resize(wanted);
    results[i].candidates = candidates[i].data();
    results[i].candidate_raw = raw[i].data();
  };
  for (size_t i = 0; i < count; ++i) {
    Active& active = *outputs[i].active;
    active.sampler->describe(&rows[i]);
    rows[i].output = outputs[i].index;
    rows[i].mask = active.constraint ? active.constraint->mask() : nullptr;
    rows[i].top = std::clamp(active.logprobs, 0, vocabulary);
    top[i].resize(rows[i].top);
    results[i].top = top[i].data();
    size_candidates(i, rows[i].candidates);
  }
  Backend& backend = model_.backend();
  check(backend, backend.sample(rows.data(), static_cast<int32_t>(count), results.data()));

  for (size_t i = 0; i < count; ++i) {
    Active& active = *outputs[i].active;
    const uint64_t index = static_cast<uint64_t>(active.drawn());
    if (!results[i].finite) {
      fail(active, "COMPUTE_FAILED", kNotFinite);
      continue;
    }
    if (results[i].candidate_count == 0) {
      fail(active, "INVALID_OPTION", "logitBias and allowedTokens leave no token to choose");
      continue;
    }
    int32_t token = active.sampler->draw(results[i], rows[i].candidates, index);
    if (token < 0) {
      size_candidates(i, vocabulary);
      check(backend, backend.sample(&rows[i], 1, &results[i]));
      token = active.sampler->draw(results[i], vocabulary, index);
    }
    append(active, results[i], token);
  }
}

void Engine::append(Active& active, const SampleResult& result, int32_t token) {
  const Clock::time_point now = Clock::now();
  if (active.drawn() == 0) active.first_token = now;
  active.sampler->accept(token);
  if (active.constraint) active.constraint->accept(token);
  active.tokens.push_back(token);
  ++active.unacknowledged;

  Event event;
  event.id = active.id;
  event.token = token;
  if (active.logprobs >= 0) {
    for (int32_t i = 0; i < result.candidate_count; ++i) {
      if (result.candidates[i].token != token) continue;
      event.logprob = static_cast<float>(result.candidate_raw[i] - result.log_sum_exp);
      break;
    }
    for (int32_t i = 0; i < result.top_count; ++i) {
      const TokenLogit& top = result.top[i];
      event.top.push_back({top.token, static_cast<float>(top.logit - result.log_sum_exp)});
    }
  }
  events_.push_back(std::move(event));

  const auto& stops = active.stop_tokens;
  if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
    end(active, Finish::kStop);
  } else if (active.drawn() >= active.max_tokens ||
             static_cast<int32_t>(active.tokens.size()) >= model_.limits().context) {
    end(active, Finish::kLength);
  }
}

void Engine::score(const Output& output) {
  Active& active = *output.active;
  const int32_t vocabulary = model_.shape().vocabulary;
  float* logits = nullptr;
  if (active.out != nullptr) {
    const auto found =
        std::lower_bound(active.positions.begin(), active.positions.end(), output.position);
    logits = active.out + (found - active.positions.begin()) * int64_t{vocabulary};
  } else {
    logits_.resize(static_cast<size_t>(vocabulary));
    logits = logits_.data();
  }
  check(model_.backend(), model_.backend().read_logits(output.index, logits));
  if (!std::all_of(logits, logits + vocabulary, [](float x) { return std::isfinite(x); })) {
    fail(active, "COMPUTE_FAILED", kNotFinite);
    return;
  }
  if (active.out != nullptr) return;

  const float highest = *std::max_element(logits, logits + vocabulary);
  double sum = 0;
  for (int32_t i = 0; i < vocabulary; ++i) sum += std::exp(double{logits[i]} - highest);
  const double next = logits[active.tokens[output.position + 1]];
  active.negative_log_likelihood += std::log(sum) + highest - next;
}

// An ended request leaves the queues, and gives its pages back, in drop_ended().
void Engine::end(Active& active, Finish reason) {
  Event event;
  event.id = active.id;
  event.finish = reason;
  event.cached_tokens = active.cached_tokens;
  event.negative_log_likelihood = active.negative_log_likelihood;
  const Clock::time_point now = Clock::now();
  const Clock::time_point first_step = active.started ? active.first_step : now;
  const Clock::time_point first_token = active.drawn() > 0 ? active.first_token : now;
  event.timings = {milliseconds(first_step - active.submitted),
                   milliseconds(first_token - first_step), milliseconds(now - first_token)};
  events_.push_back(std::move(event));
  active.ended = true;
}

void Engine::fail(Active& active, const char* code, const std::string& message) {
  end(active, Finish::kFailed);
  events_.back().error_code = code;
  events_.back().error_message = message;
}

void Engine::drop_ended() {
  for (auto* queue : {&running_, &waiting_}) {
    std::erase_if(*queue, [](const ActivePtr& active) { return active->ended; });
  }
}

// When memory runs short, the weights are what the system drops first, to read them again from the
// disk for every token: rather the pages go that nobody uses.
void Engine::give_pages_back() {
  const Clock::time_point now = Clock::now();
  if (now - memory_looked_at_ < kMemoryInterval) return;
  memory_looked_at_ = now;
  const std::vector<int32_t> pages = pool_.empty(model_.pages_short(pool_.touched()));
  const int32_t count = static_cast<int32_t>(pages.size());
  if (count > 0) check(model_.backend(), model_.backend().discard_pages(pages.data(), count));
}

void Engine::report() {
  pages_in_use_ = pool_.in_use();
  pages_cached_ = pool_.cached();
  if (events_.empty()) return;
  report_(std::move(events_));
  events_.clear();
}

}  // namespace tramontane
