// Which rows of which requests the next step computes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/step_times.h"
#include "engine/task.h"
#include "model/sequence.h"

namespace tramontane {

// A piece of one sequence in a step: its next `rows` tokens.
struct Piece {
  Task* task;
  Sequence* sequence;
  int32_t rows;
};

// Knows tokens and pages, and nothing of backends, threads or clocks: what it decides follows from
// what it was told.
//
// A step takes one token of each sequence that is generating, oldest first, then rows of prompts.
// How many, follows from what steps cost: beside running generations no more than keep the time
// between two of their tokens within kMostGap times what it is without prompts; where more prompts
// could join than generations run, within as many times that as there are prompts to a generation.
//
// Prompts are served by rank: higher priority first, then the smallest sum of its own
// tokens and the tokens of prompts that had been computed when it came. A short prompt overtakes
// a long one so, but only those long ones that came less than their length ago. Worked example: a
// prompt of 3000 tokens comes at 0 and has rank 3000, one of 16 at 100 has rank 116 and is next.
// One of 16 that comes at 2990 has rank 3006: the long one is through by then, whatever came
// between. So a prompt waits for no more than about its own length in tokens of later ones. A
// prompt takes part in a step whole, or it is the only one: a short one never waits for rows it
// does not need.
//
// A prompt starts when there are pages for all of it that no other started prompt will need, beside
// one for each running generation: sharing steps preempts nobody. A generation that finds no page
// takes those of a paused one, or else of the last in order behind it, which computes them again
// later. What a prompt has in common with one that is ahead it takes over page by page.
class Scheduler {
 public:
  // Longest time between tokens beside prompts, in plain times between tokens.
  static constexpr double kMostGap = 3;
  // Rows of prompts in a step: enough to use the kernels well, few enough that a request which
  // comes meanwhile waits little.
  static constexpr int32_t kPromptRows = 128;
  // Rows of prompts beside running generations, at least.
  static constexpr int32_t kLeastPromptRows = 8;
  // Prompts looked up in the cache for one step: with very many waiting, that takes time too.
  static constexpr int32_t kLookUps = 8;

  // `max_running`: sequences in one step at most. `max_outputs`: rows of a step with logits at
  // most.
  Scheduler(PagePool& pool, const SequenceLimits& limits, int32_t max_running, int32_t max_outputs);

  // Takes the task; leaves it with the caller when it throws.
  void submit(std::unique_ptr<Task>* task);
  // Null when it has ended.
  Task* find(uint64_t id);
  void for_each(const std::function<void(Task&)>& body);

  // The pieces of the next step, in any order; none when nothing can go on.
  std::vector<Piece> plan();
  // Whether a request could not start in the last plan: pages of paused ones may be free for it
  // later.
  bool blocked() const { return blocked_; }
  // The step is over: the keys of its rows are in their pages.
  void commit(const std::vector<Piece>& pieces, double seconds);
  // Drops the tasks that have ended, with their pages. Returns how many.
  int32_t drop_ended();

  // Requests that hold pages and go on, and all others.
  int32_t running() const;
  int32_t waiting() const { return static_cast<int32_t>(entries_.size()) - running(); }

 private:
  struct Entry {
    Entry(PagePool& pool, const SequenceLimits& limits, const PageKey& root, int64_t rank)
        : sequence(pool, limits, root), rank(rank) {}

    std::unique_ptr<Task> task;
    Sequence sequence;
    const int64_t rank;    // Its tokens, and those of prompts that were computed when it came.
    bool started = false;  // It may hold pages.

    int32_t pending() const { return task->count() - sequence.committed(); }
    bool generating() const { return started && pending() == 1; }
  };
  using EntryPtr = std::unique_ptr<Entry>;

  void plan_generations(std::vector<Piece>* pieces);
  void plan_prompts(std::vector<Piece>* pieces);
  std::vector<Entry*> prompts_by_rank() const;
  int32_t prompt_rows(int32_t generations, int32_t prompts) const;
  bool start(Entry& entry, const Sequence::Cached& cached, std::vector<Piece>* pieces);
  bool add(Entry& entry, int32_t rows, std::vector<Piece>* pieces);
  int32_t outputs(const Task& task, int32_t position, int32_t rows) const;
  bool starts_alike(const Task& task, int32_t position, const std::vector<Piece>& pieces) const;
  int32_t free_pages(const Entry& entry) const;
  int32_t pages_to_come(const Entry& entry) const;
  Entry* last_paused() const;
  Entry* last_behind(const Entry& entry, bool lower_priority) const;
  void preempt(Entry& entry, std::vector<Piece>* pieces);

  PagePool& pool_;
  const SequenceLimits limits_;
  const int32_t max_running_, max_outputs_;
  std::vector<EntryPtr> entries_;  // By priority, then in order of arrival.
  int64_t prompt_tokens_ = 0;      // Computed so far.
  StepTimes times_;
  bool blocked_ = false;
};

}  // namespace tramontane
