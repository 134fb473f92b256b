// Continuous batching: one thread per model that turns requests into steps.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/request.h"
#include "model/model.h"
#include "model/pages.h"

namespace tramontane {

// Every request gets tokens and exactly one end through `report`, which the engine's thread calls
// once a step. A request may be at most kMaxAhead tokens ahead of what was acknowledged, so that a
// reader who has stopped reading costs nothing.
//
// Scheduling: in order of arrival. A step takes one token of each sequence that is generating, then
// pieces of prompts up to a budget. A sequence that finds no free page takes those of the youngest
// sequence behind it, which computes them again later; its output does not change, because
// randomness depends on (seed, index) alone and a token's logits not on how its keys were computed.
class Engine {
 public:
  static constexpr int32_t kMaxAhead = 8;

  using Report = std::function<void(std::vector<Event>)>;

  Engine(Model& model, Report report);
  // Stops and joins the thread; requests in flight get no end any more.
  ~Engine();

  // From any thread. Each returns at once. submit() throws Error INVALID_PROMPT when the request
  // alone needs more pages than there are.
  void submit(uint64_t id, GenerateRequest request);
  void submit(uint64_t id, ScoreRequest request);
  void abort(uint64_t id);
  // One entry for every token that was taken.
  void acknowledge(const std::vector<uint64_t>& ids);
  // Ends every request with kAborted, then the thread. Does not wait for it.
  void stop();

  struct Stats {
    int32_t pages, pages_in_use, pages_cached;
  };
  Stats stats() const;

 private:
  using Clock = std::chrono::steady_clock;

  // A request on its way through the engine. Oldest first in running_ and waiting_.
  struct Active {
    Active(uint64_t id, PagePool& pool, const SequenceLimits& limits);

    uint64_t id;
    std::vector<int32_t> tokens;  // The prompt and what was drawn.
    int32_t prompt_length = 0;
    Sequence sequence;
    bool started = false;  // It was in a step.
    bool ended = false;    // Its end was reported; it goes when the step is over.
    int32_t unacknowledged = 0;
    int32_t cached_tokens = 0;
    Clock::time_point submitted = Clock::now(), first_step, first_token;

    // Of a generation:
    std::unique_ptr<Sampler> sampler;
    std::unique_ptr<TokenConstraint> constraint;
    std::vector<int32_t> stop_tokens;
    int32_t max_tokens = 0;
    int32_t logprobs = -1;

    // Of a score:
    std::vector<int32_t> positions;
    float* out = nullptr;
    double negative_log_likelihood = 0;

    bool generates() const { return sampler != nullptr; }
    int32_t pending() const { return static_cast<int32_t>(tokens.size()) - sequence.committed(); }
    int32_t drawn() const { return static_cast<int32_t>(tokens.size()) - prompt_length; }
    // Whether the logits after the token at `position` are wanted.
    bool wants(int32_t position) const;
    // Outputs among the next `rows` tokens.
    int32_t outputs(int32_t rows) const;
  };
  using ActivePtr = std::unique_ptr<Active>;

  // A piece of a sequence in the step being built.
  struct Piece {
    Active* active;
    int32_t rows;
  };

  // A row of the step whose logits are wanted.
  struct Output {
    Active* active;
    int32_t position;
    int32_t index;  // Into Step::output_rows.
  };

  struct Commands {
    std::vector<ActivePtr> submitted;
    std::vector<uint64_t> aborted, acknowledged;
    bool empty() const { return submitted.empty() && aborted.empty() && acknowledged.empty(); }
  };

  void enqueue(std::unique_ptr<Active> active, int64_t most_tokens);
  void run();
  bool take_commands();
  std::vector<Piece> plan();
  bool add_piece(Active& active, int32_t rows, std::vector<Piece>* pieces);
  bool make_room(const Active& active, std::vector<Piece>* pieces);
  Active* admit();
  void step(const std::vector<Piece>& pieces);
  void compute(const std::vector<Piece>& pieces);
  bool cancelled(const std::vector<Piece>& pieces);
  void draw(const std::vector<Output>& outputs);
  void append(Active& active, const SampleResult& result, int32_t token);
  void score(const Output& output);
  void end(Active& active, Finish reason);
  void fail(Active& active, const char* code, const std::string& message);
  void drop_ended();
  void report();
  void give_pages_back();

  Model& model_;
  PagePool pool_;
  const Report report_;

  // The engine thread's own.
  std::deque<ActivePtr> running_, waiting_;
  std::vector<Event> events_;
  std::vector<float> logits_;  // [vocabulary], for perplexity.
  Clock::time_point memory_looked_at_{};

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  Commands commands_;
  std::atomic<bool> stopping_{false};
  std::atomic<int32_t> pages_in_use_{0}, pages_cached_{0};

  std::thread thread_;  // Last: it uses all of the above.
};

}  // namespace tramontane
