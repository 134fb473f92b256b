// Continuous batching: one thread per model that turns requests into steps.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/generation.h"
#include "engine/scheduler.h"
#include "model/model.h"
#include "model/pages.h"

namespace tramontane {

struct EngineOptions {
  int32_t max_running = 128;   // Sequences that share a step at most; at most kMostRunning.
  int32_t max_waiting = 1024;  // Requests beside them at most.
  // Tokens that are never drawn, whatever a request allows: ids for which there is no text.
  std::vector<int32_t> undrawable;
};

// Every request gets tokens and exactly one end through `report`, which the engine's thread calls
// once a step. A generation may be at most Generation::kMaxAhead tokens ahead of what was
// acknowledged, so that a reader who has stopped reading costs nothing: it gives its pages to those
// who read when these need them.
//
// Who computes when is the Scheduler's; it changes no output, because randomness depends on
// (seed, index) alone and a token's logits not on how its keys were computed. Whatever is thrown on
// the engine's thread ends requests with an error, never the process.
class Engine {
 public:
  static constexpr int32_t kMostRunning = 128;

  // Takes the events out of the vector. What it throws makes the engine end all requests as failed.
  using Report = std::function<void(std::vector<Event>*)>;

  Engine(Model& model, EngineOptions options, Report report);
  // Stops and joins the thread; requests in flight get no end any more.
  ~Engine();

  // From any thread. Each returns at once. submit() throws Error INVALID_PROMPT when the request
  // alone needs more pages than there are, and QUEUE_FULL when as many wait as may.
  void submit(uint64_t id, GenerateRequest request);
  void submit(uint64_t id, ScoreRequest request);
  void abort(uint64_t id);
  // So many more tokens of a generation were taken.
  void acknowledge(uint64_t id, int32_t tokens);
  // Ends every request with kAborted, then the thread. Does not wait for it.
  void stop();

  struct Stats {
    int32_t pages, pages_in_use, pages_cached;
    int32_t running, waiting;  // Requests.
  };
  Stats stats() const;

 private:
  // A row of the step whose logits are wanted.
  struct Output {
    Task* task;
    int32_t position;
  };

  struct Commands {
    std::vector<std::unique_ptr<Task>> submitted;
    std::vector<uint64_t> aborted;
    std::vector<std::pair<uint64_t, int32_t>> acknowledged;
    bool empty() const { return submitted.empty() && aborted.empty() && acknowledged.empty(); }
  };

  void enqueue(std::unique_ptr<Task> task, int64_t most_tokens);
  void run();
  bool run_once();
  void fail_all(const char* code, const std::string& message);
  bool take_commands();
  void give_pages_back();
  void step(const std::vector<Piece>& pieces);
  bool compute(std::vector<Piece> pieces);
  void read(const std::vector<Output>& outputs);
  void fail(const std::vector<Piece>& pieces, const char* code, const std::string& message);
  bool cancelled(const std::vector<Piece>& pieces);
  void report();

  Model& model_;
  const EngineOptions options_;
  const std::vector<uint32_t> drawable_;  // A bit a token; empty: all can be drawn.
  const Report report_;

  // The engine thread's own.
  PagePool pool_;
  Scheduler scheduler_;
  std::vector<Event> events_;
  std::chrono::steady_clock::time_point memory_looked_at_{};
  Commands taken_;     // Not all of them carried out yet.
  bool idle_ = false;  // Nothing can go on until somebody asks, aborts or acknowledges.

  std::mutex mutex_;
  std::condition_variable wake_;
  Commands commands_;
  std::atomic<bool> stopping_{false};
  std::atomic<int32_t> live_{0}, running_{0}, pages_in_use_{0}, pages_cached_{0};

  std::thread thread_;  // Last: it uses all of the above.
};

}  // namespace tramontane
